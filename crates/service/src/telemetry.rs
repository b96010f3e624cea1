//! Logs on standard error, as text for people or JSON for machines. The same warning or error is written once a minute.

mod line_limit;
mod repeats;

use std::io::IsTerminal as _;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use repeats::Repeats;

pub use line_limit::{Counted, LineLimit};

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
    // A line that cannot be written is lost. Saying so on standard error would panic where nobody reads that any more.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    // Colours only on a terminal, not in a file or a pipe. There NO_COLOR decides, as the builder has read it.
    let builder = if std::io::stderr().is_terminal() { builder } else { builder.with_ansi(false) };
    match format {
        Format::Text => builder.finish().with(Repeats::default()).try_init(),
        Format::Json => {
            let builder = builder.json().flatten_event(true).with_span_list(false);
            builder.finish().with(Repeats::default()).try_init()
        }
    }
    .map_err(|error| Error::Again(error.into()))
}

/// # Errors
/// [`Error::Filter`].
pub(crate) fn parse(filter: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder().parse(filter).map_err(Error::Filter)
}

/// Limits the log lines about one cause, or about the causes of one wait.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Line>>);

/// The last line that was written.
#[derive(Debug)]
struct Line {
    at: Instant,
    cause: String,
}

impl Seldom {
    /// The shortest time between two lines.
    const INTERVAL: Duration = Duration::from_secs(60);

    /// Returns whether a line may be written now. It then counts as written.
    pub fn is_due(&self) -> bool {
        self.is_due_for("")
    }

    /// Does the same of a line that names `cause`: another cause than that of the last line is not held back.
    pub fn is_due_for(&self, cause: &str) -> bool {
        self.is_due_at(Instant::now(), cause)
    }

    fn is_due_at(&self, at: Instant, cause: &str) -> bool {
        let mut last = self.0.lock();
        let is_due = last.as_ref().is_none_or(|last| last.cause != cause || at >= last.at + Self::INTERVAL);
        if is_due {
            *last = Some(Line { at, cause: cause.to_owned() });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cause_has_one_line_a_minute_and_another_one_at_once() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let is_due = |cause, after| seldom.is_due_at(start + after, cause);
        assert!(is_due("no answer", Duration::ZERO) && !is_due("no answer", Duration::ZERO));
        assert!(is_due("no such topic", Duration::ZERO) && !is_due("no such topic", Seldom::INTERVAL / 2));
        assert!(is_due("no such topic", Seldom::INTERVAL) && !is_due("no such topic", Seldom::INTERVAL));
    }
}
