//! The loop that keeps the table up to date: records in, one commit, then the position is announced, then the changes.
//!
//! Resumes from its own store alone. A store that cannot go on is rebuilt from the log ([`crate::start`] says when,
//! [`crate::rebuild`] how); a cluster that is away, a full disk and a locked file are waited out.

mod follower;

mod announce;

mod erase;

mod late;

use std::sync::Arc;

use domain::topics::{DELETE_RETENTION, Spec};
use kafka::topics::{self, Severity};
use kafka::{scan, tail};
use service::telemetry::chain;

use crate::error::Error;
use crate::phase::Phase;
use crate::rebuild;
use crate::shared::{ASK_DEADLINE, Shared, blocking};
use crate::start::{self, RebuildReason, Topic};
use crate::store::{self, Erased, StoreFolder, StoreMeta, Writer};
use follower::{Follower, Stop};

/// How often a topic may be missing at first: a broker may hear of a new topic a moment after it was made.
const MISSED_MAX: u32 = 3;

/// Follows the topic until the shutdown or an error that does not pass.
pub(crate) async fn run(shared: Arc<Shared>, folder: StoreFolder) -> Result<(), Error> {
    let ended = run_until_stopped(&shared, folder).await;
    *shared.readers.write() = None;
    shared.logs.close().await;
    match &ended {
        Ok(()) => shared.phase.send_replace(Phase::Ended),
        Err(error) => shared.phase.send_replace(Phase::Failed { why: chain(error) }),
    };
    ended
}

async fn run_until_stopped(shared: &Arc<Shared>, folder: StoreFolder) -> Result<(), Error> {
    let folder = Arc::new(folder);
    erase_what_waits(&folder).await?;
    let mut forced = shared.options.rebuild.then_some(RebuildReason::Asked);
    loop {
        let Some(topic) = ask_topic(shared).await? else { return Ok(()) };
        let writer = match open_store(shared, &folder, &topic, forced.clone()).await {
            Ok(Some(writer)) => writer,
            Ok(None) => return Ok(()),
            // In the middle of a rebuild the cluster went away, the log was cut, or the disk is full: once more from
            // the log as it is then.
            Err(error) if passes(&error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the table cannot be opened or made: trying again"
                );
                let waits_for = format!("a failure that passes by itself: {}", chain(&error));
                shared.phase.send_replace(Phase::Starting { waits_for });
                if shared.pause().await.is_none() {
                    return Ok(());
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        match Follower::new(shared, writer, &topic).follow().await? {
            Stop::Shutdown => return Ok(()),
            Stop::Rebuild(reason) => {
                *shared.readers.write() = None;
                forced = Some(reason);
            }
        }
    }
}

/// Erases what the last process left to be erased: the file is here, and the cluster may be away for long.
async fn erase_what_waits(folder: &Arc<StoreFolder>) -> Result<(), Error> {
    let Some(path) = folder.current() else { return Ok(()) };
    match blocking(move || Writer::open(&path)?.erase()).await? {
        Ok(Erased::Done | Erased::InPart) => {}
        Ok(Erased::HeldBack(by)) => tracing::warn!(%by, "erasing forgotten users is held back"),
        // Whether the store can be used at all is judged with the topic.
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "nothing can be erased now"),
    }
    Ok(())
}

/// Returns whether the table may be opened, or made from the log, a moment later.
fn passes(error: &Error) -> bool {
    match error {
        Error::Log(error) => {
            let is_other = matches!(error, tail::Error::PositionOutsideLog { .. } | tail::Error::TopicReplaced { .. });
            error.is_transient() || is_other
        }
        Error::Scan(error) => error.is_transient() || matches!(error, scan::Error::PositionOutsideLog { .. }),
        Error::Store(error) => error.is_transient(),
        Error::Schema(_)
        | Error::NotReady(_)
        | Error::NotReached { .. }
        | Error::Topic { .. }
        | Error::Options(_)
        | Error::Ended => false,
    }
}

/// Asks the cluster about the topic, for as long as it takes; `None` when the shutdown came first.
async fn ask_topic(shared: &Shared) -> Result<Option<Topic>, Error> {
    let (kafka, name) = (&shared.options.kafka, &shared.options.topic);
    let mut missed = 0;
    loop {
        shared.phase.send_replace(Phase::Starting { waits_for: "the cluster".to_owned() });
        let asked = async {
            // In this order: whatever reads the log finds out if the ends are of another one.
            let description = topics::describe(kafka, name, ASK_DEADLINE).await?;
            Ok::<_, topics::Error>((description, topics::watermarks(kafka, name, ASK_DEADLINE).await?))
        };
        let (description, log) = match shared.until_shutdown(asked).await {
            None => return Ok(None),
            Some(Ok(answer)) => answer,
            Some(Err(error)) if error.is_transient() || missed < MISSED_MAX => {
                missed += u32::from(matches!(error, topics::Error::Missing { .. }));
                tracing::warn!(error = &error as &dyn std::error::Error, "the topic cannot be described: trying again");
                if shared.pause().await.is_none() {
                    return Ok(None);
                }
                continue;
            }
            Some(Err(error)) => return Err(Error::Topic { topic: name.clone(), reason: chain(&error) }),
        };
        shared.ends_answered();
        shared.partitions.report(description.partitions);
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
            id: description.log,
            delete_retention_ms: setting(DELETE_RETENTION),
            log,
        }));
    }
}

/// Opens the store if it can go on, and rebuilds it if not; `None` when the shutdown came first.
async fn open_store(
    shared: &Arc<Shared>,
    folder: &Arc<StoreFolder>,
    topic: &Topic,
    forced: Option<RebuildReason>,
) -> Result<Option<Writer>, Error> {
    let now = (shared.options.clock)();
    let reason = match (forced, folder.current()) {
        (Some(reason), _) => reason,
        (None, None) => RebuildReason::NoStore,
        (None, Some(path)) => match blocking(move || Writer::open(&path)).await? {
            Ok(writer) => match start::judge(writer.meta(), writer.checkpoint(), topic, now) {
                None => match named_since(shared, writer.unnamed_ids()?).await? {
                    None => return Ok(None),
                    Some(None) => return Ok(Some(writer)),
                    Some(Some(reason)) => reason,
                },
                Some(reason) => reason,
            },
            Err(error @ (store::Error::Damaged { .. } | store::Error::Other { .. })) => {
                RebuildReason::Damaged(chain(&error))
            }
            Err(error) => return Err(error.into()),
        },
    };
    tracing::info!(%reason, "the table is made from the log");
    shared.metrics.rebuilds.inc();
    let meta = StoreMeta::new(&topic.name, &topic.id, now);
    rebuild::run(shared, folder, topic, &meta).await
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
    use std::time::Duration;

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
