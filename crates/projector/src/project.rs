//! The loop that keeps the table up to date: records in, one commit, then the position is announced, then the changes.
//!
//! Resumes from its own store alone. A store that cannot be gone on with is made again from the log ([`crate::start`] says
//! when, [`crate::rebuild`] how); a cluster that is away, a full disk and a locked file are waited out.

mod ends;

mod follow;

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use domain::topics::Spec;
use kafka::tail;
use kafka::topics::{self, Severity};
use service::telemetry::chain;

use crate::projection::{Error, Shared};
use crate::rebuild;
use crate::start::{self, Reason, Topic};
use crate::store::{self, Folder, Meta, Writer};
pub(crate) use ends::LogEnds;
use follow::Follower;
pub use follow::RECORDS_PER_COMMIT;

/// How long to wait before trying again what failed for a reason that passes.
const RETRY: Duration = Duration::from_secs(1);
/// How often a topic may be missing at first: a broker may hear of a new topic a moment after it was made.
const MISSED_MAX: u32 = 3;
/// How long the cluster may take to answer a question.
pub(crate) const ASK_DEADLINE: Duration = Duration::from_secs(10);

/// What a projection is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Nothing can be answered yet.
    Starting {
        waits_for: String,
    },
    Rebuilding(rebuild::Progress),
    /// The table can be read, at the position that every answer names; it is not yet where the log ended at start.
    CatchingUp,
    Following,
    Failed {
        why: String,
    },
    Ended,
}

impl Phase {
    /// Returns whether waiting for the table to be ready is over, for good or ill.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Starting { .. } | Self::Rebuilding(_) | Self::CatchingUp => false,
            Self::Following | Self::Failed { .. } | Self::Ended => true,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { waits_for } => write!(f, "waiting for {waits_for}"),
            Self::Rebuilding(progress) => write!(f, "rebuilding from the log: {progress}"),
            Self::CatchingUp => f.write_str("reading to where the log ended at start"),
            Self::Following => f.write_str("following the log"),
            Self::Failed { why } => write!(f, "failed: {why}"),
            Self::Ended => f.write_str("ended"),
        }
    }
}

/// Why following stopped.
enum Stop {
    Shutdown,
    Rebuild(Reason),
}

/// Follows the topic until the shutdown or an error that does not pass.
pub(crate) async fn run(shared: Arc<Shared>, folder: Folder) -> Result<(), Error> {
    let ended = run_until_stopped(&shared, folder).await;
    *shared.readers.write().unwrap_or_else(PoisonError::into_inner) = None;
    match &ended {
        Ok(()) => shared.phase.send_replace(Phase::Ended),
        Err(error) => shared.phase.send_replace(Phase::Failed { why: chain(error) }),
    };
    ended
}

async fn run_until_stopped(shared: &Arc<Shared>, folder: Folder) -> Result<(), Error> {
    let folder = Arc::new(folder);
    let mut forced = shared.options.rebuild.then_some(Reason::Asked);
    loop {
        let Some(topic) = ask_topic(shared).await? else { return Ok(()) };
        let writer = match open_store(shared, &folder, &topic, forced.clone()).await {
            Ok(Some(writer)) => writer,
            Ok(None) => return Ok(()),
            // In the middle of a rebuild the cluster went away, the log was cut, or the disk is full: once more, from what it is then.
            Err(error) if passes(&error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the table cannot be opened or made: trying again"
                );
                shared
                    .phase
                    .send_replace(Phase::Starting { waits_for: format!("what passes by itself: {}", chain(&error)) });
                if until_shutdown(shared, tokio::time::sleep(RETRY)).await.is_none() {
                    return Ok(());
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        match Follower::new(shared, writer, &topic).follow().await? {
            Stop::Shutdown => return Ok(()),
            Stop::Rebuild(reason) => {
                *shared.readers.write().unwrap_or_else(PoisonError::into_inner) = None;
                forced = Some(reason);
            }
        }
    }
}

/// Returns whether the table may be opened, or made from the log, a moment later.
fn passes(error: &Error) -> bool {
    match error {
        Error::Log(error) => error.is_transient() || matches!(error, tail::Error::PositionOutsideLog { .. }),
        Error::Store(error) => error.is_transient(),
        Error::NotReady(_) | Error::NotReached { .. } | Error::Topic { .. } | Error::Options(_) | Error::Ended => false,
    }
}

/// Asks the cluster about the topic, for as long as it takes; `None` when the shutdown came first.
async fn ask_topic(shared: &Shared) -> Result<Option<Topic>, Error> {
    let (kafka, name) = (&shared.options.kafka, &shared.options.topic);
    let mut missed = 0;
    loop {
        shared.phase.send_replace(Phase::Starting { waits_for: "the cluster".to_owned() });
        let asked = async {
            let description = topics::describe(kafka, name, ASK_DEADLINE).await?;
            Ok::<_, topics::Error>((description, topics::watermarks(kafka, name, ASK_DEADLINE).await?))
        };
        let (description, log) = match until_shutdown(shared, asked).await {
            None => return Ok(None),
            Some(Ok(answer)) => answer,
            Some(Err(error)) if error.is_transient() || missed < MISSED_MAX => {
                missed += u32::from(matches!(error, topics::Error::Missing { .. }));
                tracing::warn!(error = &error as &dyn std::error::Error, "the topic cannot be described: trying again");
                if until_shutdown(shared, tokio::time::sleep(RETRY)).await.is_none() {
                    return Ok(None);
                }
                continue;
            }
            Some(Err(error)) => return Err(Error::Topic { topic: name.clone(), reason: chain(&error) }),
        };
        shared.ends_told();
        for finding in topics::judge(&Spec::users(name, description.partitions, 1), Some(&description)) {
            match finding.severity {
                Severity::Refuse => return Err(Error::Topic { topic: name.clone(), reason: finding.to_string() }),
                Severity::Warn => tracing::warn!(%finding, "the topic is not as the contract says"),
                Severity::Note => tracing::debug!(%finding, "the topic cannot be checked in this respect"),
            }
        }
        let setting = |name| description.settings.as_ref()?.get(name)?.parse().ok();
        return Ok(Some(Topic {
            name: name.clone(),
            identity: description.identity(),
            delete_retention_ms: setting(start::DELETE_RETENTION),
            min_compaction_lag_ms: setting(start::MIN_COMPACTION_LAG),
            log,
        }));
    }
}

/// Opens the store if it can be gone on with, and makes it anew if not; `None` when the shutdown came first.
async fn open_store(
    shared: &Arc<Shared>,
    folder: &Arc<Folder>,
    topic: &Topic,
    forced: Option<Reason>,
) -> Result<Option<Writer>, Error> {
    let now = (shared.options.clock)();
    let reason = match (forced, folder.current()) {
        (Some(reason), _) => reason,
        (None, None) => Reason::NoStore,
        (None, Some(path)) => match blocking(move || Writer::open(&path)).await? {
            Ok(writer) => match start::judge(writer.meta(), writer.checkpoint(), topic, now) {
                None => return Ok(Some(writer)),
                Some(reason) => reason,
            },
            Err(error @ (store::Error::Damaged { .. } | store::Error::Other { .. })) => Reason::Damaged(chain(&error)),
            Err(error) => return Err(error.into()),
        },
    };
    tracing::info!(%reason, "the table is made from the log");
    shared.metrics.rebuilds.inc();
    let meta = Meta::new(&topic.name, &topic.identity, now);
    rebuild::run(shared, folder, topic, &meta).await
}

impl Shared {
    /// Notes that the cluster has told where the log ends.
    fn ends_told(&self) {
        let now = (self.options.clock)();
        let was_silent = self.ends.lock().unwrap_or_else(PoisonError::into_inner).told(now);
        let since = Duration::from_millis(u64::try_from(now.millis()).unwrap_or_default());
        self.metrics.as_of.set(since.as_secs_f64());
        if was_silent {
            tracing::info!("the cluster answers again");
        }
    }

    /// Notes that it has not, and says so once.
    fn ends_not_told(&self, error: &(dyn std::error::Error + 'static)) {
        if self.ends.lock().unwrap_or_else(PoisonError::into_inner).not_told() {
            tracing::warn!(error, "the cluster does not tell where the log ends: what is answered may be old");
        }
    }
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Ended)
}

/// Waits for `work`; `None` when the shutdown came first.
pub(crate) async fn until_shutdown<T>(shared: &Shared, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = shared.shutdown.requested() => None,
        done = work => Some(done),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use domain::{Facts, UnixMillis, User, UserEvent, UserId, wire};
    use kafka::embedded::EmbeddedBroker;
    use kafka::publish::{Limits, Outgoing, Publisher};

    use super::*;
    use crate::rebuild::full_disk;
    use crate::store::Lookup;
    use crate::{Options, Projection};

    const TOPIC: &str = "vcc.users";
    /// How long a condition is waited for before the test fails.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn publish(publisher: &Publisher, user_id: UserId) {
        let at = UnixMillis::from_millis(1_000);
        let mut new = User::new(user_id);
        new.name = Some("a name of some length ".repeat(40));
        let facts = Facts {
            old: None,
            new,
            timestamp: at.to_string(),
            received_at: at,
            password_changed: false,
            extra: Default::default(),
            omitted: Vec::new(),
        };
        let outgoing = Outgoing {
            topic: TOPIC.to_owned(),
            key: user_id.to_string().into_bytes(),
            value: Some(wire::encode(&UserEvent::new(facts).unwrap())),
            headers: Vec::new(),
            timestamp: at,
            partition: None,
        };
        publisher.publish(outgoing).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_rebuild_waits_for_room_on_the_disk() {
        // The empty tables have it; the users do not.
        const PAGES: u32 = 20;
        const USERS: i64 = 300;
        let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
        let publisher = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
        for id in 0..USERS {
            publish(&publisher, UserId::new(id).unwrap()).await;
        }
        full_disk::PAGES_MAX.store(PAGES, Ordering::Relaxed);
        let store = tempfile::tempdir().unwrap();
        let options = Options { kafka: broker.client_options(), ..Options::new("", TOPIC, store.path()) };
        let table = Projection::open(options).unwrap();
        let mut phase = table.phase();
        let full = phase.wait_for(|phase| phase.to_string().contains("full") || phase.is_final());
        let full = tokio::time::timeout(PATIENCE, full).await.unwrap().unwrap().clone();
        assert!(matches!(full, Phase::Starting { .. }), "{full}");
        assert!(!store.path().join("users.1.db").exists(), "what was begun takes no room");
        full_disk::PAGES_MAX.store(0, Ordering::Relaxed);
        tokio::time::timeout(PATIENCE, table.ready()).await.unwrap().unwrap();
        assert!(matches!(table.get(UserId::new(USERS - 1).unwrap()).unwrap(), Lookup::Found(_)));
        table.close().await.unwrap();
    }
}
