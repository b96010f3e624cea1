//! The library: a table of every user's current state that keeps itself up to date, for this service and for others.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use domain::{Checkpoint, Position, UnixMillis, UserId};
use http::HeaderValue;
use kafka::{ClientOptions, topics};
use service::Shutdown;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::bookmark::Bookmark;
use crate::metrics::Metrics;
use crate::project::{self, ASK_DEADLINE, LogEnds, Phase};
use crate::store::{self, Counts, Filter, Folder, Lookup, Page, Reader, Readers};
use crate::subscribe::{Announced, Changes};

/// How many changes wait for the slowest subscriber; one that falls further behind is cut off.
pub const CHANGES_WAITING_MAX: usize = 16 * 1024;
/// How many long reads (pages, snapshots) run at once; further ones wait their turn.
const LONG_READS_MAX: usize = 8;
/// How many users one step of an iteration reads.
const ITERATE_STEP: usize = 1_000;

/// What a projection is of, and where it keeps its table.
#[derive(Clone, Debug)]
pub struct Options {
    pub kafka: ClientOptions,
    pub topic: String,
    /// Where deliveries are kept that came after a newer one; they close gaps. It need not be there.
    pub late_topic: Option<String>,
    /// A folder that this projection alone uses; made if need be.
    pub store: PathBuf,
    /// Whether to make the table again from the log even if the one there could be gone on with.
    pub rebuild: bool,
    /// How much memory a rebuild may use for its tables; more users than fit are folded in several passes.
    pub rebuild_memory_bytes_max: usize,
    /// How many changes wait for the slowest subscriber; one that falls further behind is cut off.
    pub changes_waiting_max: usize,
    /// How often the ends of the log are asked for, and an idle store is marked as up to date.
    pub look_interval: Duration,
    /// Says what time it is; only the age of the store is told by it.
    pub clock: fn() -> UnixMillis,
}

/// Why a projection cannot answer or has ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the table is not ready: {0}")]
    NotReady(String),
    #[error("the position {position} was not reached in time")]
    NotReached { position: Position },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the topic {topic} cannot be followed: {reason}")]
    Topic { topic: String, reason: String },
    #[error("the topic cannot be read")]
    Log(#[from] kafka::tail::Error),
    #[error("the topic cannot be scanned")]
    Scan(#[from] kafka::scan::Error),
    #[error("the Kafka options cannot be used: {0}")]
    Options(String),
    #[error("the projection has ended")]
    Ended,
}

/// A table that follows the topic; clones share it. It ends with [`Projection::close`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use projector::{Options, Projection};
///
/// let projection = Projection::open(Options::new("localhost:9092", "vcc.users", "/var/lib/table"))?;
/// projection.ready().await?;
/// println!("{:?}", projection.get("180".parse()?)?);
/// projection.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Projection {
    shared: Arc<Shared>,
}

/// How far the table has been read.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) checkpoint: Checkpoint,
    /// The last position of each partition, parted by commas: as a header, since every answer has it.
    pub(crate) positions: Option<HeaderValue>,
}

impl Committed {
    pub(crate) fn new(checkpoint: Checkpoint) -> Arc<Self> {
        let last = checkpoint.iter().filter(|(_, next)| *next > 0);
        let positions: Vec<String> =
            last.map(|(partition, next)| Position { partition, offset: next - 1 }.to_string()).collect();
        let positions = HeaderValue::from_str(&positions.join(",")).ok().filter(|positions| !positions.is_empty());
        Arc::new(Self { checkpoint, positions })
    }
}

/// What the follower writes and the readers read.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) readers: RwLock<Option<Arc<Readers>>>,
    pub(crate) phase: watch::Sender<Phase>,
    /// What is committed. Readers hear of a position only after its commit.
    pub(crate) committed: watch::Sender<Arc<Committed>>,
    /// Replaced with the table.
    pub(crate) changes: RwLock<broadcast::Sender<Arc<Announced>>>,
    /// Where each partition was last seen to end.
    pub(crate) ends: Mutex<LogEnds>,
    asked: tokio::sync::Mutex<Asked>,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
    long_reads: Semaphore,
    follower: Mutex<Option<JoinHandle<Result<(), Error>>>>,
}

/// Where the log ended when it was last asked on behalf of a reader.
#[derive(Debug, Default)]
struct Asked {
    began: Option<Instant>,
    /// `None` when there was no answer.
    ends: Option<Checkpoint>,
}

impl Options {
    /// How much memory a rebuild may use if nothing else is said: about two million users in one pass.
    pub const REBUILD_MEMORY_BYTES_MAX: usize = 1 << 30;

    /// How often the ends of the log are asked for if nothing else is said: what is cut off from the cluster knows it within a minute.
    pub const LOOK_INTERVAL: Duration = Duration::from_secs(30);

    /// Returns options for that cluster, topic and folder, with defaults for the rest.
    pub fn new(bootstrap: &str, topic: &str, store: impl Into<PathBuf>) -> Self {
        Self {
            kafka: ClientOptions::new(bootstrap),
            topic: topic.to_owned(),
            late_topic: Some(format!("{topic}.late")),
            store: store.into(),
            rebuild: false,
            rebuild_memory_bytes_max: Self::REBUILD_MEMORY_BYTES_MAX,
            changes_waiting_max: CHANGES_WAITING_MAX,
            look_interval: Self::LOOK_INTERVAL,
            clock: system_clock,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the default for those who embed; whoever tests passes a clock of its own"
)]
fn system_clock() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Projection {
    /// Takes the folder and begins to follow the topic. Answers come once the table is there: [`Projection::ready`] waits for it.
    ///
    /// A cluster that is away is waited for. To be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the Kafka options cannot be used, or the folder cannot be used or has another owner.
    pub fn open(options: Options) -> Result<Self, Error> {
        let faults = options.kafka.validate();
        if !faults.is_empty() {
            return Err(Error::Options(faults.join("; ")));
        }
        let folder = Folder::take(&options.store)?;
        let changes = RwLock::new(broadcast::Sender::new(options.changes_waiting_max));
        let shared = Arc::new(Shared {
            options,
            readers: RwLock::new(None),
            phase: watch::Sender::new(Phase::Starting { waits_for: "the cluster".to_owned() }),
            committed: watch::Sender::new(Arc::default()),
            changes,
            ends: Mutex::default(),
            asked: tokio::sync::Mutex::default(),
            metrics: Metrics::default(),
            shutdown: Shutdown::new(),
            long_reads: Semaphore::new(LONG_READS_MAX),
            follower: Mutex::new(None),
        });
        let follower = tokio::spawn(project::run(Arc::clone(&shared), folder));
        *shared.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(follower);
        Ok(Self { shared })
    }

    /// Waits until the table has been read to where the log ended at start.
    ///
    /// # Errors
    /// When the projection has failed or was closed.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut phase = self.shared.phase.subscribe();
        let phase = phase.wait_for(Phase::is_final).await.map_err(|_| Error::Ended)?.clone();
        match phase {
            Phase::Failed { why } => Err(Error::NotReady(why)),
            Phase::Ended => Err(Error::Ended),
            Phase::Following | Phase::Starting { .. } | Phase::Rebuilding(_) | Phase::CatchingUp => Ok(()),
        }
    }

    /// Returns what the projection is doing; the receiver hears of every change.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    /// Returns what is known of a user.
    ///
    /// A look into the table takes microseconds, so this does not wait for another thread.
    ///
    /// # Errors
    /// [`Error::NotReady`] while there is no table; [`Error::Store`] when it cannot be read.
    pub fn get(&self, user_id: UserId) -> Result<Lookup, Error> {
        Ok(self.readers()?.with(|reader| reader.get(user_id))?)
    }

    /// Returns up to `limit` users that the filter lets through, those after `after`, in the order of their identifiers.
    ///
    /// # Errors
    /// As [`Projection::get`].
    pub async fn find(&self, filter: Filter, after: Option<UserId>, limit: usize) -> Result<Page, Error> {
        self.read(move |reader| reader.find(&filter, after, limit)).await
    }

    /// Calls `each` with all users in the order of their identifiers, a page at a time, until it returns false.
    ///
    /// # Errors
    /// As [`Projection::get`].
    pub async fn iterate(&self, mut each: impl FnMut(store::UserRow) -> bool) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.find(Filter::default(), after, ITERATE_STEP).await?;
            for user in page.users {
                if !each(user) {
                    return Ok(());
                }
            }
            match page.next_after {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Returns how far the table has been read: every record below is in it.
    pub fn checkpoint(&self) -> Checkpoint {
        self.committed().checkpoint.clone()
    }

    pub(crate) fn committed(&self) -> Arc<Committed> {
        Arc::clone(&self.shared.committed.borrow())
    }

    /// Returns where each partition was last seen to end.
    pub fn ends(&self) -> Checkpoint {
        self.log_ends().offsets
    }

    pub(crate) fn log_ends(&self) -> LogEnds {
        self.shared.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the record at `position` is in the table.
    ///
    /// # Errors
    /// [`Error::NotReached`] when `wait_max` passes before.
    pub async fn wait_for(&self, position: Position, wait_max: Duration) -> Result<(), Error> {
        let mut committed = self.shared.committed.subscribe();
        if committed.borrow().checkpoint.covers(position) {
            return Ok(());
        }
        let reached = committed.wait_for(|committed| committed.checkpoint.covers(position));
        match tokio::time::timeout(wait_max, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::NotReached { position }),
        }
    }

    /// Subscribes to changes: what `from` does not cover first, from an empty checkpoint the whole table, then all that follow.
    ///
    /// A bookmark of another log, or from beyond the end of this one, is one of a topic that was made anew: the subscriber is
    /// told so ([`crate::Item::StartedOver`]), and given the whole table.
    pub fn subscribe(&self, from: impl Into<Bookmark>) -> Changes {
        Changes::new(self.clone(), from.into())
    }

    /// Returns whether a reader that has read so far has read another log than the topic has now. A replica may be behind its
    /// readers, so where the table does not reach, the cluster is asked; while it does not answer, the reader is believed.
    pub(crate) async fn is_beyond_log(&self, checkpoint: &Checkpoint) -> bool {
        let is_beyond = |ends: &Checkpoint| checkpoint.iter().any(|(id, next)| next > ends.next(id).unwrap_or(0));
        if !is_beyond(&self.ends()) {
            return false;
        }
        self.ends_now().await.is_some_and(|ends| is_beyond(&ends))
    }

    /// Returns whether the topic may have a partition. One that is not known here may have been added a moment ago, so the cluster
    /// is asked; while it does not answer, the partition is believed in.
    pub(crate) async fn may_have_partition(&self, partition: i32, wait_max: Duration) -> bool {
        let is_known = |ends: &Checkpoint| ends.is_empty() || ends.next(partition).is_some();
        if is_known(&self.shared.ends.lock().unwrap_or_else(PoisonError::into_inner).offsets) {
            return true;
        }
        match tokio::time::timeout(wait_max, self.ends_now()).await {
            Ok(Some(ends)) => ends.next(partition).is_some(),
            Ok(None) | Err(_) => true,
        }
    }

    /// Asks the cluster where the log ends; `None` when it does not answer. One asks at a time, and all share what was asked after
    /// they came.
    async fn ends_now(&self) -> Option<Checkpoint> {
        let came = Instant::now();
        let mut asked = self.shared.asked.lock().await;
        if asked.began.is_none_or(|began| began < came) {
            let began = Instant::now();
            let (kafka, topic) = (&self.shared.options.kafka, &self.shared.options.topic);
            let ends = match topics::watermarks(kafka, topic, ASK_DEADLINE).await {
                Ok(log) => Some(Checkpoint::from_next_offsets(log.iter().map(|log| (log.partition, log.high)))),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "what a reader says of the log is believed: the cluster does not tell where it ends"
                    );
                    None
                }
            };
            *asked = Asked { began: Some(began), ends };
        }
        asked.ends.clone()
    }

    /// Returns how much there is in the table.
    ///
    /// # Errors
    /// As [`Projection::get`].
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.read(Reader::counts).await
    }

    /// Runs a longer read on a thread that may block; a limited number of them at once.
    ///
    /// # Errors
    /// As [`Projection::get`].
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = self.readers()?;
        let _turn = self.shared.long_reads.acquire().await.map_err(|_| Error::Ended)?;
        let answer = tokio::task::spawn_blocking(move || readers.with(read)).await.map_err(|_| Error::Ended)?;
        Ok(answer?)
    }

    /// Waits until the projection has ended, by [`Projection::close`] or by an error.
    pub async fn ended(&self) {
        let mut phase = self.shared.phase.subscribe();
        // The sender is in `shared`, which this holds: it cannot be gone.
        let _ended = phase.wait_for(|phase| matches!(phase, Phase::Failed { .. } | Phase::Ended)).await;
    }

    /// Stops following: finishes the commit in hand, closes the store, gives the folder back.
    ///
    /// # Errors
    /// The error that had ended the projection before, if one had.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.shutdown.trigger();
        let follower = self.shared.follower.lock().unwrap_or_else(PoisonError::into_inner).take();
        match follower {
            Some(follower) => follower.await.unwrap_or(Err(Error::Ended)),
            None => Ok(()),
        }
    }

    pub(crate) fn readers(&self) -> Result<Arc<Readers>, Error> {
        let readers = self.shared.readers.read().unwrap_or_else(PoisonError::into_inner);
        readers.clone().ok_or_else(|| Error::NotReady(self.shared.phase.borrow().to_string()))
    }

    pub(crate) fn hear(&self) -> broadcast::Receiver<Arc<Announced>> {
        self.shared.changes.read().unwrap_or_else(PoisonError::into_inner).subscribe()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}
