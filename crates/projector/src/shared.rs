//! The state between the one that writes the table ([`crate::follow`]) and those that read it: projection and
//! subscriptions.
//!
//! The follower replaces the readers and the channel of changes with each table, announces each commit after it is
//! made, and says its phase. Everybody else reads.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::{Checkpoint, Positions, TopicId, UnixMillis};
use http::HeaderValue;
use kafka::topics::{self, LogProbe};
use parking_lot::{Mutex, RwLock};
use service::Shutdown;
use service::partitions::PartitionCount;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::time::Instant;

use crate::announced::Announced;
use crate::ends::LogEnds;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::phase::Phase;
use crate::store::{self, StoreReader, StoreReaders};

/// How long the cluster may take to answer a question.
pub(crate) const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// How long to wait before a failure that passes by itself is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many long reads (pages, snapshots) run at once; further ones wait their turn.
const LONG_READS_MAX: usize = 8;

/// The state that follower and readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) readers: RwLock<Option<Arc<StoreReaders>>>,
    pub(crate) phase: watch::Sender<Phase>,
    /// The last commit. Readers hear of a position only after its commit.
    pub(crate) committed: watch::Sender<Arc<Committed>>,
    /// Replaced with the table.
    pub(crate) changes: RwLock<broadcast::Sender<Arc<Announced>>>,
    /// Where each partition was last seen to end.
    pub(crate) ends: Mutex<LogEnds>,
    asked: tokio::sync::Mutex<AskedEnds>,
    /// How many commits there were that forgot somebody.
    pub(crate) forgettings: AtomicU64,
    pub(crate) logs: LogProbe,
    /// Why erasing forgotten users does not get on.
    pub(crate) erasure_held_back: Mutex<Option<String>>,
    pub(crate) metrics: Metrics,
    pub(crate) partitions: PartitionCount,
    pub(crate) shutdown: Shutdown,
    long_reads: Semaphore,
}

/// How far the table has been read.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) checkpoint: Checkpoint,
    /// The same as [`Positions`]: a header, since every answer has it.
    pub(crate) positions: Option<HeaderValue>,
}

/// Where the log ended when it was last asked on behalf of a reader.
#[derive(Debug, Default)]
struct AskedEnds {
    began: Option<Instant>,
    /// `None` when there was no answer.
    ends: Option<Checkpoint>,
}

impl Committed {
    pub(crate) fn new(topic: TopicId, checkpoint: Checkpoint) -> Arc<Self> {
        let positions = Positions { topic, checkpoint: checkpoint.clone() };
        let has_read = checkpoint.iter().any(|(_, next)| next > 0);
        let positions = HeaderValue::from_str(&positions.to_string()).ok().filter(|_| has_read);
        Arc::new(Self { checkpoint, positions })
    }
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            changes: RwLock::new(broadcast::Sender::new(options.changes_waiting_max)),
            logs: LogProbe::new(&options.kafka, &options.topic),
            partitions: PartitionCount::new(&options.topic, options.partitions),
            options,
            readers: RwLock::new(None),
            phase: watch::Sender::new(Phase::Starting { waits_for: "the cluster".to_owned() }),
            committed: watch::Sender::new(Arc::default()),
            ends: Mutex::default(),
            asked: tokio::sync::Mutex::default(),
            forgettings: AtomicU64::new(0),
            erasure_held_back: Mutex::default(),
            metrics: Metrics::default(),
            shutdown: Shutdown::new(),
            long_reads: Semaphore::new(LONG_READS_MAX),
        }
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> UnixMillis {
        (self.options.clock)()
    }

    /// Returns the readers of the table in use.
    pub(crate) fn readers(&self) -> Result<Arc<StoreReaders>, Error> {
        self.readers.read().clone().ok_or_else(|| Error::NotReady(self.phase.borrow().to_string()))
    }

    /// Returns the readers of the table in use, once there is one, within `limit`.
    pub(crate) async fn readers_within(&self, limit: Duration) -> Result<Arc<StoreReaders>, Error> {
        let mut phase = self.phase.subscribe();
        // The phase changes after the table is in use.
        let is_there = phase.wait_for(|phase| phase.is_final() || self.readers.read().is_some());
        tokio::time::timeout(limit, is_there).await.ok();
        self.readers()
    }

    /// Runs a longer read on a thread that may block; a limited number of them at once.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&StoreReader) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.read_of(&self.readers()?, read).await
    }

    /// Does the same of this table, which the caller has asked for its names.
    pub(crate) async fn read_of<T: Send + 'static>(
        &self,
        readers: &Arc<StoreReaders>,
        read: impl FnOnce(&StoreReader) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = Arc::clone(readers);
        let _turn = self.long_reads.acquire().await.map_err(|_| Error::Ended)?;
        Ok(blocking(move || readers.with(read)).await??)
    }

    /// Returns the changes of the table in use from now on.
    pub(crate) fn hear(&self) -> broadcast::Receiver<Arc<Announced>> {
        self.changes.read().subscribe()
    }

    /// Returns whether a reader that has read so far has read another log than the topic has now. A replica may be
    /// behind its readers, so where the table does not reach, the cluster is asked; while it does not answer, the
    /// reader is believed.
    pub(crate) async fn is_beyond_log(&self, checkpoint: &Checkpoint) -> bool {
        let is_beyond = |ends: &Checkpoint| checkpoint.iter().any(|(id, next)| next > ends.next(id).unwrap_or(0));
        if !is_beyond(&self.ends.lock().offsets) {
            return false;
        }
        self.ends_now().await.is_some_and(|ends| is_beyond(&ends))
    }

    /// Returns whether the topic may have a partition. An unknown one may have been added a moment ago, so the cluster
    /// is asked; while it does not answer, the partition is believed in.
    pub(crate) async fn may_have_partition(&self, partition: i32, wait_max: Duration) -> bool {
        let is_known = |ends: &Checkpoint| ends.is_empty() || ends.next(partition).is_some();
        if is_known(&self.ends.lock().offsets) {
            return true;
        }
        match tokio::time::timeout(wait_max, self.ends_now()).await {
            Ok(Some(ends)) => ends.next(partition).is_some(),
            Ok(None) | Err(_) => true,
        }
    }

    /// Asks the cluster where the log of the table ends; `None` when it does not answer, or has another log. One asks
    /// at a time, and all share an answer that was asked for after they came.
    async fn ends_now(&self) -> Option<Checkpoint> {
        let came = Instant::now();
        let mut asked = self.asked.lock().await;
        if asked.began.is_none_or(|began| began < came) {
            let began = Instant::now();
            let ends = match topics::watermarks(&self.options.kafka, &self.options.topic, ASK_DEADLINE).await {
                Ok(log) if self.is_log_of_table().await => {
                    Some(Checkpoint::from_next_offsets(log.iter().map(|log| (log.partition, log.high))))
                }
                Ok(_) => None,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the cluster does not answer where the log ends: the reader's position is believed"
                    );
                    None
                }
            };
            *asked = AskedEnds { began: Some(began), ends };
        }
        asked.ends.clone()
    }

    async fn is_log_of_table(&self) -> bool {
        let topic = self.readers.read().as_ref().map(|table| table.topic());
        self.logs.now(ASK_DEADLINE).await.is_ok_and(|log| Some(log.topic) == topic)
    }

    /// Notes that the cluster has answered where the log ends.
    pub(crate) fn ends_answered(&self) {
        let now = self.now();
        let was_silent = self.ends.lock().answered(now);
        let since = Duration::from_millis(u64::try_from(now.millis()).unwrap_or_default());
        self.metrics.as_of.set(since.as_secs_f64());
        if was_silent {
            tracing::info!("the cluster answers again");
        }
    }

    /// Notes that it has not, and logs the first such answer in a row.
    pub(crate) fn ends_unanswered(&self, error: &(dyn std::error::Error + 'static)) {
        if self.ends.lock().unanswered() {
            tracing::warn!(error, "the cluster does not answer where the log ends: the table may be old");
        }
    }

    /// Waits for `work`; `None` when the shutdown came first.
    pub(crate) async fn until_shutdown<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.shutdown.requested() => None,
            done = work => Some(done),
        }
    }

    /// Waits before another try; `None` when the shutdown came first.
    pub(crate) async fn pause(&self) -> Option<()> {
        self.until_shutdown(tokio::time::sleep(RETRY)).await
    }
}

/// Runs work that blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Ended)
}
