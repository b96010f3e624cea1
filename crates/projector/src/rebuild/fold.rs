//! One reading of the log: its threads, each with a table, and the limit of their memory.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use domain::wire::Ids;
use domain::{LeaderEpochs, Position, UserId};
use kafka::scan::{self, Coverage, Range, Scanned};
use service::registry::{Schemas, Unsettled};

use super::plan::Plan;
use super::progress::Meter;
use super::table::Table;
use crate::error::Error;
use crate::store::Unread;

/// How long the cluster may be silent in the middle of a rebuild before it is given up and begun again.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How many records a thread reads before it reports and looks at its memory.
const RECORDS_PER_LOOK: u64 = 1_024;

/// The tables of one reading of the log.
#[derive(Debug, Default)]
pub struct Read {
    pub(super) tables: Vec<Table>,
    pub(super) unreadable: Vec<Unread>,
    /// The leader epochs of all records, whatever their keys.
    pub(super) epochs: LeaderEpochs,
    /// The first key of the next reading, if there is to be one.
    pub(super) next_first: Option<i64>,
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
        let scan = |share| {
            let work = move || Worker::new(bounds, meter, &plan.schemas).scan(plan, share);
            thread::Builder::new().spawn_scoped(scope, work).map_err(Error::Threads)
        };
        let workers = shares.iter().map(|share: &Vec<Range>| scan(share)).collect::<Result<Vec<_>, _>>()?;
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect::<Result<Vec<_>, _>>()
    })?;
    let end = bounds.end.load(Ordering::Relaxed);
    let mut read = Read { next_first: (end != i64::MAX).then_some(end), ..Read::default() };
    for worker in folded {
        let Some((mut table, unreadable, epochs)) = worker else { return Ok(None) };
        read.epochs.extend(&epochs);
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

impl Bounds {
    /// Returns whether the record of a key is for another reading. Of nearly all rebuilds there is one, which asks for
    /// no key.
    fn leave_out(&self, key: Option<&[u8]>) -> bool {
        let end = self.end.load(Ordering::Relaxed);
        if self.first == i64::MIN && end == i64::MAX {
            return false;
        }
        let key = counted_by(key.and_then(|key| UserId::from_key(key).ok()));
        key < self.first || key >= end
    }
}

/// Returns the key by which a record is counted: one without a user belongs to the first reading.
fn counted_by(user_id: Option<UserId>) -> i64 {
    user_id.map_or(i64::MIN, UserId::get)
}

/// A thread's part of a reading: its keys, the records that it could not read, and the leader epochs of all.
type Share = (Table, Vec<(i64, Unread)>, LeaderEpochs);

struct Worker<'r> {
    bounds: &'r Bounds,
    meter: &'r Meter,
    schemas: &'r Schemas,
    ids: Arc<Ids>,
    table: Table,
    /// With the key by which they are counted in one reading alone; the lowest for those without one.
    unreadable: Vec<(i64, Unread)>,
    epochs: LeaderEpochs,
    used: usize,
    passed: Passed,
}

/// What a thread has read of its ranges since its last report.
#[derive(Default)]
struct Passed {
    records: u64,
    offsets: u64,
    /// The offset up to which each range has been read.
    next: BTreeMap<i32, i64>,
}

impl Passed {
    fn new(share: &[Range]) -> Self {
        let next = share.iter().map(|range| (range.partition, range.start)).collect();
        Self { next, ..Self::default() }
    }

    /// Counts a record, and the offsets before it that compaction has left empty.
    fn record(&mut self, at: Position) {
        self.records += 1;
        self.reach(at.partition, at.offset + 1);
    }

    fn reach(&mut self, partition: i32, offset: i64) {
        let next = self.next.entry(partition).or_insert(offset);
        self.offsets += u64::try_from(offset - *next).unwrap_or(0);
        *next = offset.max(*next);
    }

    fn report(&mut self, meter: &Meter) {
        meter.read(std::mem::take(&mut self.offsets), std::mem::take(&mut self.records));
    }
}

impl<'r> Worker<'r> {
    fn new(bounds: &'r Bounds, meter: &'r Meter, schemas: &'r Schemas) -> Self {
        let (ids, table, unreadable, epochs) = (schemas.known(), Table::default(), Vec::new(), LeaderEpochs::default());
        Self { bounds, meter, schemas, ids, table, unreadable, epochs, used: 0, passed: Passed::default() }
    }

    fn scan(mut self, plan: &Plan, share: &[Range]) -> Result<Option<Share>, Error> {
        let (meter, mut unsettled) = (self.meter, None);
        self.passed = Passed::new(share);
        let outcome = scan::scan(&plan.kafka, &plan.topic, share, SILENCE_MAX, |record| {
            if let Err(error) = self.take(record) {
                unsettled = Some(error);
                return ControlFlow::Break(());
            }
            self.passed.record(record.position());
            if self.passed.records == RECORDS_PER_LOOK {
                self.passed.report(meter);
                self.look_at_memory();
                if meter.is_stopped() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = unsettled.filter(|_| !meter.is_stopped()) {
            return Err(error.into());
        }
        Ok(match outcome {
            Coverage::Complete => {
                share.iter().for_each(|range| self.passed.reach(range.partition, range.end));
                self.passed.report(meter);
                self.table.flush();
                Some((self.table, self.unreadable, self.epochs))
            }
            Coverage::Stopped => None,
        })
    }

    fn take(&mut self, scanned: &Scanned<'_>) -> Result<(), Unsettled> {
        if let Some(epoch) = scanned.leader_epoch() {
            self.epochs.note(scanned.position(), epoch);
        }
        if self.bounds.leave_out(scanned.key()) {
            return Ok(());
        }
        let Self { table, schemas, ids, meter, .. } = self;
        let read = |ids: &Ids| scanned.read_with(ids, |reading, value| table.take(reading, value));
        if let Err(error) = schemas.read(ids, || !meter.is_stopped(), read)? {
            let unread = Unread::new(scanned.position(), &error, ids);
            self.unreadable.push((counted_by(error.user_id()), unread));
            self.table.pass_over(scanned.position(), scanned.timestamp(), &error);
        }
        Ok(())
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
