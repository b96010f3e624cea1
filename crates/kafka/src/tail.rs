//! Follows a topic from a checkpoint without end.
//!
//! The callbacks of librdkafka become [`TailEvent`]s on a bounded channel. The tail waits out an outage of the cluster.
//! It passes on only records that it has confirmed to be of the log that it began with. A condition that the reader
//! must decide about is an [`Error`] and ends the tail: above all a position that is no longer in the log, which
//! librdkafka would skip silently. A partition that librdkafka forgets is noticed and read with a new client.

mod batch;
mod cursors;
mod event;
mod limits;
mod reader;
mod truncation;
mod watchdog;

use std::fmt;
use std::thread::JoinHandle;

use domain::{Checkpoint, LogId};
use tokio::sync::mpsc;

use crate::ClientOptions;

pub(crate) use batch::Batch;
pub use event::{Error, TailEvent};
pub use limits::{COLLECTED_BYTES, COLLECTED_WAIT, Fetch, Limits};
use reader::TailReader;
pub(crate) use reader::{Verdict, verdict};
pub(crate) use truncation::cut_at;

/// A running tail. Dropping it ends it after a delay. A process that is about to exit must call [`Tail::close`].
pub struct Tail {
    events: mpsc::Receiver<Result<TailEvent, Error>>,
    thread: JoinHandle<()>,
    log: LogId,
}

impl Tail {
    /// Follows all partitions of a topic, each from its offset in the checkpoint, or from its beginning if the
    /// checkpoint has none. The leader checks each offset of which the checkpoint has the epoch (KIP-320).
    ///
    /// # Errors
    /// If the cluster does not answer in time, or the topic does not hold the checkpoint.
    pub async fn open(options: &ClientOptions, topic: &str, from: Checkpoint, limits: Limits) -> Result<Self, Error> {
        let (sender, events) = mpsc::channel(limits.events_waiting.max(1));
        let (options, topic) = (options.clone(), topic.to_owned());
        let reader = tokio::task::spawn_blocking(move || TailReader::open(&options, topic, &from, limits, sender))
            .await
            .expect("opening does not panic")?;
        let log = reader.log().clone();
        let thread = std::thread::Builder::new()
            .name("kafka-tail".to_owned())
            .spawn(move || reader.run())
            .expect("the system can start a thread");
        Ok(Self { events, thread, log })
    }

    /// Returns the log that every record of this tail is of.
    pub fn log(&self) -> &LogId {
        &self.log
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
