//! The reason why a topic cannot be read, shared by all readers.

use crate::{Fault, topics};

/// The error that all readers share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the topic {topic} does not exist")]
    Missing { topic: String },
    /// An outage, or a missed deadline.
    #[error("the cluster does not answer")]
    Unreachable(#[source] Fault),
    /// Settings or permissions that a retry does not change.
    #[error("the cluster refuses to be read")]
    Refused(#[source] Fault),
}

impl Unavailable {
    /// Returns whether a later attempt can succeed without any change to options or permissions.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Missing { .. } | Self::Refused(_) => false,
        }
    }
}

impl From<Fault> for Unavailable {
    fn from(fault: Fault) -> Self {
        if fault.is_transient() { Self::Unreachable(fault) } else { Self::Refused(fault) }
    }
}

impl From<topics::Error> for Unavailable {
    fn from(error: topics::Error) -> Self {
        match error {
            topics::Error::Missing { topic } => Self::Missing { topic },
            topics::Error::NotCreated { source, .. }
            | topics::Error::NotDescribed { source, .. }
            | topics::Error::Client(source) => source.into(),
        }
    }
}
