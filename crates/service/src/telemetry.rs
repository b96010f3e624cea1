//! Logs: to standard error, as text for people or JSON for machines.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("log filter is not understood")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    #[error("logging is set up already")]
    Again(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends logs to standard error, those that `filter` lets through: `info`, or by target, `warn,ingest=debug`.
///
/// # Errors
/// [`Error`] when the filter cannot be read, or logging was set up before.
pub fn init(format: Format, filter: &str) -> Result<(), Error> {
    let filter = parse(filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colours are for a terminal; in a file or a pipe they are noise.
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    }
    .map_err(Error::Again)
}

/// # Errors
/// [`Error::Filter`].
pub(crate) fn parse(filter: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder().parse(filter).map_err(Error::Filter)
}

/// Returns an error with what caused it, for a reason that is shown.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
