//! Turns librdkafka's log lines and errors into `tracing` events.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
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
use crate::trouble::{Failure, Kind, Trouble};

/// Replaces a secret in a log line.
const REDACTED: &str = "[redacted]";

/// The minimum interval between log lines about the same cause. librdkafka logs each connection attempt: about 45 per
/// second.
const INTERVAL: Duration = Duration::from_secs(60);

/// Shared by all clients of the process, so that a cause is logged once.
static LOGGED: Sparing = Sparing::new();

/// The callbacks of a client without callbacks of its own.
pub(crate) struct TracingContext {
    secrets: Vec<String>,
    tokens: Option<Arc<dyn TokenSource>>,
    /// Whether the client has a certificate of its own.
    has_certificate: bool,
    /// The last reason for which OpenSSL has refused the certificate of a broker; 0 for none. Only a client that
    /// observes its connections notes it.
    pub(crate) certificate_error: AtomicI32,
}

impl TracingContext {
    pub(crate) fn new(secrets: Vec<String>, tokens: Option<Arc<dyn TokenSource>>, has_certificate: bool) -> Self {
        Self { secrets, tokens, has_certificate, certificate_error: AtomicI32::new(0) }
    }

    /// Returns the reason for which OpenSSL has refused the certificate of a broker (`X509_V_ERR_…`).
    pub(crate) fn certificate_error(&self) -> Option<i32> {
        Some(self.certificate_error.load(Ordering::Relaxed)).filter(|error| *error != 0)
    }

    /// Returns the reason of a failure.
    pub(crate) fn trouble(&self, failure: &Failure<'_>) -> Trouble {
        Trouble::of(failure, self.has_certificate)
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
        if let Some(failure) = Failure::of(facility, &message).filter(|failure| !failure.is_guess)
            && LOGGED.is_due(Cause::Trouble(failure.kind), Instant::now())
        {
            tracing::warn!(target: "librdkafka", "{}", self.trouble(&failure));
        }
        if !is_shown(level, facility, &LOGGED, Instant::now()) {
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
        match level_of(error.rdkafka_error_code(), &LOGGED, Instant::now()) {
            LogLevel::Nothing => {}
            LogLevel::Debug => tracing::debug!(target: "librdkafka", error = %Fault::from(error), "{reason}"),
            LogLevel::Warn => tracing::warn!(target: "librdkafka", error = %Fault::from(error), "{reason}"),
        }
    }
}

/// The level at which an error of the library is logged.
#[derive(Debug, PartialEq, Eq)]
enum LogLevel {
    Nothing,
    Debug,
    Warn,
}

fn level_of(code: Option<Code>, logged: &Sparing, now: Instant) -> LogLevel {
    match code {
        // The end of a partition is also reported as an error, and so is a position outside the log. The readers handle
        // both.
        Some(Code::PartitionEOF | Code::AutoOffsetReset) => LogLevel::Nothing,
        // The same text is also a log line, which gives the reason.
        Some(Code::BrokerTransportFailure | Code::Resolve | Code::SSL | Code::Authentication) => LogLevel::Debug,
        // It may be that of a single client, said long after the others are connected again, and has no reason. Who
        // asks the cluster says that it does not answer, and why.
        Some(Code::AllBrokersDown) => LogLevel::Debug,
        Some(code) if logged.is_due(Cause::Code(code as i32), now) => LogLevel::Warn,
        Some(_) => LogLevel::Debug,
        None => LogLevel::Warn,
    }
}

/// Returns whether a log line of the library is shown at its own level.
fn is_shown(level: RDKafkaLogLevel, facility: &str, logged: &Sparing, now: Instant) -> bool {
    match facility {
        // Every client gets all properties. A producer's setting on a consumer is expected.
        "CONFWARN" => false,
        // Of connections: their reasons are logged instead. What ends while a client closes is no failure.
        "FAIL" | "REQTMOUT" => false,
        // The library repeats a warning with each attempt.
        _ => level as i32 > RDKafkaLogLevel::Warning as i32 || logged.is_due(Cause::Facility(facility.to_owned()), now),
    }
}

/// What a log line is about.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Trouble(Kind),
    Code(i32),
    /// One of the library's own names for its parts.
    Facility(String),
}

/// Limits the log lines about one cause to one per [`INTERVAL`].
struct Sparing(Mutex<BTreeMap<Cause, Instant>>);

impl Sparing {
    const fn new() -> Self {
        Self(parking_lot::const_mutex(BTreeMap::new()))
    }

    /// Returns whether the line is due, and records that it was written.
    fn is_due(&self, cause: Cause, now: Instant) -> bool {
        let mut last = self.0.lock();
        let due = last.get(&cause).is_none_or(|last| now.duration_since(*last) >= INTERVAL);
        if due {
            last.insert(cause, now);
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
    fn each_cause_is_logged_once_a_minute() {
        let (logged, start) = (Sparing::new(), Instant::now());
        let level = |code, seconds| level_of(Some(code), &logged, start + Duration::from_secs(seconds));
        assert_eq!(level(Code::GroupAuthorizationFailed, 0), LogLevel::Warn);
        assert_eq!(level(Code::TopicAuthorizationFailed, 0), LogLevel::Warn, "another cause");
        for _ in 0..1_000 {
            assert_eq!(level(Code::GroupAuthorizationFailed, 59), LogLevel::Debug);
            assert_eq!(level(Code::TopicAuthorizationFailed, 59), LogLevel::Debug);
        }
        assert_eq!(
            (level(Code::GroupAuthorizationFailed, 60), level(Code::GroupAuthorizationFailed, 61)),
            (LogLevel::Warn, LogLevel::Debug)
        );
        let warned = |facility, seconds| {
            is_shown(RDKafkaLogLevel::Warning, facility, &logged, start + Duration::from_secs(seconds))
        };
        assert_eq!([warned("GETPID", 0), warned("GETPID", 1), warned("TERMINATE", 1)], [true, false, true]);
        assert!(!warned("FAIL", 0), "a client that closes during its login is no error");
    }

    #[test]
    fn other_errors_are_logged_by_their_code() {
        let (logged, now) = (Sparing::new(), Instant::now());
        for (code, expected) in [
            (Some(Code::PartitionEOF), LogLevel::Nothing),
            (Some(Code::AutoOffsetReset), LogLevel::Nothing),
            (Some(Code::BrokerTransportFailure), LogLevel::Debug),
            (Some(Code::Authentication), LogLevel::Debug),
            (Some(Code::AllBrokersDown), LogLevel::Debug),
            (Some(Code::TopicAuthorizationFailed), LogLevel::Warn),
            (None, LogLevel::Warn),
        ] {
            assert_eq!(level_of(code, &logged, now), expected, "{code:?}");
        }
    }

    #[test]
    fn a_secret_in_a_log_line_is_blanked() {
        let context = TracingContext::new(vec!["hunter2".to_owned()], None, false);
        assert_eq!(context.redact("PLAIN user hunter2 refused"), "PLAIN user [redacted] refused");
        assert_eq!(context.redact("connection refused"), "connection refused");
    }
}
