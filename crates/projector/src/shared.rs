//! The state between the one that writes the table ([`crate::follow`]) and those that read it: projection and
//! subscriptions.
//!
//! The follower replaces the readers and the fan-out of changes with each table, announces each commit after it is
//! made, and says its phase. Everybody else reads.

mod look;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use domain::{Checkpoint, Positions, TopicId, UnixMillis};
use http::HeaderValue;
use kafka::Unavailable;
use kafka::topics::{EndsProbe, LogProbe, Watermarks};
use parking_lot::{Mutex, RwLock};
use service::Shutdown;
use service::partitions::PartitionCount;
use service::readers::ReadersReopened;
use service::telemetry::{Seldom, chain};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::bookmark::Bookmark;
use crate::change_filter::ChangeFilter;
use crate::error::Error;
use crate::facts::{Answer, Facts};
use crate::fan_out::{FanOut, Listener};
use crate::hour::Hour;
use crate::kept_changes::KeptChanges;
use crate::metrics::{Metrics, ResourceLabel};
use crate::options::Options;
use crate::phase::Phase;
use crate::store::{self, Resource, StoreReader, StoreReaders, Writer};
use look::SlowDisk;

/// How long the cluster may take to answer a question.
pub(crate) const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// How long to wait before a failure that passes by itself is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The longest wait before another try while a resource is used up: a rebuild reads the whole log at each.
const EXHAUSTED_RETRY_MAX: Duration = Duration::from_secs(120);
/// How many long reads (searches, snapshots) run at once; further ones wait their turn.
const LONG_READS_MAX: usize = 8;
/// How many short reads (look-ups, pages of filters) run at once, whatever long ones there are.
const SHORT_READS_MAX: usize = 16;

/// The state that follower and readers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) readers: RwLock<Option<Arc<StoreReaders>>>,
    pub(crate) phase: watch::Sender<Phase>,
    /// The last commit. Readers hear of a position only after its commit.
    pub(crate) committed: watch::Sender<Arc<Committed>>,
    /// The changes of the table in use, replaced with it.
    pub(crate) changes: RwLock<Option<Arc<FanOut>>>,
    /// How far the table is from the end of the log.
    pub(crate) facts: Arc<Mutex<Facts>>,
    pub(crate) hour: Mutex<Hour>,
    pub(crate) ends: EndsProbe,
    asked: tokio::sync::Mutex<AskedEnds>,
    /// How many commits there were that forgot somebody.
    pub(crate) forgettings: AtomicU64,
    pub(crate) logs: LogProbe,
    /// Why erasing forgotten users does not get on.
    pub(crate) erasure_held_back: Mutex<Option<String>>,
    pub(crate) metrics: Metrics,
    pub(crate) partitions: PartitionCount,
    pub(crate) readers_reopened: ReadersReopened,
    /// The partitions that the Kafka client had stopped to fetch, until they are read to their end.
    pub(crate) stalled: watch::Sender<BTreeSet<i32>>,
    pub(crate) shutdown: Shutdown,
    /// Of the lines that say what the projection waits for.
    waits: Seldom,
    short_reads: Semaphore,
    long_reads: Semaphore,
    slow_disk: Mutex<SlowDisk>,
    /// The places of subscribers over HTTP.
    pub(crate) subscribers: Arc<Semaphore>,
    pub(crate) subscribers_refused: Seldom,
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
            changes: RwLock::new(None),
            subscribers: Arc::new(Semaphore::new(options.subscribers_max)),
            subscribers_refused: Seldom::default(),
            logs: LogProbe::new(&options.kafka, &options.topic),
            ends: EndsProbe::new(&options.kafka, &options.topic),
            partitions: PartitionCount::new(&options.topic, options.partitions),
            readers_reopened: ReadersReopened::default(),
            stalled: watch::Sender::default(),
            options,
            readers: RwLock::new(None),
            phase: watch::Sender::new(Phase::Starting { waits_for: "the cluster".to_owned() }),
            committed: watch::Sender::new(Arc::default()),
            facts: Arc::default(),
            hour: Mutex::default(),
            asked: tokio::sync::Mutex::default(),
            forgettings: AtomicU64::new(0),
            erasure_held_back: Mutex::default(),
            metrics: Metrics::default(),
            shutdown: Shutdown::new(),
            waits: Seldom::default(),
            short_reads: Semaphore::new(SHORT_READS_MAX),
            long_reads: Semaphore::new(LONG_READS_MAX),
            slow_disk: Mutex::default(),
        }
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> UnixMillis {
        (self.options.clock)()
    }

    /// Puts a table into use, unless it is already.
    pub(crate) fn put_into_use(&self, writer: &Writer) {
        let readers = writer.readers();
        if self.readers.read().as_ref().is_some_and(|in_use| Arc::ptr_eq(in_use, readers)) {
            return;
        }
        self.committed.send_replace(Committed::new(readers.topic(), writer.checkpoint().clone()));
        self.facts.lock().begin(writer.checkpoint(), writer.meta().committed_at);
        let at = Bookmark { checkpoint: writer.checkpoint().clone(), topic: Some(readers.topic()) };
        let kept = KeptChanges::new(Arc::clone(readers));
        let woken = self.metrics.subscribers_woken.clone();
        let changes = Arc::new(FanOut::new(at, kept, self.options.changes_waiting_max, woken));
        // Whoever heard changes of a former table is cut off: between it and this one, none were announced.
        if let Some(former) = self.changes.write().replace(changes) {
            former.close();
        }
        *self.readers.write() = Some(Arc::clone(readers));
        self.see_indexes();
    }

    /// Notes how many indexes are missing of the table in use.
    pub(crate) fn see_indexes(&self) {
        let missing = self.indexes_missing();
        self.metrics.indexes_missing.set(i64::try_from(missing).unwrap_or(i64::MAX));
    }

    /// Returns how many indexes are still to be made of the table in use.
    pub(crate) fn indexes_missing(&self) -> usize {
        self.readers.read().as_ref().map_or(0, |table| table.indexes().missing())
    }

    /// Takes the table out of use.
    pub(crate) fn withdraw(&self) {
        *self.readers.write() = None;
    }

    /// Shows what the projection waits for before it can follow the log.
    pub(crate) fn waits_for(&self, waits_for: &str) {
        let waits_for = waits_for.to_owned();
        let is_in_use = self.readers.read().is_some();
        self.phase.send_replace(if is_in_use { Phase::Stored { waits_for } } else { Phase::Starting { waits_for } });
    }

    /// Logs why the projection waits: each cause at once, then once a minute.
    pub(crate) fn log_wait(&self, error: &(dyn std::error::Error + 'static), text: &str) {
        if self.waits.is_due_for(&chain(error)) {
            tracing::warn!(error, "{text}");
        }
    }

    /// Returns the readers of the table in use.
    pub(crate) fn readers(&self) -> Result<Arc<StoreReaders>, Error> {
        self.readers.read().clone().ok_or_else(|| Error::NotReady(self.phase.borrow().to_string()))
    }

    /// Returns the readers of the table in use, once there is one, within `limit`.
    pub(crate) async fn readers_within(&self, limit: Duration) -> Result<Arc<StoreReaders>, Error> {
        tokio::time::timeout(limit, self.until_in_use()).await.ok();
        self.readers()
    }

    /// Waits until a table is in use, or none will be.
    pub(crate) async fn until_in_use(&self) {
        let mut phase = self.phase.subscribe();
        // The phase changes after the table is in use.
        phase.wait_for(|phase| phase.is_final() || self.readers.read().is_some()).await.ok();
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
        look::in_turn(&self.long_reads, readers, read).await
    }

    /// Listens to the changes of the table in use from now on.
    pub(crate) fn listen(&self, filter: &Arc<ChangeFilter>) -> Result<Listener, Error> {
        let not_ready = || Error::NotReady(self.phase.borrow().to_string());
        self.changes.read().as_ref().map(|changes| changes.listen(filter)).ok_or_else(not_ready)
    }

    /// Returns whether a reader that has read so far has read another log than the topic has now. A replica may be
    /// behind its readers, so where the table does not reach, the cluster is asked; while it does not answer, the
    /// reader is believed.
    pub(crate) async fn is_beyond_log(&self, checkpoint: &Checkpoint) -> bool {
        if self.facts.lock().seen_ends().covers_all(checkpoint) {
            return false;
        }
        self.ends_now().await.is_some_and(|ends| !ends.covers_all(checkpoint))
    }

    /// Returns whether the topic may have a partition. An unknown one may have been added a moment ago, so the cluster
    /// is asked; while it does not answer, the partition is believed in.
    pub(crate) async fn may_have_partition(&self, partition: i32, wait_max: Duration) -> bool {
        let is_known = |ends: &Checkpoint| ends.is_empty() || ends.next(partition).is_some();
        if is_known(&self.facts.lock().seen_ends()) {
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
            let ends = match self.ends.now(ASK_DEADLINE).await {
                Ok(log) if self.is_log_of_table().await => {
                    let ends: Result<Vec<_>, _> = log.into_values().collect();
                    let next = |log: &Watermarks| (log.partition, log.high);
                    ends.ok().map(|ends| Checkpoint::from_next_offsets(ends.iter().map(next)))
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

    /// Changes the partitions that are stalled.
    pub(crate) fn stalled(&self, change: impl FnOnce(&mut BTreeSet<i32>)) {
        self.stalled.send_if_modified(|stalled| {
            let before = stalled.clone();
            change(stalled);
            self.metrics.stalled.set(i64::try_from(stalled.len()).unwrap_or(i64::MAX));
            *stalled != before
        });
    }

    /// Changes what is known of the log, and logs what has come between the table and its end, or has gone.
    pub(crate) fn learn(&self, learn: impl FnOnce(&mut Facts)) {
        let (before, after) = {
            let mut facts = self.facts.lock();
            let before = facts.trouble();
            learn(&mut facts);
            (before, facts.trouble())
        };
        match (before, after) {
            (before, Some(trouble)) if before.as_ref() != Some(&trouble) => {
                tracing::warn!(reason = trouble, "the table may be old");
            }
            (Some(trouble), None) => tracing::info!(reason = trouble, "the table goes on: this is over"),
            (_, _) => {}
        }
    }

    /// Returns the time that the table is as of, where that is known.
    pub(crate) fn as_of(&self) -> Option<UnixMillis> {
        self.facts.lock().as_of()
    }

    /// Notes that the cluster has answered where the log ends.
    pub(crate) fn ends_answered(&self, answer: &Answer) {
        self.learn(|facts| facts.answered(answer));
        self.note_minute();
    }

    /// Notes that it has not.
    pub(crate) fn ends_unanswered(&self, error: Unavailable) {
        tracing::debug!(error = &error as &dyn std::error::Error, "the cluster does not answer where the log ends");
        let missing = if let Unavailable::Missing { topic } = error { Some(topic) } else { None };
        self.learn(|facts| facts.unanswered(missing));
        self.note_minute();
    }

    /// Notes in the last hour how it is now.
    fn note_minute(&self) {
        let lag = self.facts.lock().distances().map(|distance| distance.lag()).sum();
        self.hour.lock().look(self.now(), lag, self.metrics.subscribers.get());
    }

    /// Waits for `work`; `None` when the shutdown came first.
    pub(crate) async fn until_shutdown<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.shutdown.requested() => None,
            done = work => Some(done),
        }
    }

    /// Counts a failure for lack of a resource. Returns whether it was one.
    pub(crate) fn note_exhausted(&self, error: &Error) -> bool {
        let resource = match error {
            Error::Store(error) => error.resource(),
            Error::Threads(_) => Some(Resource::Threads),
            _ => None,
        };
        if let Some(resource) = resource {
            self.metrics.exhausted.get_or_create(&ResourceLabel { resource: resource.as_str() }).inc();
        }
        resource.is_some()
    }

    /// Waits before another try after that error: longer each time in a row that a resource was used up, for such a try
    /// may read the whole log. `None` when the shutdown came first.
    pub(crate) async fn pause_after(&self, error: &Error, tries: &mut u32) -> Option<()> {
        *tries = if self.note_exhausted(error) { tries.saturating_add(1) } else { 0 };
        self.until_shutdown(tokio::time::sleep(wait_after(*tries))).await
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

/// Returns how long to wait after so many failures in a row for lack of a resource.
fn wait_after(tries: u32) -> Duration {
    RETRY.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1))).min(EXHAUSTED_RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_try_on_a_full_disk_waits_longer() {
        let waits: Vec<u64> = (0..10).map(|tries| wait_after(tries).as_secs()).collect();
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 64, 120, 120]);
    }
}
