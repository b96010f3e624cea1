//! Publishes a record and returns its position, or the reason why the position is unknown.
//!
//! A [`Position`] is returned only after Kafka has acknowledged the record on all in-sync replicas. After
//! [`Error::QueueFull`], [`Error::Refused`] and [`Error::Closed`] the record was not stored. After any other error it
//! may be stored. Publishing it again is always safe, because readers recognise a repetition.

mod producer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::{Letter, Position, UnixMillis, UserEvent, UserId, headers, wire};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::{ClientOptions, Fault, Record};

use producer::{Generation, Slot};

/// The most records that wait for their acknowledgement.
pub const QUEUE_MESSAGES: u32 = 10_000;
/// The most KiB of waiting records: 10,000 records of the usual size take 30 MiB.
pub const QUEUE_KBYTES: u32 = 64 * 1024;
/// The longest wait for an acknowledgement.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The bounds of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The time after which [`Publisher::publish`] and librdkafka give up.
    pub deadline: Duration,
    pub queue_messages: u32,
    pub queue_kbytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: DEADLINE, queue_messages: QUEUE_MESSAGES, queue_kbytes: QUEUE_KBYTES }
    }
}

/// A record to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: String,
    pub key: Vec<u8>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Kafka's timestamp of the record: the time of receipt.
    pub timestamp: UnixMillis,
    /// `None` places the record by its key. Only a repair that must stay on the partition of its record sets it.
    pub partition: Option<i32>,
}

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

fn owned(headers: Vec<(&str, String)>) -> Vec<(String, Vec<u8>)> {
    headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect()
}

impl Outgoing {
    /// Returns the record of `event` for `topic`, with the trace of its delivery.
    pub fn event(event: &UserEvent, topic: &str, traceparent: Option<&str>) -> Self {
        Self {
            topic: topic.to_owned(),
            key: event.user_id.to_string().into_bytes(),
            value: Some(wire::encode(event)),
            headers: owned(headers::for_event(event, traceparent)),
            timestamp: event.received_at,
            partition: None,
        }
    }

    /// Returns the tombstone that forgets `user_id` as of `at`, appended at `now`.
    pub fn forgotten(user_id: UserId, topic: &str, at: UnixMillis, now: UnixMillis) -> Self {
        Self {
            topic: topic.to_owned(),
            key: user_id.to_string().into_bytes(),
            value: None,
            headers: owned(headers::for_forgotten(user_id, at)),
            timestamp: now,
            partition: None,
        }
    }

    /// Returns the record of a dead letter for `topic`.
    pub fn letter(letter: &Letter, topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            key: letter.key().into_bytes(),
            value: Some(letter.body.clone()),
            headers: letter.headers(),
            timestamp: letter.received_at,
            partition: None,
        }
    }

    /// Returns a copy of a record, to be appended to the same partition.
    pub fn again(topic: &str, record: Record) -> Self {
        Self {
            topic: topic.to_owned(),
            key: record.key.unwrap_or_default(),
            value: record.value,
            headers: record.headers,
            timestamp: record.timestamp,
            partition: Some(record.position.partition),
        }
    }
}

/// Records were still waiting at the flush deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} records were not acknowledged before the flush deadline")]
pub struct NotFlushed {
    pub waiting: usize,
}

/// A handle to the producer; clones share it.
#[derive(Clone)]
pub struct Publisher {
    slot: Arc<Slot>,
    deadline: Duration,
}

impl Publisher {
    /// Opens a publisher. Connections are made in the background, so an unreachable cluster is not an error here.
    ///
    /// # Errors
    /// If the options cannot be used; [`ClientOptions::validate`] returns the reasons.
    pub fn open(options: &ClientOptions, limits: Limits) -> Result<Self, Fault> {
        Ok(Self { slot: Arc::new(Slot::new(options.clone(), limits)?), deadline: limits.deadline })
    }

    /// Publishes a record and waits for its acknowledgement, until the deadline at most.
    ///
    /// Dropping the call does not withdraw the record. It is queued at the first poll, and is stored if the cluster
    /// accepts it.
    ///
    /// # Errors
    /// See [`Error`]. A retry makes sense after all errors except [`Error::Refused`] and [`Error::Closed`].
    pub async fn publish(&self, outgoing: Outgoing) -> Result<Position, Error> {
        let (generation, reported) = self.slot.enqueue(&outgoing)?;
        let Outgoing { topic, .. } = outgoing;
        // librdkafka checks `message.timeout.ms` once a second; this timeout is exact.
        let Ok(report) = tokio::time::timeout(self.deadline, reported).await else {
            return Err(Error::NotAcknowledged { topic, source: None });
        };
        match report {
            Ok(Ok(position)) if position.offset >= 0 => Ok(position),
            // A broker that recognises a retry after it dropped the offset confirms it without an offset.
            Ok(Ok(_)) => Err(Error::PositionUnknown { topic }),
            Ok(Err(fault)) => Err(self.undelivered(&generation, topic, fault)),
            // The producer was dropped with the record in its queue.
            Err(_) => Err(Error::NotAcknowledged { topic, source: None }),
        }
    }

    /// Waits until no record waits for an acknowledgement.
    ///
    /// # Errors
    /// If records are still waiting at the deadline.
    pub async fn flush(&self, deadline: Duration) -> Result<(), NotFlushed> {
        let slot = Arc::clone(&self.slot);
        tokio::task::spawn_blocking(move || slot.flush(deadline)).await.expect("flushing does not panic")
    }

    /// Refuses new records, flushes, and closes the producer.
    ///
    /// # Errors
    /// If records are still waiting at the deadline. They are given up.
    pub async fn close(&self, deadline: Duration) -> Result<(), NotFlushed> {
        let slot = Arc::clone(&self.slot);
        tokio::task::spawn_blocking(move || slot.close(deadline)).await.expect("closing does not panic")
    }

    /// Returns the number of records that wait for their acknowledgement.
    pub fn in_queue(&self) -> usize {
        self.slot.in_queue()
    }

    /// Converts the error of a delivery report.
    fn undelivered(&self, generation: &Arc<Generation>, topic: String, source: Fault) -> Error {
        if let Some(fatal) = generation.fatal() {
            self.slot.replace(generation, &fatal);
            return Error::Fatal { source: fatal };
        }
        if source.is_transient() {
            return Error::NotAcknowledged { topic, source: Some(source) };
        }
        Error::Refused { topic, source }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("deadline", &self.deadline)
            .field("in_queue", &self.in_queue())
            .finish_non_exhaustive()
    }
}

/// Converts an error of the queue: the record was not queued.
fn not_enqueued(topic: &str, source: Fault) -> Error {
    if source.code() == Some(Code::QueueFull) {
        return Error::QueueFull;
    }
    if source.is_transient() {
        return Error::NotAcknowledged { topic: topic.to_owned(), source: Some(source) };
    }
    Error::Refused { topic: topic.to_owned(), source }
}
