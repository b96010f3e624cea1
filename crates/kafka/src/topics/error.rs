//! The reasons why a topic could not be created or described.

use crate::Fault;

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
