//! Follows a topic from a checkpoint without end.
//!
//! The callbacks of librdkafka become [`TailEvent`]s on a bounded channel. The tail waits out an outage of the cluster.
//! A condition that the reader must decide about is an [`Error`] and ends the tail: above all a position that is no
//! longer in the log, which librdkafka would skip silently.

mod batch;
mod cursors;
mod reader;
mod truncation;

use std::fmt;
use std::thread::JoinHandle;
use std::time::Duration;

use domain::Checkpoint;
use tokio::sync::mpsc;

use crate::{ClientOptions, Record, Unavailable, topics};

pub(crate) use batch::Batch;
use reader::TailReader;
pub(crate) use reader::{Verdict, verdict};
pub(crate) use truncation::cut_at;

/// The most records in one event.
const RECORDS_PER_BATCH: usize = 1_000;
/// The most bytes of records in one event, unless a single record is larger.
const BYTES_PER_BATCH: usize = 1024 * 1024;
/// The most events that can wait for the reader.
const EVENTS_WAITING: usize = 8;
/// The time limit for opening, after which the cluster counts as unreachable.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);

/// The longest single wait for records. It bounds how long a tail outlives its handle, not the delay of a record.
pub(crate) const POLL: Duration = Duration::from_millis(100);

/// The bounds of a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub records_per_batch: usize,
    pub bytes_per_batch: usize,
    pub events_waiting: usize,
    pub open_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records_per_batch: RECORDS_PER_BATCH,
            bytes_per_batch: BYTES_PER_BATCH,
            events_waiting: EVENTS_WAITING,
            open_deadline: OPEN_DEADLINE,
        }
    }
}

/// An event of a tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TailEvent {
    /// Records, at least one. Records of one partition come in the order of their offsets.
    Records(Vec<Record>),
    /// Every record of the partition below `next_offset` was delivered, and there was none beyond at that moment.
    EndReached { partition: i32, next_offset: i64 },
    /// The topic has new partitions. They are followed from their beginning.
    PartitionsAdded(Vec<i32>),
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

/// A running tail. Dropping it ends it after a delay. A process that is about to exit must call [`Tail::close`].
pub struct Tail {
    events: mpsc::Receiver<Result<TailEvent, Error>>,
    thread: JoinHandle<()>,
}

impl Tail {
    /// Follows all partitions of a topic, each from its offset in the checkpoint, or from its beginning if the
    /// checkpoint has none.
    ///
    /// # Errors
    /// If the cluster does not answer in time, or the topic does not hold the checkpoint.
    pub async fn open(options: &ClientOptions, topic: &str, from: Checkpoint, limits: Limits) -> Result<Self, Error> {
        let (sender, events) = mpsc::channel(limits.events_waiting.max(1));
        let (options, topic) = (options.clone(), topic.to_owned());
        let reader = tokio::task::spawn_blocking(move || TailReader::open(&options, topic, &from, limits, sender))
            .await
            .expect("opening does not panic")?;
        let thread = std::thread::Builder::new()
            .name("kafka-tail".to_owned())
            .spawn(move || reader.run())
            .expect("the system can start a thread");
        Ok(Self { events, thread })
    }

    /// Waits for the next event.
    ///
    /// Cancel-safe: nothing is lost when the call is dropped.
    ///
    /// # Errors
    /// Any error ends the tail. Later calls return [`Error::Ended`].
    pub async fn next(&mut self) -> Result<TailEvent, Error> {
        self.events.recv().await.unwrap_or(Err(Error::Ended))
    }

    /// Ends the tail and waits until its connections and its thread have ended.
    pub async fn close(self) {
        drop(self.events);
        join(self.thread).await;
    }
}

/// Waits for the end of a thread that is stopping. A process must not exit before: exit frees memory that librdkafka's
/// threads still use.
pub(crate) async fn join(thread: JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    if !matches!(joined, Ok(Ok(()))) {
        tracing::error!("a thread of the Kafka client has panicked");
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").finish_non_exhaustive()
    }
}
