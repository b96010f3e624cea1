//! The cluster's description of a topic.

use std::collections::BTreeMap;

/// A topic as described by the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub topic: String,
    pub partitions: i32,
    /// The smallest number of replicas of a partition.
    pub replication: i32,
    /// `None` where the broker does not describe settings: the embedded broker, or missing permission.
    pub settings: Option<BTreeMap<String, String>>,
    /// Kafka's id of the topic. A topic created again under the same name has another id.
    pub topic_id: Option<String>,
    pub cluster_id: Option<String>,
}

impl Description {
    /// Returns a text that identifies the topic, and distinguishes it from a later topic of the same name if the broker
    /// has topic ids.
    pub fn identity(&self) -> String {
        let cluster = self.cluster_id.as_deref().unwrap_or("unknown-cluster");
        let topic = self.topic_id.as_deref().unwrap_or(&self.topic);
        format!("{cluster}/{topic}")
    }
}
