//! Rebuilds the table from the log: every partition is folded in memory, in parallel, then one sorted load. The indexes
//! that look-ups need are made later, while the table is answered from.
//!
//! ```text
//! kafka::scan, a thread for some partitions each ──▶ Table (states, their events' bytes)
//!     ──▶ Loader: sorted rows ──▶ moved into place
//! ```
//!
//! Memory has a limit. Where the users do not fit, a thread that reaches it lets go of the upper half of its keys, and
//! a further reading of the log sees to those: ranges of keys, one after the other, so that the load stays sorted. A
//! rebuild that is killed leaves a file that no link names; the next start removes it.
//!
//! The disk needs room for the table in use and the next one beside it; later for the files in which an index is
//! sorted, one index at a time. A rebuild that finds no room removes what it has made, and begins again until there is
//! some.

mod plan;

mod fold;

mod slab;

mod slot;

mod table;

mod load;

mod progress;

#[cfg(test)]
#[path = "../tests/history/mod.rs"]
mod history;

#[cfg(test)]
mod agreement;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use domain::{LeaderEpochs, LogId};
use kafka::scan::Range;
use kafka::topics::Watermarks;
use kafka::{tail, topics};
use tokio::time::Instant;

use crate::error::Error;
use crate::phase::Phase;
use crate::shared::{ASK_DEADLINE, Shared, blocking};
use crate::start::Topic;
use crate::store::{StoreFolder, StoreMeta, Writer};
pub use fold::{Read, fold};
use load::Loader;
#[cfg(test)]
pub(crate) use load::full_disk;
pub use plan::Plan;
pub use progress::{Meter, Progress, Stage};

/// How often progress is shown to readers, and how often it is logged.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
const REPORTS_PER_LOG_LINE: u32 = 20;
/// The table of a former log is kept where it has more than so many times the users of this one.
const EMPTIED: u64 = 2;

/// The result of a rebuild, and how long each stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Made {
    pub users: u64,
    pub passes: u64,
    pub folding: Duration,
    pub loading: Duration,
}

/// Makes the table and opens it; `None` when the shutdown came first. `former_users` is the number of users in the
/// table of a former log.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    folder: &Arc<StoreFolder>,
    topic: &Topic,
    meta: &StoreMeta,
    former_users: Option<u64>,
) -> Result<Option<Writer>, Error> {
    let plan = Plan {
        kafka: shared.options.kafka.clone(),
        topic: topic.name.clone(),
        schemas: shared.options.schemas.clone(),
        ranges: topic.log.iter().map(readable).collect(),
        memory_bytes_max: shared.options.rebuild_memory_bytes_max,
        threads: thread::available_parallelism().map_or(1, usize::from),
    };
    let meter = Arc::new(Meter::new(plan.offsets()));
    let (folder, meta, worker_meter) = (Arc::clone(folder), meta.clone(), Arc::clone(&meter));
    let now = (shared.options.clock)();
    let (logs, runtime) = (shared.logs.clone(), tokio::runtime::Handle::current());
    let mut making = std::pin::pin!(blocking(move || {
        let path = folder.next(now)?;
        let made = make(&plan, &path, &meta, &worker_meter).inspect_err(|_| folder.discard(&path))?;
        let Some(made) = made else { return Ok(None) };
        // A topic that was created again meanwhile was read in part as the one, in part as the other.
        if let Err(error) = still_is(&runtime.block_on(logs.now(ASK_DEADLINE)), &meta.log, &meta.topic) {
            folder.discard(&path);
            return Err(error.into());
        }
        let keeps_former = former_users.is_some_and(|former| former > made.users.saturating_mul(EMPTIED));
        folder.install(&path, keeps_former)?;
        let (records, Made { users, passes, folding, loading }) = (worker_meter.progress().records, made);
        tracing::info!(records, users, passes, ?folding, ?loading, "rebuilt");
        Ok::<_, Error>(Some(Writer::open(&path)?))
    }));
    let mut report = tokio::time::interval(REPORT_INTERVAL);
    let mut reports = 0_u32;
    loop {
        tokio::select! {
            made = making.as_mut() => {
                let made = made??;
                // A short one was done before its first report.
                shared.metrics.rebuild_progress.set(if made.is_some() { 1.0 } else { meter.progress().share() });
                return Ok(made);
            }
            () = shared.shutdown.requested(), if !meter.is_stopped() => meter.stop.store(true, Ordering::Relaxed),
            _ = report.tick() => {
                let progress = meter.progress();
                shared.metrics.rebuild_progress.set(progress.share());
                if reports % REPORTS_PER_LOG_LINE == REPORTS_PER_LOG_LINE - 1 {
                    tracing::info!(%progress, "rebuilding");
                }
                reports += 1;
                shared.phase.send_replace(Phase::Rebuilding(progress));
            }
        }
    }
}

/// Returns what can be read of a partition: an open transaction must not keep the table from being made.
fn readable(log: &Watermarks) -> Range {
    Range { partition: log.partition, start: log.low, end: log.stable.max(log.low) }
}

/// # Errors
/// When the topic is not that log, or the cluster has not said.
fn still_is(now: &Result<LogId, topics::Error>, log: &LogId, topic: &str) -> Result<(), tail::Error> {
    match now {
        Ok(now) if now == log => Ok(()),
        Ok(_) => Err(tail::Error::TopicReplaced { topic: topic.to_owned() }),
        Err(error) => Err(error.clone().into()),
    }
}

/// Makes the store at `path`, to be moved into place by the caller; `None` when it was stopped.
///
/// # Errors
/// When the log cannot be read to its end or the store cannot be written; the file is then good for nothing.
pub fn make(plan: &Plan, path: &Path, meta: &StoreMeta, meter: &Meter) -> Result<Option<Made>, Error> {
    let mut loader = Loader::create(path)?;
    let (mut first, mut unreadable, mut made) = (i64::MIN, Vec::new(), Made::default());
    let mut epochs = LeaderEpochs::default();
    loop {
        made.passes += 1;
        meter.begin_pass(made.passes);
        let began = Instant::now();
        let Some(mut read) = fold(plan, first, meter)? else { return Ok(None) };
        made.folding += began.elapsed();
        unreadable.extend(read.unreadable);
        epochs.extend(&read.epochs);
        let began = Instant::now();
        loader.load(&mut read.tables, meter)?;
        made.loading += began.elapsed();
        if meter.is_stopped() {
            return Ok(None);
        }
        match read.next_first {
            Some(next) => first = next,
            None => break,
        }
    }
    unreadable.sort_by_key(|unread| unread.position);
    let meta = StoreMeta { records_unreadable: unreadable.len() as u64, ..meta.clone() };
    loader.finish(&meta, &plan.checkpoint(&epochs), &epochs, &unreadable)?;
    made.users = meter.progress().users;
    Ok(Some(made))
}
