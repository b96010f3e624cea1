//! How the topics deviate from their contract while a service runs: a condition of its readiness, and a metric.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::Readiness;

/// The interval of checks. Retention and cleaner act within minutes of a change at the earliest.
pub const SETTINGS_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The interval while the service is not ready because of them.
const REFUSED_INTERVAL: Duration = Duration::from_secs(10);

/// Readiness: the topics match their contract.
pub const TOPICS: &str = "topics";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    severity: &'static str,
}

/// The deviations at the last check.
#[derive(Debug)]
pub struct Deviations {
    gauge: Family<Label, Gauge>,
    last: Vec<String>,
    readiness: Readiness,
}

impl Deviations {
    /// Returns a report without any, which `readiness` will follow.
    pub fn new(readiness: &Readiness) -> Self {
        let gauge = Family::<Label, Gauge>::default();
        for severity in ["refuse", "warn"] {
            gauge.get_or_create(&Label { severity }).set(0);
        }
        Self { gauge, last: Vec::new(), readiness: readiness.clone() }
    }

    /// Registers the metric.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Settings of the topics that deviate from the contract; with `refuse` data would be lost";
        registry.register("rollcall_topic_deviations", help, self.gauge.clone());
    }

    /// Takes the findings of a check: those with which data would be lost, and others. New ones are logged. Returns the
    /// time until the next check.
    pub fn report(&mut self, refused: Vec<String>, warned: Vec<String>) -> Duration {
        for (severity, findings) in [("refuse", &refused), ("warn", &warned)] {
            let count = i64::try_from(findings.len()).unwrap_or(i64::MAX);
            self.gauge.get_or_create(&Label { severity }).set(count);
        }
        let is_new = |finding: &&String| !self.last.contains(*finding);
        for finding in refused.iter().filter(is_new) {
            tracing::error!(finding, "a topic has changed: data would be lost, and the service is not ready");
        }
        for finding in warned.iter().filter(is_new) {
            tracing::warn!(finding, "a topic deviates from its contract");
        }
        let next = if refused.is_empty() {
            self.readiness.holds(TOPICS);
            SETTINGS_INTERVAL
        } else {
            self.readiness.lacks(TOPICS, refused.join("; "));
            REFUSED_INTERVAL
        };
        self.last = [refused, warned].concat();
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn a_topic_that_would_lose_data_makes_the_service_not_ready_until_it_is_right() {
        let (metrics, readiness) = (Metrics::new(), Readiness::new(&[TOPICS]));
        let mut deviations = Deviations::new(&readiness);
        metrics.register(|registry| deviations.register(registry));
        let policy = || "vcc.users: cleanup.policy is delete, expected compact".to_owned();
        let next = deviations.report(vec![policy()], vec!["vcc.users: replication is 1".to_owned()]);
        assert_eq!(next, REFUSED_INTERVAL, "what is mended is noticed soon");
        assert_eq!(readiness.missing(), [(TOPICS, policy())]);
        assert!(metrics.encode().contains("rollcall_topic_deviations{severity=\"refuse\"} 1\n"));
        assert_eq!(deviations.report(Vec::new(), Vec::new()), SETTINGS_INTERVAL);
        assert!(readiness.missing().is_empty());
        assert!(metrics.encode().contains("rollcall_topic_deviations{severity=\"refuse\"} 0\n"));
    }
}
