//! Turns librdkafka's log lines and errors into `tracing` events.

use std::borrow::Cow;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::time::Instant;

use crate::Fault;

/// Stands in a log line where a secret was.
const REDACTED: &str = "[redacted]";

/// How often a log line says that no broker can be reached. The library says so with every attempt to connect: some 45
/// times a second.
const OUTAGE_INTERVAL: Duration = Duration::from_secs(60);

/// All clients of the process find out about an outage, and one line speaks for them.
static OUTAGE: Sparing = Sparing::new();

/// The callbacks of a client that has nothing of its own to do in them.
pub(crate) struct TracingContext {
    secrets: Vec<String>,
}

impl TracingContext {
    pub(crate) fn new(secrets: Vec<String>) -> Self {
        Self { secrets }
    }

    /// librdkafka does not print secrets that it knows as such; this keeps the promise whatever it prints.
    pub(super) fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = Cow::Borrowed(text);
        for secret in &self.secrets {
            if clean.contains(secret.as_str()) {
                clean = Cow::Owned(clean.replace(secret.as_str(), REDACTED));
            }
        }
        clean
    }
}

impl ClientContext for TracingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.redact(message);
        // Every client is given all properties; that a consumer has no use for a producer's setting is not news.
        if facility == "CONFWARN" {
            tracing::debug!(target: "librdkafka", facility, "{message}");
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        tracing::trace!(target: "librdkafka", "{}", String::from_utf8_lossy(statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = self.redact(reason);
        match telling(error.rdkafka_error_code(), &OUTAGE, Instant::now()) {
            Telling::Nothing => {}
            Telling::Debug => tracing::debug!(target: "librdkafka", error = %Fault::from(error), "{reason}"),
            Telling::Warn => tracing::warn!(target: "librdkafka", error = %Fault::from(error), "{reason}"),
            Telling::Error => tracing::error!(target: "librdkafka", error = %Fault::from(error), "{reason}"),
        }
    }
}

/// How an error of the library is logged.
#[derive(Debug, PartialEq, Eq)]
enum Telling {
    Nothing,
    Debug,
    Warn,
    Error,
}

fn telling(code: Option<Code>, outage: &Sparing, now: Instant) -> Telling {
    match code {
        // The end of a partition comes this way too, and so does a position outside the log, which the readers handle.
        Some(Code::PartitionEOF | Code::AutoOffsetReset) => Telling::Nothing,
        // The same text comes as a log line, with the library's own care not to repeat it.
        Some(Code::BrokerTransportFailure) => Telling::Debug,
        Some(Code::AllBrokersDown) if outage.is_due(now) => Telling::Error,
        Some(Code::AllBrokersDown) => Telling::Debug,
        _ => Telling::Warn,
    }
}

/// Spares the log a line that it got within the last [`OUTAGE_INTERVAL`].
struct Sparing(Mutex<Option<Instant>>);

impl Sparing {
    const fn new() -> Self {
        Self(parking_lot::const_mutex(None))
    }

    /// Returns whether the line is due, and notes that it was written.
    fn is_due(&self, now: Instant) -> bool {
        let mut told = self.0.lock();
        let due = told.is_none_or(|told| now.duration_since(told) >= OUTAGE_INTERVAL);
        if due {
            *told = Some(now);
        }
        due
    }
}

impl ConsumerContext for TracingContext {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_a_minute() {
        let (outage, start) = (Sparing::new(), Instant::now());
        let down = |seconds| telling(Some(Code::AllBrokersDown), &outage, start + Duration::from_secs(seconds));
        assert_eq!(down(0), Telling::Error);
        for _ in 0..1_000 {
            assert_eq!(down(59), Telling::Debug);
        }
        assert_eq!((down(60), down(61)), (Telling::Error, Telling::Debug));
    }

    #[test]
    fn what_else_the_library_reports_is_told_by_what_it_is() {
        let (outage, now) = (Sparing::new(), Instant::now());
        for (code, expected) in [
            (Some(Code::PartitionEOF), Telling::Nothing),
            (Some(Code::AutoOffsetReset), Telling::Nothing),
            (Some(Code::BrokerTransportFailure), Telling::Debug),
            (Some(Code::TopicAuthorizationFailed), Telling::Warn),
            (None, Telling::Warn),
        ] {
            assert_eq!(telling(code, &outage, now), expected, "{code:?}");
        }
    }

    #[test]
    fn a_secret_in_a_log_line_is_blanked() {
        let context = TracingContext::new(vec!["hunter2".to_owned()]);
        assert_eq!(context.redact("PLAIN user hunter2 refused"), "PLAIN user [redacted] refused");
        assert_eq!(context.redact("connection refused"), "connection refused");
    }
}
