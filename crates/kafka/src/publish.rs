//! Publishes a record and says where it is stored, or why that is not known.
//!
//! An answer is a promise: a [`Position`] is returned only when Kafka has acknowledged the record on all in-sync
//! replicas. Every error leaves open whether the record was stored, but for [`Error::QueueFull`], [`Error::Refused`]
//! and [`Error::Closed`], with which it was not; publishing it again is always right, because readers recognise a
//! repetition.

mod producer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::{Letter, Position, UnixMillis, UserEvent, UserId, headers, wire};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::{ClientOptions, Fault, Record};

use producer::{Generation, Slot};

/// How many records may wait for their acknowledgement.
pub const QUEUE_MESSAGES: u32 = 10_000;
/// How many KiB the waiting records may hold: 10,000 records of the usual size are 30 MiB, large ones are fewer.
pub const QUEUE_KBYTES: u32 = 64 * 1024;
/// How long a record may wait for its acknowledgement.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The bounds of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// When [`Publisher::publish`] gives up, and the client library with it.
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
    /// `None` places the record by its key, which is right for all but repairs of a record that is where it is.
    pub partition: Option<i32>,
}

/// Why there is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// As many records wait as may. Nothing was taken over.
    #[error("too many records wait for their acknowledgement")]
    QueueFull,
    /// No acknowledgement came within the deadline, or the cluster said that it cannot now. The record may be stored
    /// all the same.
    #[error("Kafka has not acknowledged the record on {topic} in time")]
    NotAcknowledged {
        topic: String,
        /// Absent when the deadline passed without a word.
        #[source]
        source: Option<Fault>,
    },
    /// Kafka acknowledged a repetition of a record that it had stored before, and no longer knew where.
    #[error("Kafka has stored the record on {topic} at a place that it does not tell")]
    PositionUnknown { topic: String },
    /// The record cannot be stored as it is: too large, not permitted, no such topic. Trying again changes nothing.
    #[error("Kafka refuses the record on {topic}")]
    Refused {
        topic: String,
        #[source]
        source: Fault,
    },
    /// The producer lost its identity and was replaced by a new one. The record may be stored all the same.
    #[error("the producer came to its end and was replaced")]
    Fatal {
        #[source]
        source: Fault,
    },
    /// The publisher was closed.
    #[error("the publisher is closed")]
    Closed,
}

impl Error {
    /// Returns whether publishing the same record again later can succeed.
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
    /// Returns the record of `event` for `topic`, with the trace that its delivery belonged to.
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

    /// Returns the record as it was, to be appended to its partition again.
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

/// Records were still waiting when the time for flushing was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} records were not acknowledged before the flush deadline")]
pub struct NotFlushed {
    pub waiting: usize,
}

/// A handle on the producer; clones share it.
#[derive(Clone)]
pub struct Publisher {
    slot: Arc<Slot>,
    deadline: Duration,
}

impl Publisher {
    /// Makes a publisher. Connections are made in the background, so a cluster that is away is no error here.
    ///
    /// # Errors
    ///
    /// If the options are not usable; [`ClientOptions::validate`] says why.
    pub fn open(options: &ClientOptions, limits: Limits) -> Result<Self, Fault> {
        Ok(Self { slot: Arc::new(Slot::new(options.clone(), limits)?), deadline: limits.deadline })
    }

    /// Publishes a record and waits for its acknowledgement, at most until the deadline.
    ///
    /// Cancel-safe in this sense: a dropped call does not take the record back. It is in the queue from the first poll
    /// on and will be stored if the cluster takes it.
    ///
    /// # Errors
    ///
    /// See [`Error`]; only [`Error::Refused`] and [`Error::Closed`] are not worth another attempt.
    pub async fn publish(&self, outgoing: Outgoing) -> Result<Position, Error> {
        let (generation, reported) = self.slot.enqueue(&outgoing)?;
        let Outgoing { topic, .. } = outgoing;
        // The library's own clock (`message.timeout.ms`) ticks once a second; this one is exact.
        let Ok(report) = tokio::time::timeout(self.deadline, reported).await else {
            return Err(Error::NotAcknowledged { topic, source: None });
        };
        match report {
            Ok(Ok(position)) if position.offset >= 0 => Ok(position),
            // A broker that recognises a retry, but whose memory of it is over, confirms it without an offset.
            Ok(Ok(_)) => Err(Error::PositionUnknown { topic }),
            Ok(Err(fault)) => Err(self.undelivered(&generation, topic, fault)),
            // The producer went away with the record in its queue.
            Err(_) => Err(Error::NotAcknowledged { topic, source: None }),
        }
    }

    /// Waits until nothing is waiting for an acknowledgement.
    ///
    /// # Errors
    ///
    /// If records still waited when the deadline passed.
    pub async fn flush(&self, deadline: Duration) -> Result<(), NotFlushed> {
        let slot = Arc::clone(&self.slot);
        tokio::task::spawn_blocking(move || slot.flush(deadline)).await.expect("flushing does not panic")
    }

    /// Refuses new records, flushes, and ends the producer.
    ///
    /// # Errors
    ///
    /// If records still waited when the deadline passed; they are given up.
    pub async fn close(&self, deadline: Duration) -> Result<(), NotFlushed> {
        let slot = Arc::clone(&self.slot);
        tokio::task::spawn_blocking(move || slot.close(deadline)).await.expect("closing does not panic")
    }

    /// Returns how many records wait for their acknowledgement.
    pub fn in_queue(&self) -> usize {
        self.slot.in_queue()
    }

    /// Sorts a delivery report that is not a delivery.
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

/// Sorts an error of the queue, which the record has not entered.
fn not_enqueued(topic: &str, source: Fault) -> Error {
    if source.code() == Some(Code::QueueFull) {
        return Error::QueueFull;
    }
    if source.is_transient() {
        return Error::NotAcknowledged { topic: topic.to_owned(), source: Some(source) };
    }
    Error::Refused { topic: topic.to_owned(), source }
}
