//! The cluster's description of a topic.

use std::collections::BTreeMap;

use domain::LogId;

/// A topic as described by the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub topic: String,
    pub partitions: i32,
    /// The smallest number of replicas of a partition.
    pub replication: i32,
    /// `None` where the broker does not describe settings: the embedded broker, or missing permission.
    pub settings: Option<BTreeMap<String, String>>,
    /// A topic created again under the same name is another log.
    pub log: LogId,
}
