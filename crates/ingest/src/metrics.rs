//! The metrics of ingest. Every request has exactly one of the outcomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::UnixMillis;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;
use service::metrics::{Metrics, duration_histogram};

use crate::Rejection;
use crate::answer::Status;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    rejection: &'static str,
}

/// The labels that OpenTelemetry's semantic conventions for messaging require on the duration of an operation.
const OPERATION: [(&str, &str); 2] = [("messaging_system", "kafka"), ("messaging_operation_name", "send")];

/// The label of a request whose connection ended before its answer.
const ABANDONED: &str = "abandoned";

/// The counters of ingest.
#[derive(Clone)]
pub(crate) struct Counters {
    accepted: Family<OutcomeLabel, Counter>,
    rejected: Family<ReasonLabel, Counter>,
    dead_letters: Counter,
    fractional_amounts: Counter,
    miscased_members: Counter,
    /// In seconds since 1970.
    last_event: Gauge<f64, AtomicU64>,
    publish_duration: Histogram,
    account: Arc<Account>,
}

/// The counts of all requests, for the last line of the log.
#[derive(Debug, Default)]
struct Account {
    received: AtomicU64,
    accepted: AtomicU64,
    rejected: AtomicU64,
    unavailable: AtomicU64,
    abandoned: AtomicU64,
}

/// The outcomes of all requests of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub received: u64,
    /// Answered 200: the event is in Kafka.
    pub accepted: u64,
    /// Answered 4xx.
    pub rejected: u64,
    /// Answered 503.
    pub unavailable: u64,
    /// The connection ended before the answer.
    pub abandoned: u64,
}

impl Counters {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let counters = Self {
            accepted: Family::default(),
            rejected: Family::default(),
            dead_letters: Counter::default(),
            fractional_amounts: Counter::default(),
            miscased_members: Counter::default(),
            last_event: Gauge::default(),
            publish_duration: duration_histogram(),
            account: Arc::default(),
        };
        // All series exist from the start. Prometheus sees no increase when a series appears with 1, so an alert would
        // miss it.
        for status in Status::ALL {
            counters.accepted.get_or_create(&OutcomeLabel { outcome: status.label() }).inc_by(0);
        }
        for rejection in Rejection::LABELS.into_iter().chain([ABANDONED]) {
            counters.rejected.get_or_create(&ReasonLabel { rejection }).inc_by(0);
        }
        metrics.register(|registry| {
            registry.register(
                "rollcall_ingest_accepted",
                "Deliveries answered 200, by outcome",
                counters.accepted.clone(),
            );
            registry.register("rollcall_ingest_rejected", "Requests refused, by reason", counters.rejected.clone());
            registry.register("rollcall_ingest_dead_letters", "Dead letters written", counters.dead_letters.clone());
            registry.register(
                "rollcall_ingest_fractional_amounts",
                "Amounts with a fraction: kept as sent, with the field null",
                counters.fractional_amounts.clone(),
            );
            registry.register(
                "rollcall_ingest_miscased_members",
                "Members with a field's name in another case: kept in extra, with the field null",
                counters.miscased_members.clone(),
            );
            registry.register_with_unit(
                "rollcall_ingest_last_event_timestamp",
                "Receipt of the last event that was answered 200, since 1970; 0 before the first",
                Unit::Seconds,
                counters.last_event.clone(),
            );
            let operation = OPERATION.into_iter().map(|(name, value)| (name.into(), value.into()));
            registry.sub_registry_with_labels(operation).register_with_unit(
                "messaging_client_operation_duration",
                "Time from an event to Kafka's acknowledgement",
                Unit::Seconds,
                counters.publish_duration.clone(),
            );
        });
        counters
    }

    /// Counts a request as received. It counts as abandoned unless the returned value records its outcome.
    pub(crate) fn begin(&self) -> InHand {
        self.account.received.fetch_add(1, Ordering::Relaxed);
        InHand { counters: Some(self.clone()) }
    }

    /// Notes the receipt of an event that is answered 200.
    pub(crate) fn event(&self, received_at: UnixMillis) {
        let since = Duration::from_millis(u64::try_from(received_at.millis()).unwrap_or_default());
        self.last_event.set(since.as_secs_f64());
    }

    pub(crate) fn dead_letter(&self) {
        self.dead_letters.inc();
    }

    pub(crate) fn fractional_amounts(&self, count: usize) {
        self.fractional_amounts.inc_by(count as u64);
    }

    pub(crate) fn miscased_members(&self, count: usize) {
        self.miscased_members.inc_by(count as u64);
    }

    pub(crate) fn acknowledged(&self, seconds: f64) {
        self.publish_duration.observe(seconds);
    }

    pub(crate) fn summary(&self) -> Summary {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Account { received, accepted, rejected, unavailable, abandoned } = &*self.account;
        Summary {
            received: read(received),
            accepted: read(accepted),
            rejected: read(rejected),
            unavailable: read(unavailable),
            abandoned: read(abandoned),
        }
    }
}

/// A request whose outcome is not known yet.
pub(crate) struct InHand {
    counters: Option<Counters>,
}

impl InHand {
    pub(crate) fn accepted(mut self, status: Status) {
        if let Some(counters) = self.counters.take() {
            counters.accepted.get_or_create(&OutcomeLabel { outcome: status.label() }).inc();
            counters.account.accepted.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn rejected(mut self, rejection: &Rejection) {
        if let Some(counters) = self.counters.take() {
            counters.rejected.get_or_create(&ReasonLabel { rejection: rejection.label() }).inc();
            let account = &counters.account;
            let count = if rejection.status().is_server_error() { &account.unavailable } else { &account.rejected };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if let Some(counters) = self.counters.take() {
            counters.rejected.get_or_create(&ReasonLabel { rejection: ABANDONED }).inc();
            counters.account.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Summary {
    /// Returns whether every received request has exactly one outcome.
    pub fn adds_up(&self) -> bool {
        self.received == self.accepted + self.rejected + self.unavailable + self.abandoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_duration_of_publishing_names_its_system_and_operation() {
        let metrics = Metrics::new();
        Counters::register(&metrics).acknowledged(0.01);
        let text = metrics.encode();
        let count = text.lines().find(|line| line.starts_with("messaging_client_operation_duration_seconds_count"));
        let labels = r#"{messaging_system="kafka",messaging_operation_name="send"} 1"#;
        assert!(count.is_some_and(|count| count.ends_with(labels)), "{count:?}");
    }
}
