//! Logs on standard error, as text for people or JSON for machines.

use std::io::IsTerminal as _;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// The reason why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the log filter cannot be parsed")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    #[error("logging is already set up")]
    Again(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends logs that match `filter` to standard error. The filter is a level, or levels by target: `info`,
/// `warn,ingest=debug`.
///
/// # Errors
/// [`Error`] when the filter cannot be parsed, or when logging is already set up.
pub fn init(format: Format, filter: &str) -> Result<(), Error> {
    let filter = parse(filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colours only on a terminal, not in a file or a pipe.
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

/// Limits the log lines about one cause.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// The shortest time between two lines.
    const INTERVAL: Duration = Duration::from_secs(60);

    /// Returns whether a line may be written now. It then counts as written.
    pub fn is_due(&self) -> bool {
        let (now, mut last) = (Instant::now(), self.0.lock());
        let is_due = last.is_none_or(|last| now >= last + Self::INTERVAL);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// Returns the text of an error followed by its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
