//! The contract of the topics: what they are named, how they are set, and whether the cluster keeps to it.

mod admin;
mod check;
mod delete;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{ClientOptions, Fault};

pub(crate) use admin::watermarks_of;
pub use admin::{Created, Watermarks, create, describe, watermarks};
pub use check::{Finding, Severity, judge};
pub use delete::{NotDeleted, delete_before};
pub(crate) use watch::Watch;

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

/// What a topic is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub topic: String,
    pub partitions: i32,
    /// The smallest number of replicas that a partition has.
    pub replication: i32,
    /// `None` where the broker does not describe settings, as the embedded one, or not to us.
    pub settings: Option<BTreeMap<String, String>>,
    /// Kafka's own id of the topic, which a topic made anew under the same name does not share.
    pub topic_id: Option<String>,
    pub cluster_id: Option<String>,
}

impl Description {
    /// Returns a text that another topic, or the same name made anew, does not have, as far as the broker can tell.
    pub fn identity(&self) -> String {
        let cluster = self.cluster_id.as_deref().unwrap_or("unknown-cluster");
        let topic = self.topic_id.as_deref().unwrap_or(&self.topic);
        format!("{cluster}/{topic}")
    }
}

/// Why a topic could not be made or described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the topic {topic} does not exist")]
    Missing { topic: String },
    #[error("the cluster did not make the topic {topic}")]
    NotCreated {
        topic: String,
        #[source]
        source: Fault,
    },
    #[error("the cluster did not describe the topic {topic}")]
    NotDescribed {
        topic: String,
        #[source]
        source: Fault,
    },
    #[error("no client could be made")]
    Client(#[source] Fault),
}

impl Error {
    /// Returns whether asking again later can succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Missing { .. } => false,
            Self::NotCreated { source, .. } | Self::NotDescribed { source, .. } | Self::Client(source) => {
                source.is_transient()
            }
        }
    }
}

/// Compares the topics with what they must be like.
///
/// # Errors
///
/// If the cluster does not answer. A missing topic is a finding.
pub async fn check(options: &ClientOptions, specs: &[Spec], deadline: Duration) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for spec in specs {
        match describe(options, &spec.topic, deadline).await {
            Ok(description) => findings.extend(judge(spec, Some(&description))),
            Err(Error::Missing { .. }) => findings.extend(judge(spec, None)),
            Err(error) => return Err(error),
        }
    }
    Ok(findings)
}
