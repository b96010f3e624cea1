//! Turns librdkafka's log lines and errors into `tracing` events.

use std::borrow::Cow;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::Fault;

/// What stands in a log line where a secret was.
const REDACTED: &str = "[redacted]";

/// The callbacks of a client that has nothing of its own to do in them.
pub(crate) struct TracingContext {
    secrets: Vec<String>,
}

impl TracingContext {
    pub(crate) fn new(secrets: Vec<String>) -> Self {
        Self { secrets }
    }

    /// librdkafka does not print secrets that it knows as such; this keeps the promise whatever it prints.
    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
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
        // The end of a partition comes this way too, and so does what the readers handle as a position outside the log.
        if matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AutoOffsetReset)
        ) {
            return;
        }
        let reason = self.redact(reason);
        tracing::warn!(target: "librdkafka", error = %Fault::from(error), "{reason}");
    }
}

impl ConsumerContext for TracingContext {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_log_line_is_blanked() {
        let context = TracingContext::new(vec!["hunter2".to_owned()]);
        assert_eq!(context.redact("PLAIN user hunter2 refused"), "PLAIN user [redacted] refused");
        assert_eq!(context.redact("connection refused"), "connection refused");
    }
}
