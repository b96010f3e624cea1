//! Counts the readers that had to be opened again, because the Kafka client had stopped to fetch.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabel {
    messaging_destination_name: String,
}

/// The count of a process, by topic; clones share it.
#[derive(Clone, Debug, Default)]
pub struct ReadersReopened(Family<TopicLabel, Counter>);

impl ReadersReopened {
    /// Registers the metric.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Readers opened again because the Kafka client had stopped to fetch";
        registry.register("rollcall_readers_reopened", help, self.0.clone());
    }

    /// Makes the series of a topic, so that its first increase is seen.
    pub fn watch(&self, topic: &str) {
        self.of(topic).inc_by(0);
    }

    /// Counts a reader of this topic.
    pub fn count(&self, topic: &str) {
        self.of(topic).inc();
    }

    fn of(&self, topic: &str) -> Counter {
        self.0.get_or_create_owned(&TopicLabel { messaging_destination_name: topic.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    #[test]
    fn readers_are_counted_by_topic_from_zero() {
        let (metrics, readers) = (Metrics::new(), ReadersReopened::default());
        metrics.register(|registry| readers.register(registry));
        readers.watch("vcc.users");
        let count =
            |count| format!("rollcall_readers_reopened_total{{messaging_destination_name=\"vcc.users\"}} {count}\n");
        assert!(metrics.encode().contains(&count(0)));
        readers.count("vcc.users");
        assert!(metrics.encode().contains(&count(1)));
    }
}
