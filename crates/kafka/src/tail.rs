//! Follows a topic from a checkpoint without end.
//!
//! The callbacks of the client library become [`TailEvent`]s on a bounded channel. An outage of the cluster is
//! waited out; what a reader must decide about is an [`Error`], and the last thing that the tail says: above all a
//! position that is not in the log any more, which the library would otherwise skip over in silence.

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

/// How many records one event hands over at most.
const RECORDS_PER_BATCH: usize = 1_000;
/// How many bytes of records one event hands over at most, but for a single larger record.
const BYTES_PER_BATCH: usize = 1024 * 1024;
/// How many events may wait for the reader.
const EVENTS_WAITING: usize = 8;
/// How long opening may take before the cluster counts as away.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);

/// How long one look for records may take. It bounds how long a tail outlives its handle, not how late a record is.
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

/// A report of a tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TailEvent {
    /// Records, never none; those of one partition in the order of their offsets.
    Records(Vec<Record>),
    /// Every record of the partition below `next_offset` was handed over, and there was none beyond at that moment.
    EndReached { partition: i32, next_offset: i64 },
    /// The topic was given more partitions; they are followed from their beginning from now on.
    PartitionsAdded(Vec<i32>),
}

/// Why a tail cannot be opened or has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The log does not hold the position, or not what was read below it: it was cut, or the topic created again. The
    /// reader must start over. Of a cut that the library has found, `high` is where, and `low` is not known and 0.
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
    /// The tail has ended before; its error was returned then.
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

/// A running tail. It ends when this is dropped, some time later: a process that is about to end calls [`Tail::close`].
pub struct Tail {
    events: mpsc::Receiver<Result<TailEvent, Error>>,
    thread: JoinHandle<()>,
}

impl Tail {
    /// Follows all partitions of a topic, each from where the checkpoint says, or from its beginning if it says
    /// nothing.
    ///
    /// # Errors
    ///
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

    /// Waits for what comes next.
    ///
    /// Cancel-safe: nothing is lost when the call is dropped.
    ///
    /// # Errors
    ///
    /// Any error is the end; from then on it is [`Error::Ended`].
    pub async fn next(&mut self) -> Result<TailEvent, Error> {
        self.events.recv().await.unwrap_or(Err(Error::Ended))
    }

    /// Ends the tail and waits until its connections are closed and its thread is gone.
    pub async fn close(self) {
        drop(self.events);
        join(self.thread).await;
    }
}

/// Waits for the end of a thread that is about to end. A process must not exit before: it would take down the client
/// library's memory under the library's threads.
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
