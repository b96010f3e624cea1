//! The events of a tail, and the reasons why it ends.

use crate::{Record, Unavailable, topics};

/// An event of a tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TailEvent {
    /// Records, at least one. Records of one partition come in the order of their offsets.
    Records(Vec<Record>),
    /// Every record of the partition below `next_offset` was delivered, and there was none beyond at that moment but
    /// those that an open transaction holds back.
    EndReached { partition: i32, next_offset: i64 },
    /// The topic has new partitions. They are followed from their beginning.
    PartitionsAdded(Vec<i32>),
    /// The client had stopped to fetch these partitions, though their logs went on. The tail reads all partitions again
    /// with a new client, each from the record after the last one delivered. [`TailEvent::EndReached`] says when a
    /// partition is read to its end.
    Stalled(Vec<i32>),
}

/// The reason why a tail cannot be opened or has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The log does not hold the position, or no longer holds the records below it: it was truncated, or the topic was
    /// created again. The reader must start over. After a truncation reported by librdkafka, `high` is its offset, and
    /// `low` is unknown and 0.
    #[error("offset {next_offset} of partition {partition} is outside the log, which holds {low} up to {high}")]
    PositionOutsideLog { partition: i32, next_offset: i64, low: i64, high: i64 },
    /// The checkpoint or the reader names a partition that the topic does not have.
    #[error("there is no partition {partition}")]
    PartitionMissing { partition: i32 },
    /// The topic was deleted and created again under the same name. The reader must start over.
    #[error("the topic {topic} was deleted and created again")]
    TopicReplaced { topic: String },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The tail ended earlier, and its error was returned then.
    #[error("the tail has ended")]
    Ended,
}

impl Error {
    /// Returns whether opening a tail at the same position later can succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(unavailable) => unavailable.is_transient(),
            Self::PositionOutsideLog { .. }
            | Self::PartitionMissing { .. }
            | Self::TopicReplaced { .. }
            | Self::Ended => false,
        }
    }
}

impl From<topics::Changed> for Error {
    fn from(changed: topics::Changed) -> Self {
        match changed {
            topics::Changed::Missing { topic } => Unavailable::Missing { topic }.into(),
            topics::Changed::Replaced { topic } => Self::TopicReplaced { topic },
        }
    }
}

impl From<topics::Error> for Error {
    fn from(error: topics::Error) -> Self {
        Unavailable::from(error).into()
    }
}
