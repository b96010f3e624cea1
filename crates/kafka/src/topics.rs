//! Topics on the cluster: created, described, and compared with their contract ([`domain::topics`]).

mod admin;
mod check;
mod delete;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::topics::{DELETE_RETENTION, RETENTION, Spec};

use crate::{ClientOptions, Fault};

pub(crate) use admin::watermarks_of;
pub use admin::{Created, Watermarks, create, describe, watermarks};
use check::judge_together;
pub use check::{Finding, Severity, judge};
pub use delete::{NotDeleted, delete_before};
pub(crate) use watch::{Changed, Watch};

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

/// The reason why a topic could not be created or described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the topic {topic} does not exist")]
    Missing { topic: String },
    #[error("the cluster did not create the topic {topic}")]
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
    #[error("no client could be created")]
    Client(#[source] Fault),
}

impl Error {
    /// Returns whether the same request can succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Missing { .. } => false,
            Self::NotCreated { source, .. } | Self::NotDescribed { source, .. } | Self::Client(source) => {
                source.is_transient()
            }
        }
    }
}

/// Compares the topics with their contract, and the retention of deliveries with that of tombstones.
///
/// # Errors
/// If the cluster does not answer. A missing topic is a finding, not an error.
pub async fn check(options: &ClientOptions, specs: &[Spec], deadline: Duration) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let (mut with_tombstones, mut by_age) = (Vec::new(), Vec::new());
    for spec in specs {
        match describe(options, &spec.topic, deadline).await {
            Ok(description) => {
                findings.extend(judge(spec, Some(&description)));
                if spec.settings.contains_key(DELETE_RETENTION) {
                    with_tombstones.push(description);
                } else if spec.settings.contains_key(RETENTION) {
                    by_age.push(description);
                }
            }
            Err(Error::Missing { .. }) => findings.extend(judge(spec, None)),
            Err(error) => return Err(error),
        }
    }
    for users in &with_tombstones {
        findings.extend(by_age.iter().filter_map(|other| judge_together(users, other)));
    }
    Ok(findings)
}
