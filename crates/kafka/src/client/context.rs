//! Turns librdkafka's log lines and errors into `tracing` events.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use domain::{AccessToken, TokenSource};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::util::current_time_millis;
use tokio::time::Instant;

use crate::Fault;

/// Replaces a secret in a log line.
const REDACTED: &str = "[redacted]";

/// The minimum interval between log lines about an unreachable cluster. librdkafka logs each connection attempt: about
/// 45 per second.
const OUTAGE_INTERVAL: Duration = Duration::from_secs(60);

/// Shared by all clients of the process, so that an outage is logged once.
static OUTAGE: Sparing = Sparing::new();

/// The callbacks of a client without callbacks of its own.
pub(crate) struct TracingContext {
    secrets: Vec<String>,
    tokens: Option<Arc<dyn TokenSource>>,
}

impl TracingContext {
    pub(crate) fn new(secrets: Vec<String>, tokens: Option<Arc<dyn TokenSource>>) -> Self {
        Self { secrets, tokens }
    }

    /// Returns the token of this moment, or `None` where no client needs one. Can block.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn token(&self) -> Result<Option<AccessToken>, Fault> {
        self.tokens.as_ref().map(|tokens| tokens.token().map_err(|error| Fault::no_token(&error))).transpose()
    }

    /// librdkafka does not print the secrets that it knows. This removes secrets from any text.
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
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.redact(message);
        // Every client gets all properties. A producer's setting on a consumer is expected.
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

    /// Runs on the thread that polls the client, when the token has lived for four fifths of its time.
    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let token = self.token()?.ok_or("no source of tokens")?;
        let lifetime_ms = expires_ms(&token);
        Ok(OAuthToken { token: token.value, principal_name: token.principal, lifetime_ms })
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = self.redact(reason);
        match level_of(error.rdkafka_error_code(), &OUTAGE, Instant::now()) {
            LogLevel::Nothing => {}
            LogLevel::Debug => tracing::debug!(target: "librdkafka", error = %Fault::from(error), "{reason}"),
            LogLevel::Warn => tracing::warn!(target: "librdkafka", error = %Fault::from(error), "{reason}"),
            LogLevel::Error => tracing::error!(target: "librdkafka", error = %Fault::from(error), "{reason}"),
        }
    }
}

/// The level at which an error of the library is logged.
#[derive(Debug, PartialEq, Eq)]
enum LogLevel {
    Nothing,
    Debug,
    Warn,
    Error,
}

fn level_of(code: Option<Code>, outage: &Sparing, now: Instant) -> LogLevel {
    match code {
        // The end of a partition is also reported as an error, and so is a position outside the log. The readers handle
        // both.
        Some(Code::PartitionEOF | Code::AutoOffsetReset) => LogLevel::Nothing,
        // The same text is also a log line, which librdkafka already rate-limits.
        Some(Code::BrokerTransportFailure) => LogLevel::Debug,
        Some(Code::AllBrokersDown) if outage.is_due(now) => LogLevel::Error,
        Some(Code::AllBrokersDown) => LogLevel::Debug,
        _ => LogLevel::Warn,
    }
}

/// Limits a log line to one per [`OUTAGE_INTERVAL`].
struct Sparing(Mutex<Option<Instant>>);

impl Sparing {
    const fn new() -> Self {
        Self(parking_lot::const_mutex(None))
    }

    /// Returns whether the line is due, and records that it was written.
    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|last| now.duration_since(last) >= OUTAGE_INTERVAL);
        if due {
            *last = Some(now);
        }
        due
    }
}

impl ConsumerContext for TracingContext {}

/// Returns the end of a token's life in milliseconds since 1970, by the clock that librdkafka compares it with.
pub(crate) fn expires_ms(token: &AccessToken) -> i64 {
    current_time_millis().saturating_add(i64::try_from(token.valid_for.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_logged_once_a_minute() {
        let (outage, start) = (Sparing::new(), Instant::now());
        let down = |seconds| level_of(Some(Code::AllBrokersDown), &outage, start + Duration::from_secs(seconds));
        assert_eq!(down(0), LogLevel::Error);
        for _ in 0..1_000 {
            assert_eq!(down(59), LogLevel::Debug);
        }
        assert_eq!((down(60), down(61)), (LogLevel::Error, LogLevel::Debug));
    }

    #[test]
    fn other_errors_are_logged_by_their_code() {
        let (outage, now) = (Sparing::new(), Instant::now());
        for (code, expected) in [
            (Some(Code::PartitionEOF), LogLevel::Nothing),
            (Some(Code::AutoOffsetReset), LogLevel::Nothing),
            (Some(Code::BrokerTransportFailure), LogLevel::Debug),
            (Some(Code::TopicAuthorizationFailed), LogLevel::Warn),
            (None, LogLevel::Warn),
        ] {
            assert_eq!(level_of(code, &outage, now), expected, "{code:?}");
        }
    }

    #[test]
    fn a_secret_in_a_log_line_is_blanked() {
        let context = TracingContext::new(vec!["hunter2".to_owned()], None);
        assert_eq!(context.redact("PLAIN user hunter2 refused"), "PLAIN user [redacted] refused");
        assert_eq!(context.redact("connection refused"), "connection refused");
    }
}
