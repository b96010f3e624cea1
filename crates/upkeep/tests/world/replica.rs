//! A replica of ingest: gate and keeper on one table. Table, plan and repair are the real code.

use std::time::Duration;

use domain::roll::Standing;
use domain::{Head, Position, UnixMillis, UserId};
use kafka::publish::Outgoing;
use upkeep::keeper::{self, Action, Event, Originals, Plan, Repair};
use upkeep::{Retention, Table};

use crate::fault::Fault;
use crate::framing::ids;
use crate::log::{Compares, Cursor, Entry, Log};
use crate::state::Scribe;

pub(crate) const TOPIC: &str = "vcc.users";

/// One replica, as far as it has read.
#[derive(Debug)]
pub(crate) struct Replica {
    fault: Option<Fault>,
    pub(crate) table: Table,
    plan: Plan,
    scribe: Scribe,
    partitions: i32,
    pub(crate) cursor: Cursor,
    /// The topic was read to its end.
    in_force: bool,
    owned: Vec<i32>,
    /// States that it has decided to append again. They may be outdated by then.
    decided: Vec<Decided>,
    /// Unreadable records that it has decided to copy.
    copies: Vec<(UserId, Position)>,
    /// Raised by every crash: what an earlier process has sent is acknowledged to nobody.
    pub(crate) process: u64,
}

/// A state that is to be appended again, and how far the keeper had read.
#[derive(Clone, Debug)]
struct Decided {
    repair: Repair,
    cursor: Cursor,
}

impl Replica {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        let retention = match fault {
            Some(Fault::NoRenewal) => Retention { delete_ms: i64::MAX, compaction_lag_ms: i64::MAX },
            _ => Retention::default(),
        };
        Self {
            fault,
            table: Table::default(),
            plan: Plan::new(1, retention),
            scribe: Scribe::new(fault),
            partitions: 1,
            cursor: Cursor::default(),
            in_force: false,
            owned: Vec::new(),
            decided: Vec::new(),
            copies: Vec::new(),
            process: 0,
        }
    }

    pub(crate) fn crash(&mut self) {
        let owned = std::mem::take(&mut self.owned);
        *self = Self { process: self.process + 1, ..Self::new(self.fault) };
        owned.into_iter().for_each(|partition| self.assign(partition));
    }

    pub(crate) fn assign(&mut self, partition: i32) {
        if !self.owned.contains(&partition) {
            self.owned.push(partition);
            let event = Event::Assigned(vec![partition]);
            self.plan.on(&event, Duration::ZERO);
            self.scribe.assigned(&event);
        }
    }

    pub(crate) fn revoke(&mut self, partition: i32) {
        self.owned.retain(|owned| *owned != partition);
        let event = Event::Revoked(vec![partition]);
        self.plan.on(&event, Duration::ZERO);
        self.scribe.assigned(&event);
    }

    /// Reads on, at most so many records of each partition.
    pub(crate) fn read(&mut self, log: &Log, records: usize, now: Duration) {
        let compares = Compares::with(self.fault);
        if self.cursor.connect(log, compares).is_err() {
            self.begin_anew();
            self.cursor.connect(log, compares).expect("it has read nothing");
        }
        if std::mem::replace(&mut self.partitions, log.count()) != log.count() {
            self.plan.on(&Event::Widened { partitions: log.count() }, now);
            self.scribe.widened(log.count(), now);
        }
        for partition in 0..log.count() {
            for entry in self.cursor.read(log, partition, records) {
                self.take(entry, now);
                self.scribe.user_read(entry, &self.table, log.home(entry.user), now);
            }
            if self.cursor.is_at_end(log, partition) {
                self.plan.on(&Event::EndReached { partition }, now);
                self.scribe.users_ended(partition, now);
            }
        }
        self.in_force = (0..log.count()).all(|partition| self.cursor.is_at_end(log, partition));
        if self.in_force {
            self.plan.begin();
        }
    }

    pub(crate) fn read_state(&mut self, state: &Log, records: usize, now: Duration) {
        self.scribe.read(state, records, &self.table, self.in_force, now);
    }

    /// Returns the records that the writer of the state topic has decided on.
    pub(crate) fn corrections(&mut self, log: &Log, state: &Log, now: Duration, wall: UnixMillis) -> Vec<Outgoing> {
        self.scribe.corrections(log, state, now, wall)
    }

    /// Withdraws the gate and reads the topic from its beginning. What was decided before may still be appended.
    fn begin_anew(&mut self) {
        let (owned, decided) = (std::mem::take(&mut self.owned), std::mem::take(&mut self.decided));
        *self = Self { process: self.process, decided, ..Self::new(self.fault) };
        owned.into_iter().for_each(|partition| self.assign(partition));
    }

    fn take(&mut self, entry: &Entry, now: Duration) {
        let is_blind = self.fault == Some(Fault::KeeperWithoutIds);
        let record = if is_blind { &entry.record } else { entry.seen(self.fault) };
        // Table and plan note a record that cannot be read.
        let _read = keeper::read(&mut self.table, &mut self.plan, record, now).is_ok();
        let Some(key) = self.table.key(entry.user) else { return };
        let user_id = entry.user;
        let event = match (self.fault, key.tombstone()) {
            (Some(Fault::KeeperNeverRests), _) => Event::Dirty { user_id },
            (Some(Fault::KeeperOverwritesUnknown), _) if !key.is_clean() => Event::Dirty { user_id },
            (Some(Fault::TombstoneAtHome), Some(tombstone)) => Event::Forgotten { user_id, tombstone },
            _ => return,
        };
        self.plan.on(&event, now);
    }

    /// Returns how a delivery stands to what is known; [`Standing::News`] while the gate is withdrawn.
    pub(crate) fn judge(&self, head: &Head, log: &Log) -> Standing {
        let is_confirmed = self.cursor.is_connected(log) || self.fault == Some(Fault::GateUnconfirmed);
        if !self.in_force || !is_confirmed {
            return Standing::News;
        }
        let Some(state) = self.table.key(head.user_id).map(|key| &key.roll) else { return Standing::News };
        let is_older = head.occurred_at < state.rank().time();
        match self.fault {
            Some(Fault::GateTrustsAhead) if state.rank().is_ahead() && is_older => Standing::Older(state.position()),
            Some(Fault::GateTakesTies) if head.occurred_at == state.rank().time() => Standing::Known(state.position()),
            _ => self.table.judge(head),
        }
    }

    pub(crate) fn decide(&mut self, now: Duration, wall: UnixMillis) {
        self.scribe.decide(&self.table, now, wall);
        let Self { table, plan, cursor, decided, copies, .. } = self;
        loop {
            match plan.next(now, wall) {
                Action::Copy(records) => copies.extend(records),
                Action::Repair(keys) => {
                    let repairs = keys.into_iter().filter_map(|id| Some(Repair::of(id, table.key(id)?)));
                    decided.extend(repairs.map(|repair| Decided { repair, cursor: cursor.clone() }));
                }
                Action::WaitUntil(_) | Action::Wait => return,
            }
        }
    }

    /// Returns the unreadable records that are copied now, and goes on without them.
    pub(crate) fn copies(&mut self, now: Duration) -> Vec<Position> {
        let copies = std::mem::take(&mut self.copies);
        copies.iter().for_each(|&(user_id, at)| self.plan.on(&Event::Copied { user_id, at }, now));
        copies.into_iter().map(|(_, at)| at).filter(|_| self.fault != Some(Fault::CopyOmitted)).collect()
    }

    /// Returns the records that the decided repairs append, each with how far the keeper had read.
    pub(crate) fn repairs(&mut self, log: &Log, now: Duration, wall: UnixMillis) -> Vec<(Outgoing, Cursor)> {
        let decided = std::mem::take(&mut self.decided).into_iter();
        let records = decided.map(|Decided { repair, cursor }| (self.repair(log, &repair, now, wall), cursor));
        records.flat_map(|(records, cursor)| records.into_iter().map(move |record| (record, cursor.clone()))).collect()
    }

    /// If the cleaner has removed a state, another replica has appended it again or it was superseded.
    fn repair(&mut self, log: &Log, repair: &Repair, now: Duration, wall: UnixMillis) -> Vec<Outgoing> {
        let record = |position| log.at(position).map(|entry| (position, entry.on_log(self.fault).clone()));
        let mut fetched = repair.needed().into_iter().filter_map(record).collect();
        let originals = Originals::translate(&mut fetched, ids());
        let Some(mut records) = repair.records(&fetched, TOPIC, wall) else {
            self.plan.on(&Event::Lost { user_id: repair.user_id }, now);
            return Vec::new();
        };
        if self.fault == Some(Fault::TombstoneAtHome) {
            records.retain(|record| record.partition.is_none_or(|partition| partition == log.home(repair.user_id)));
        }
        let restore =
            |record| if self.fault == Some(Fault::KeeperTranslates) { record } else { originals.restore(record) };
        records.into_iter().map(|record| spoil(restore(record), self.fault)).collect()
    }
}

/// Returns the record of a keeper with that fault.
fn spoil(mut again: Outgoing, fault: Option<Fault>) -> Outgoing {
    match fault {
        Some(Fault::RepairAlone) => again.headers.retain(|(name, _)| name != domain::headers::SECOND),
        Some(Fault::UndatedRepair) if again.value.is_none() => {
            again.headers.retain(|(name, _)| name != domain::headers::CE_TIME);
        }
        _ => {}
    }
    again
}

/// A table of the whole topic as a command reads it, which then judges by it.
pub(crate) fn table_of(log: &Log) -> (Table, Cursor) {
    let (mut table, mut cursor) = (Table::default(), Cursor::default());
    cursor.connect(log, Compares { topic_id: true, epochs: true }).expect("it has read nothing");
    for partition in 0..log.count() {
        for entry in cursor.read(log, partition, usize::MAX / 2) {
            drop(table.take(&entry.read));
        }
    }
    (table, cursor)
}
