//! Makes the table from the log: every partition folded in memory, in parallel, then one sorted load, the indexes last.
//!
//! ```text
//! kafka::scan, a thread for some partitions each ──▶ Table (heads, winners' bytes) ──▶ Loader: sorted rows, indexes ──▶ moved into place
//! ```
//!
//! Memory has a limit. Where the users do not fit, a thread that reaches it lets go of the upper half of its keys, and a further
//! reading of the log sees to those: ranges of keys, one after the other, so that the load stays sorted. A rebuild that is
//! killed leaves a file that no link names; the next start removes it.
//!
//! The disk needs room for the table in use, the next one beside it, and the files in which an index is sorted, one index at a
//! time. A rebuild that finds no room removes what it has made, and begins again until there is some.

mod slab;

mod table;

mod load;

mod temp;

mod progress;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use domain::{Checkpoint, UserId, headers, record};
use kafka::ClientOptions;
use kafka::scan::{self, Coverage, Range, Scanned};

use tokio::time::Instant;

use crate::project::{Phase, blocking};
use crate::projection::{Error, Shared};
use crate::start::Topic;
use crate::store::{Folder, Meta, Unread, Writer};
use load::Loader;
#[cfg(test)]
pub(crate) use load::full_disk;
pub use progress::{Meter, Progress, Stage};
use table::{Batch, Table};

/// How long the cluster may be silent in the middle of a rebuild before it is given up and begun again.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often progress is shown to readers, and how often it is logged.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
const REPORTS_PER_LOG_LINE: u32 = 20;
/// How many records a thread reads before it reports and looks at its memory.
const RECORDS_PER_LOOK: u64 = 1_024;

/// What a rebuild reads and how.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kafka: ClientOptions,
    pub topic: String,
    pub ranges: Vec<Range>,
    /// For the tables of all threads together.
    pub memory_bytes_max: usize,
    pub threads: usize,
}

/// What a rebuild has made, and how long each stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Made {
    pub users: u64,
    pub passes: u64,
    pub folding: Duration,
    pub loading: Duration,
    pub indexing: Duration,
}

/// Makes the table and opens it; `None` when the shutdown came first.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    folder: &Arc<Folder>,
    topic: &Topic,
    meta: &Meta,
) -> Result<Option<Writer>, Error> {
    let plan = Plan {
        kafka: shared.options.kafka.clone(),
        topic: topic.name.clone(),
        ranges: topic.log.iter().copied().map(Range::from).collect(),
        memory_bytes_max: shared.options.rebuild_memory_bytes_max,
        threads: thread::available_parallelism().map_or(1, usize::from),
    };
    let meter = Arc::new(Meter::new(plan.offsets()));
    let (folder, meta, worker_meter) = (Arc::clone(folder), meta.clone(), Arc::clone(&meter));
    let mut making = std::pin::pin!(blocking(move || {
        let path = folder.next()?;
        let made = make(&plan, &path, &meta, &worker_meter).inspect_err(|_| folder.discard(&path))?;
        let Some(made) = made else { return Ok(None) };
        folder.install(&path)?;
        let records = worker_meter.progress().records;
        tracing::info!(records, users = made.users, passes = made.passes, ?made.folding, ?made.loading, ?made.indexing, "rebuilt");
        Ok::<_, Error>(Some(Writer::open(&path)?))
    }));
    let mut report = tokio::time::interval(REPORT_INTERVAL);
    let mut reports = 0_u32;
    loop {
        tokio::select! {
            made = making.as_mut() => return made?,
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

impl Plan {
    /// Returns how many offsets there are to read.
    pub fn offsets(&self) -> u64 {
        self.ranges.iter().map(|range| u64::try_from(range.end - range.start).unwrap_or(0)).sum()
    }

    /// Where the table stands once every range is read.
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::from_next_offsets(self.ranges.iter().map(|range| (range.partition, range.end)))
    }
}

/// Makes the store at `path`, to be moved into place by the caller; `None` when it was stopped.
///
/// # Errors
/// When the log cannot be read to its end or the store cannot be written; the file is then good for nothing.
pub fn make(plan: &Plan, path: &Path, meta: &Meta, meter: &Meter) -> Result<Option<Made>, Error> {
    let mut loader = Loader::create(path)?;
    let (mut first, mut unreadable, mut made) = (i64::MIN, Vec::new(), Made::default());
    loop {
        made.passes += 1;
        meter.begin_pass(made.passes);
        let began = Instant::now();
        let Some(read) = fold(plan, first, meter)? else { return Ok(None) };
        made.folding += began.elapsed();
        unreadable.extend(read.unreadable);
        let began = Instant::now();
        loader.load(&read.tables, meter)?;
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
    let meta = Meta { records_unreadable: unreadable.len() as u64, ..meta.clone() };
    let began = Instant::now();
    loader.finish(&meta, &plan.checkpoint(), &unreadable, meter)?;
    made.indexing = began.elapsed();
    made.users = meter.progress().users;
    Ok(Some(made))
}

/// What one reading of the log has made.
#[derive(Debug)]
pub struct Read {
    tables: Vec<Table>,
    unreadable: Vec<Unread>,
    /// The first key of the next reading, if there is to be one.
    next_first: Option<i64>,
}

impl Read {
    /// Returns how many keys were kept, forgotten ones too.
    pub fn users(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }
}

/// Folds the keys from `first` on, as many as fit the memory; `None` when it was stopped.
///
/// # Errors
/// When the log cannot be read to its end.
pub fn fold(plan: &Plan, first: i64, meter: &Meter) -> Result<Option<Read>, Error> {
    let shares = scan::share(plan.ranges.clone(), plan.threads);
    let bounds = Bounds { first, end: AtomicI64::new(i64::MAX), used: AtomicUsize::new(0), max: plan.memory_bytes_max };
    let folded = thread::scope(|scope| {
        let bounds = &bounds;
        let workers: Vec<_> =
            shares.iter().map(|share| scope.spawn(move || Worker::new(bounds, meter).scan(plan, share))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect::<Result<Vec<_>, _>>()
    })?;
    let end = bounds.end.load(Ordering::Relaxed);
    let mut read = Read { tables: Vec::new(), unreadable: Vec::new(), next_first: (end != i64::MAX).then_some(end) };
    for worker in folded {
        let Some((mut table, unreadable)) = worker else { return Ok(None) };
        if read.next_first.is_some() {
            table.remove_from(end);
        }
        read.unreadable.extend(unreadable.into_iter().filter(|(key, _)| *key < end).map(|(_, unread)| unread));
        read.tables.push(table);
    }
    Ok(Some(read))
}

/// Which keys a reading keeps, and the memory that its threads share.
struct Bounds {
    first: i64,
    /// Falls while the reading goes on, and never rises.
    end: AtomicI64,
    used: AtomicUsize,
    max: usize,
}

/// A thread's part of a reading: its keys, and what it could not read.
type Share = (Table, Vec<(i64, Unread)>);

struct Worker<'r> {
    bounds: &'r Bounds,
    meter: &'r Meter,
    table: Table,
    batch: Batch,
    /// With the key by which they are counted in one reading alone; the lowest for those without one.
    unreadable: Vec<(i64, Unread)>,
    used: usize,
    records: u64,
}

impl<'r> Worker<'r> {
    fn new(bounds: &'r Bounds, meter: &'r Meter) -> Self {
        Self {
            bounds,
            meter,
            table: Table::default(),
            batch: Batch::default(),
            unreadable: Vec::new(),
            used: 0,
            records: 0,
        }
    }

    fn scan(mut self, plan: &Plan, share: &[Range]) -> Result<Option<Share>, scan::Error> {
        let meter = self.meter;
        let outcome = scan::scan(&plan.kafka, &plan.topic, share, SILENCE_MAX, |record| {
            self.take(record);
            self.records += 1;
            if self.records.is_multiple_of(RECORDS_PER_LOOK) {
                meter.read(RECORDS_PER_LOOK, RECORDS_PER_LOOK);
                self.look_at_memory();
                if meter.is_stopped() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(match outcome {
            Coverage::Complete => {
                self.table.apply_all(&mut self.batch);
                Some((self.table, self.unreadable))
            }
            Coverage::Stopped => None,
        })
    }

    fn take(&mut self, scanned: &Scanned<'_>) {
        let key = scanned.key();
        let key_id = key.and_then(|key| UserId::from_key(key).ok());
        // What has no key belongs to the first reading.
        let counted_by = key_id.map_or(i64::MIN, UserId::get);
        if counted_by < self.bounds.first || counted_by >= self.bounds.end.load(Ordering::Relaxed) {
            return;
        }
        let value = scanned.value();
        // Headers are parsed when they are asked for, and only a tombstone needs one.
        let ce_time = if value.is_none() { scanned.header(headers::CE_TIME) } else { None };
        match record::read(key, value, ce_time, scanned.timestamp()) {
            Ok((user_id, head)) => {
                self.batch.push(user_id, scanned.position(), head, value);
                if self.batch.is_full() {
                    self.table.apply_all(&mut self.batch);
                }
            }
            Err(error) => {
                let unread = Unread { position: scanned.position(), reason: error.to_string() };
                self.unreadable.push((counted_by, unread));
            }
        }
    }

    /// Reports what the table takes, and halves it when all of them take too much.
    fn look_at_memory(&mut self) {
        let now = self.table.bytes();
        if now > self.used {
            self.bounds.used.fetch_add(now - self.used, Ordering::Relaxed);
            self.used = now;
            if self.bounds.used.load(Ordering::Relaxed) > self.bounds.max
                && let Some(median) = self.table.median()
            {
                let end = self.bounds.end.fetch_min(median, Ordering::Relaxed).min(median);
                self.table.remove_from(end);
            }
        }
    }
}
