//! Publishes a record and returns its position, or the reason why the position is unknown.
//!
//! A [`Position`] is returned only after Kafka has acknowledged the record on all in-sync replicas. After
//! [`Error::QueueFull`], [`Error::Refused`] and [`Error::Closed`] the record was not stored. After any other error it
//! may be stored. Publishing it again is always safe, because readers recognise a repetition.

mod error;
mod limits;
mod outgoing;
mod producer;

use std::borrow::Borrow;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use domain::Position;

use crate::{ClientOptions, Fault};

pub use error::{Error, NotFlushed};
pub use limits::{DEADLINE, Limits, QUEUE_KBYTES, QUEUE_MESSAGES};
pub use outgoing::Outgoing;
use producer::{Generation, Slot};

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
        let slot = Arc::new(Slot::new(options.clone(), limits)?);
        let weak: Weak<Slot> = Arc::downgrade(&slot);
        options.credentials.register(weak);
        Ok(Self { slot, deadline: limits.deadline })
    }

    /// Publishes a record and waits for its acknowledgement, until the deadline at most.
    ///
    /// Dropping the call does not withdraw the record. It is queued at the first poll, and is stored if the cluster
    /// accepts it.
    ///
    /// # Errors
    /// See [`Error`]. A retry makes sense after all errors except [`Error::Refused`] and [`Error::Closed`].
    pub async fn publish(&self, outgoing: impl Borrow<Outgoing>) -> Result<Position, Error> {
        let outgoing = outgoing.borrow();
        let (generation, reported) = self.slot.enqueue(outgoing)?;
        let topic = || outgoing.topic.clone();
        // librdkafka checks `message.timeout.ms` once a second; this timeout is exact.
        let Ok(report) = tokio::time::timeout(self.deadline, reported).await else {
            self.mind_stall(generation, &outgoing.topic);
            return Err(Error::NotAcknowledged { topic: topic(), source: None });
        };
        match report {
            Ok(Ok(position)) if position.offset >= 0 => Ok(position),
            // A broker that recognises a retry after it dropped the offset confirms it without an offset.
            Ok(Ok(_)) => Err(Error::PositionUnknown { topic: topic() }),
            Ok(Err(fault)) => Err(self.undelivered(&generation, topic(), fault)),
            // The producer was dropped with the record in its queue.
            Err(_) => Err(Error::NotAcknowledged { topic: topic(), source: None }),
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

    /// Replaces the producer if the cluster answers and it does not deliver all the same. Nobody waits for that: the
    /// deadline is over.
    fn mind_stall(&self, generation: Arc<Generation>, topic: &str) {
        let (slot, topic) = (Arc::clone(&self.slot), topic.to_owned());
        drop(tokio::task::spawn_blocking(move || slot.mind_stall(&generation, &topic)));
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
