//! The loop that keeps the table up to date: records in, one commit, then the position is announced, then the changes.
//!
//! Resumes from its own store alone, which is answered from before the cluster has been asked. A store that cannot go
//! on is rebuilt from the log ([`crate::start`] says when, [`crate::rebuild`] how). A cluster that is away, a topic
//! that is not there, missing permissions, a full disk and a locked file are waited out.

mod follower;

mod announce;

mod ask;

mod damage;

mod erase;

mod indexing;

mod late;

mod look;

mod pace;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use kafka::tail;
use service::telemetry::chain;

use crate::error::Error;
use crate::phase::Phase;
use crate::rebuild;
use crate::shared::{Shared, blocking};
use crate::start::{self, RebuildReason, Topic};
use crate::store::{self, Erased, StoreFolder, StoreMeta, StoreReader, Writer};
use ask::ask_topic;
use damage::DamageWatch;
use follower::{Follower, Stop};
use indexing::{Indexer, Made};

/// After how long without an answer of the cluster indexes are made meanwhile.
const SILENCE: Duration = Duration::from_secs(1);

/// A table to go on with.
struct Opened {
    writer: Writer,
    topic: Topic,
    /// Whether it was made from the log just now.
    is_new: bool,
}

/// Follows the topic until the shutdown or an error that does not pass.
pub(crate) async fn run(shared: Arc<Shared>, folder: StoreFolder) -> Result<(), Error> {
    let folder = Arc::new(folder);
    let ended = run_until_stopped(&shared, &folder).await;
    shared.withdraw();
    shared.logs.close().await;
    shared.ends.close().await;
    match &ended {
        Ok(()) => {
            folder.leave();
            shared.phase.send_replace(Phase::Ended);
        }
        Err(error) => {
            shared.phase.send_replace(Phase::Failed { why: error.told() });
        }
    }
    ended
}

async fn run_until_stopped(shared: &Arc<Shared>, folder: &Arc<StoreFolder>) -> Result<(), Error> {
    let mut forced = shared.options.rebuild.then_some(RebuildReason::Asked);
    if let (Some(_), Some(path)) = (&forced, folder.current()) {
        // Until the other table is there, which may last, nobody who was forgotten stays in this one.
        drop(blocking(move || erased(Writer::open(&path)?)).await?);
    }
    let mut tries = 0;
    loop {
        let Opened { writer, topic, is_new } = match open(shared, folder, &mut forced).await {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(()),
            // In the middle of a rebuild the cluster went away, the log was cut, or the disk is full: once more from
            // the log as it is then.
            Err(error) if passes(&error) => {
                shared.log_wait(&error, "the table cannot be opened or made: trying again");
                shared.waits_for(&format!("a failure that passes by itself: {}", error.told()));
                if shared.pause_after(&error, &mut tries).await.is_none() {
                    return Ok(());
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        tries = 0;
        let mut follower = Follower::new(shared, folder, writer, &topic);
        if is_new {
            follower.begin()?;
        }
        match follower.follow().await? {
            Stop::Shutdown => return Ok(()),
            Stop::Rebuild(reason) => {
                shared.withdraw();
                forced = Some(reason);
            }
        }
    }
}

/// Erases what the last process left to be erased: the file is here, and the cluster may be away for long.
fn erased(mut writer: Writer) -> Result<Writer, store::Error> {
    match writer.erase() {
        Ok(Erased::Done | Erased::InPart) => {}
        Ok(Erased::HeldBack(by)) => tracing::warn!(%by, "erasing forgotten users is held back"),
        Err(error) if error.is_damage() => return Err(error),
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "nothing can be erased now"),
    }
    Ok(writer)
}

/// Returns whether the table may be opened, or made from the log, a moment later.
fn passes(error: &Error) -> bool {
    match error {
        Error::Log(error) => !matches!(error, tail::Error::Ended),
        Error::Scan(_) | Error::Threads(_) => true,
        Error::Store(error) => error.is_transient(),
        Error::Schema(_)
        | Error::NotReady(_)
        | Error::NotReached { .. }
        | Error::Topic { .. }
        | Error::Options(_)
        | Error::Ended => false,
    }
}

/// Opens the store if it can go on, and rebuilds it if not: for the reason in `forced`, which stays until it is done.
/// `None` when the shutdown came first.
async fn open(
    shared: &Arc<Shared>,
    folder: &Arc<StoreFolder>,
    forced: &mut Option<RebuildReason>,
) -> Result<Option<Opened>, Error> {
    let mut kept = match forced {
        Some(_) => None,
        None => kept(shared, folder).await?.map_err(|reason| *forced = Some(reason)).ok(),
    };
    let topic = match ask_beside(shared, folder, &mut kept).await? {
        Asked::Topic(topic) => topic,
        Asked::Damaged(reason) => {
            *forced = Some(reason);
            kept = None;
            shared.withdraw();
            ask_topic(shared).await?
        }
    };
    let Some(topic) = topic else { return Ok(None) };
    let now = shared.now();
    if let Some(writer) = kept {
        let judged = match start::judge(writer.meta(), writer.checkpoint(), &topic, now) {
            None => named_since(shared, writer.unnamed_ids()?).await?,
            reason => Some(reason),
        };
        match judged {
            None => return Ok(None),
            Some(None) => return Ok(Some(Opened { writer, topic, is_new: false })),
            Some(reason) => *forced = reason,
        }
        shared.withdraw();
    }
    rebuilt(shared, folder, &topic, forced).await
}

/// What came of the question about the topic beside a table.
enum Asked {
    /// `None` when the shutdown came first.
    Topic(Option<Topic>),
    Damaged(RebuildReason),
}

/// Asks about the topic. While the cluster is silent, makes the indexes that the stored table lacks, if there is one.
async fn ask_beside(shared: &Shared, folder: &Arc<StoreFolder>, kept: &mut Option<Writer>) -> Result<Asked, Error> {
    let Some(writer) = kept else { return Ok(Asked::Topic(ask_topic(shared).await?)) };
    let (mut damage, mut indexer) = (DamageWatch::new(folder, writer), Indexer::new(writer, SILENCE));
    let (mut asking, is_in_use) = (pin!(ask_topic(shared)), shared.readers.read().is_some());
    loop {
        tokio::select! {
            biased;
            topic = asking.as_mut() => return Ok(Asked::Topic(topic?)),
            reason = damage.met() => return Ok(Asked::Damaged(reason)),
            () = indexer.idle(), if is_in_use => {}
        }
        match indexing::make_next(shared, kept, &mut indexer).await? {
            Made::One | Made::Nothing => {}
            Made::Shutdown => return Ok(Asked::Topic(None)),
            Made::Damaged(reason) => return Ok(Asked::Damaged(reason)),
        }
    }
}

async fn rebuilt(
    shared: &Arc<Shared>,
    folder: &Arc<StoreFolder>,
    topic: &Topic,
    forced: &mut Option<RebuildReason>,
) -> Result<Option<Opened>, Error> {
    let reason = forced.get_or_insert(RebuildReason::Asked);
    if reason.is_damage() {
        tracing::error!(%reason, "the table is made from the log");
    } else {
        tracing::info!(%reason, "the table is made from the log");
    }
    shared.metrics.count_rebuild(reason);
    let meta = StoreMeta::new(&topic.name, &topic.id, topic.as_of());
    let former_users = if reason.is_of_another_log() { users_of(folder).await? } else { None };
    let made = rebuild::run(shared, folder, topic, &meta, former_users).await?;
    *forced = None;
    Ok(made.map(|writer| Opened { writer, topic: topic.clone(), is_new: true }))
}

/// Returns how many users the table in use has, if it can be read.
async fn users_of(folder: &StoreFolder) -> Result<Option<u64>, Error> {
    let Some(path) = folder.current() else { return Ok(None) };
    blocking(move || Some(StoreReader::open(&path).ok()?.counts().ok()?.users)).await
}

/// Opens the table of an earlier run, and puts it into use if nothing speaks against it but that the cluster has not
/// been asked. Returns why there is none.
async fn kept(shared: &Shared, folder: &StoreFolder) -> Result<Result<Writer, RebuildReason>, Error> {
    let Some(path) = folder.current() else { return Ok(Err(RebuildReason::NoStore)) };
    let opened = match blocking(move || Writer::open(&path)).await? {
        Ok(writer) if folder.was_left() => checked(shared, writer).await?,
        opened => opened,
    };
    let opened = match opened {
        Ok(writer) => {
            folder.is_checked();
            blocking(move || erased(writer)).await?
        }
        Err(error) => Err(error),
    };
    let writer = match opened {
        Ok(writer) => writer,
        Err(error @ store::Error::Other { .. }) => return Ok(Err(RebuildReason::Damaged(chain(&error)))),
        Err(error) => return RebuildReason::of_damage(&error).map_or(Err(error.into()), |reason| Ok(Err(reason))),
    };
    match start::judge_alone(writer.meta(), &shared.options.topic, shared.now()) {
        None => shared.put_into_use(&writer),
        Some(reason) => tracing::info!(%reason, "the stored table is not answered from before the cluster is asked"),
    }
    Ok(Ok(writer))
}

/// Checks a table whose last process was killed, or failed. A shutdown does not wait for it.
async fn checked(shared: &Shared, writer: Writer) -> Result<Result<Writer, store::Error>, Error> {
    shared.waits_for("a check of the table, which was not closed");
    let interrupt = writer.interrupt();
    let mut checking = pin!(blocking(move || writer.check().map(|()| writer)));
    tokio::select! {
        checked = checking.as_mut() => checked,
        () = shared.shutdown.requested() => {
            interrupt.now();
            checking.await
        }
    }
}

/// Returns the reason to rebuild if one of these ids is known now; `None` when the shutdown came first.
async fn named_since(shared: &Shared, unnamed: Vec<u32>) -> Result<Option<Option<RebuildReason>>, Error> {
    let settling = shared.options.schemas.settle(unnamed.iter().copied());
    let Some(ids) = shared.until_shutdown(settling).await else { return Ok(None) };
    let ids = ids?;
    let named = unnamed.into_iter().find(|id| ids.is_of_events(*id));
    Ok(Some(named.map(|id| RebuildReason::SchemaNamed { id })))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use domain::UserId;
    use testkit::broker::Log;
    use testkit::event::{event, user};

    use super::*;
    use crate::rebuild::full_disk;
    use crate::store::Lookup;
    use crate::{Options, Projection};

    /// How long a condition is waited for before the test fails.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_rebuild_waits_for_room_on_the_disk() {
        // The empty tables have it; the users do not.
        const PAGES: u32 = 20;
        const USERS: i64 = 300;
        let log = Log::start(1);
        for id in 0..USERS {
            log.event(&event(None, user(id, &"a name of some length ".repeat(40)), 1)).await;
        }
        full_disk::PAGES_MAX.store(PAGES, Ordering::Relaxed);
        let store = tempfile::tempdir().unwrap();
        let options = Options { kafka: log.options(), ..Options::new("", &log.names.users, store.path()) };
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
