//! The reasons why a record has no position.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::Fault;

/// The reason why there is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The queue is full. The record was not queued.
    #[error("too many records wait for their acknowledgement")]
    QueueFull,
    /// No acknowledgement came within the deadline, or the cluster reported a temporary error. The record may be
    /// stored.
    #[error("Kafka has not acknowledged the record on {topic} in time")]
    NotAcknowledged {
        topic: String,
        /// Absent when the deadline passed without an answer.
        #[source]
        source: Option<Fault>,
    },
    /// Kafka acknowledged the repetition of a record that it had stored, but no longer knew its offset.
    #[error("Kafka has stored the record on {topic} without returning its offset")]
    PositionUnknown { topic: String },
    /// Kafka refuses the record: too large, not permitted, no such topic. A retry does not help.
    #[error("Kafka refuses the record on {topic}")]
    Refused {
        topic: String,
        #[source]
        source: Fault,
    },
    /// The producer lost its identity and was replaced by a new one. The record may be stored.
    #[error("the producer failed and was replaced")]
    Fatal {
        #[source]
        source: Fault,
    },
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
}

impl Error {
    /// Returns whether publishing the same record later can succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::QueueFull | Self::NotAcknowledged { .. } | Self::PositionUnknown { .. } | Self::Fatal { .. } => true,
            Self::Refused { .. } | Self::Closed => false,
        }
    }
}

/// Records were still waiting at the flush deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} records were not acknowledged before the flush deadline")]
pub struct NotFlushed {
    pub waiting: usize,
}

/// Converts an error of the queue: the record was not queued.
pub(super) fn not_enqueued(topic: &str, source: Fault) -> Error {
    if source.code() == Some(Code::QueueFull) {
        return Error::QueueFull;
    }
    if source.is_transient() {
        return Error::NotAcknowledged { topic: topic.to_owned(), source: Some(source) };
    }
    Error::Refused { topic: topic.to_owned(), source }
}
