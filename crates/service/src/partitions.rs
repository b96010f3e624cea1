//! The number of partitions of the users topic: part of the contract, since another number moves users.

use std::sync::atomic::{AtomicI32, Ordering};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Compares the number of partitions with the expected one, at start and while the service runs.
#[derive(Debug)]
pub struct PartitionCount {
    topic: String,
    /// `None` where no number is expected.
    expected: Option<i32>,
    /// The number last reported; 0 before the first report.
    found: AtomicI32,
    difference: Gauge,
}

impl PartitionCount {
    /// Returns the count of `topic`, for which nothing has been reported yet.
    pub fn new(topic: &str, expected: Option<i32>) -> Self {
        Self { topic: topic.to_owned(), expected, found: AtomicI32::new(0), difference: Gauge::default() }
    }

    /// Registers the metric.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Partitions of the users topic beyond topics.partitions; 0 is right";
        registry.register("rollcall_topic_partitions_difference", help, self.difference.clone());
    }

    /// Returns that the number last reported is not the expected one.
    pub fn fault(&self) -> Option<String> {
        let found = self.found.load(Ordering::Relaxed);
        let expected = self.expected.filter(|expected| found != 0 && found != *expected)?;
        let topic = &self.topic;
        Some(format!("the topic {topic} has {found} partitions, and topics.partitions says {expected}"))
    }

    /// Takes the number that the cluster reports. A new number that is not the expected one is logged as an error.
    pub fn report(&self, found: i32) {
        let is_new = self.found.swap(found, Ordering::Relaxed) != found;
        let Some(expected) = self.expected else { return };
        self.difference.set(i64::from(found) - i64::from(expected));
        if is_new && found != expected {
            tracing::error!(
                topic = self.topic,
                found,
                expected,
                "the number of partitions is not topics.partitions: a user's records are on several partitions; \
                 `rollcall topics copy` makes a topic with another number"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_follows_the_cluster() {
        let count = PartitionCount::new("vcc.users", Some(12));
        assert_eq!(count.fault(), None, "nothing is known yet");
        for (found, difference) in [(12, 0), (14, 2), (14, 2), (12, 0), (3, -9)] {
            count.report(found);
            assert_eq!((count.difference.get(), count.fault().is_some()), (difference, difference != 0));
        }
        assert_eq!(count.fault().unwrap(), "the topic vcc.users has 3 partitions, and topics.partitions says 12");
        let any = PartitionCount::new("vcc.users", None);
        any.report(3);
        assert_eq!((any.difference.get(), any.fault()), (0, None));
    }
}
