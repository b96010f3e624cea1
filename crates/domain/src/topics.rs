//! The contract of the topics: their names and the settings that Rollcall's promises rest on.

use std::collections::BTreeMap;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How long the newest record of a key cannot be compacted away: the keeper has this long to repair a late delivery.
const MIN_COMPACTION_LAG_MS: u64 = 3 * DAY_MS;
/// How long erased data can stay in the log at most.
const MAX_COMPACTION_LAG_MS: u64 = 7 * DAY_MS;
/// How long a tombstone stays: longer than the sender's 22 d 18 h of retries, or a late delivery would bring an erased user back.
const DELETE_RETENTION_MS: u64 = 23 * DAY_MS;
/// How long late deliveries and dead letters are kept: a month to look into them.
const RETENTION_MS: u64 = 30 * DAY_MS;
/// How many replicas must have a record before it is acknowledged, where there are three of them.
const MIN_INSYNC_REPLICAS: u32 = 2;
/// The number of replicas from which one may fail without stopping the writers.
const REPLICAS_FOR_PRODUCTION: i32 = 3;

/// The names of the three topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub users: String,
    pub late: String,
    pub dead_letter: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            users: "vcc.users".to_owned(),
            late: "vcc.users.late".to_owned(),
            dead_letter: "vcc.users.dead-letter".to_owned(),
        }
    }
}

/// What a topic must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub topic: String,
    /// Used by `create` only: an existing topic may have any number.
    pub partitions: i32,
    pub replication: i32,
    /// Kafka's topic settings by their names.
    pub settings: BTreeMap<String, String>,
}

impl Spec {
    /// Returns the contract of the three topics.
    pub fn contract(names: &Names, partitions: i32, replication: i32) -> [Self; 3] {
        [
            Self::users(&names.users, partitions, replication),
            Self::late(&names.late, partitions, replication),
            Self::dead_letter(&names.dead_letter, partitions, replication),
        ]
    }

    /// Returns the contract of the topic of users.
    pub fn users(topic: &str, partitions: i32, replication: i32) -> Self {
        Self::bare(topic, partitions, replication)
            .with("cleanup.policy", "compact")
            .with("min.compaction.lag.ms", MIN_COMPACTION_LAG_MS.to_string())
            .with("max.compaction.lag.ms", MAX_COMPACTION_LAG_MS.to_string())
            .with("delete.retention.ms", DELETE_RETENTION_MS.to_string())
    }

    /// Returns the contract of the topic of deliveries that came after a newer one.
    pub fn late(topic: &str, partitions: i32, replication: i32) -> Self {
        Self::bare(topic, partitions, replication)
            .with("cleanup.policy", "delete")
            .with("retention.ms", RETENTION_MS.to_string())
    }

    /// Returns the contract of the topic of what could not be read.
    pub fn dead_letter(topic: &str, partitions: i32, replication: i32) -> Self {
        Self::bare(topic, partitions, replication)
            .with("cleanup.policy", "compact,delete")
            .with("retention.ms", RETENTION_MS.to_string())
    }

    /// Returns the same with one setting changed or added.
    #[must_use]
    pub fn with(mut self, setting: &str, value: impl Into<String>) -> Self {
        self.settings.insert(setting.to_owned(), value.into());
        self
    }

    fn bare(topic: &str, partitions: i32, replication: i32) -> Self {
        let spec = Self { topic: topic.to_owned(), partitions, replication, settings: BTreeMap::new() };
        if replication >= REPLICAS_FOR_PRODUCTION {
            spec.with("min.insync.replicas", MIN_INSYNC_REPLICAS.to_string())
        } else {
            spec
        }
    }
}
