//! The world of the histories: the topic, the replicas of ingest, and a projector.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::roll::Standing;
use domain::{Head, Position, UnixMillis, UserEvent, UserId};
use kafka::publish::Outgoing;
use upkeep::keeper::{self, Action, BACKOFF_MAX, Event, Plan, Repair};
use upkeep::{Retention, Table};

use crate::Act;
use crate::log::{Happened, Topic};

pub(crate) const USERS: i64 = 2;
/// Only a later build writes this user.
pub(crate) const FOREIGN_USER: i64 = USERS;
const TOPIC: &str = "users";
/// Long enough that no tombstone is due while the log converges.
const RETENTION: Retention = Retention { delete_ms: 80_000_000, compaction_lag_ms: 300_000 };
/// The time in which every keeper is at work once, in production: a fraction of the time between two renewals.
const AGE: Duration = Duration::from_millis(80_000_000 / 32);
/// Four times the life of a tombstone.
pub(crate) const AGES: usize = 4 * 32;

/// A replica of ingest: one table for gate and keeper, as far as it has read.
pub(crate) struct Replica {
    pub(crate) table: Table,
    plan: Plan,
    read: usize,
    /// It judges and repairs only after it has read to the end.
    in_force: bool,
    /// States that it has decided to append again. They may be outdated by then.
    decided: Vec<Repair>,
    /// Records that it has decided to copy.
    copies: Vec<(UserId, Position)>,
}

impl Default for Replica {
    fn default() -> Self {
        let mut plan = Plan::new(1, RETENTION);
        // Two owners of everything, as during a rebalance.
        plan.on(&Event::Assigned(vec![0, 1]), Duration::ZERO);
        Self { table: Table::default(), plan, read: 0, in_force: false, decided: Vec::new(), copies: Vec::new() }
    }
}

pub(crate) struct World {
    pub(crate) topic: Topic,
    pub(crate) replicas: [Replica; 2],
    pub(crate) table: Table,
    projected: usize,
    deliveries: std::vec::IntoIter<Happened>,
    now: i64,
    /// The time of the keepers.
    clock: Duration,
    /// The number of times that a keeper restarted, without its back-offs.
    pub(crate) restarts: usize,
    /// Every delivery with its answer.
    pub(crate) answered: Vec<(Head, Standing)>,
    pub(crate) repairs: BTreeMap<UserId, usize>,
    /// The number of records that keepers appended.
    pub(crate) reasserted: usize,
    /// The number of copies of unreadable records.
    copied: usize,
    /// Unreadable records that are not copied, and not erased by a tombstone.
    pub(crate) uncopied: BTreeSet<Position>,
}

impl World {
    pub(crate) fn new(deliveries: Vec<Happened>) -> Self {
        let mut topic = Topic::new();
        topic.append(unknown_record(FOREIGN_USER, b"{}".to_vec()));
        Self {
            topic,
            replicas: Default::default(),
            table: Table::default(),
            projected: 0,
            deliveries: deliveries.into_iter(),
            now: 0,
            clock: Duration::ZERO,
            restarts: 0,
            answered: Vec::new(),
            repairs: BTreeMap::new(),
            reasserted: 0,
            copied: 0,
            uncopied: BTreeSet::new(),
        }
    }

    pub(crate) fn act(&mut self, act: &Act) {
        match *act {
            Act::Deliver { replica } => self.deliver(replica),
            Act::Read { replica, records } => self.read(replica, records),
            Act::Repair { replica } => self.repair(replica),
            Act::Restart { replica } => self.restart(replica),
            Act::Scribble { user } => self.scribble(user),
            Act::Project { records } => self.project(records),
            Act::Clean => self.clean(),
            Act::Widen if self.topic.count() == 1 => self.topic.widen(),
            Act::Widen => {}
        }
    }

    fn restart(&mut self, replica: usize) {
        self.restarts += 1;
        self.replicas[replica] = Replica::default();
    }

    /// Appends broken bytes with a known schema.
    fn scribble(&mut self, user: i64) {
        let event = Happened::Changed { user, from: None, to: 'A', second: 0 }.received(0).unwrap();
        let at = self.topic.append(unknown_record(user, domain::wire::encode(&event)[..20].to_vec()));
        self.uncopied.insert(at);
    }

    /// Tombstones come from `forget`, which does not use the gate.
    fn deliver(&mut self, replica: usize) {
        let Some(happened) = self.deliveries.next() else { return };
        self.now += 1;
        match (&happened, happened.received(self.now)) {
            (Happened::Forgotten { user, second }, _) => {
                let (user_id, as_of) = (UserId::new(*user).unwrap(), UnixMillis::from_millis(second * 1_000));
                self.append(Outgoing::forgotten(user_id, TOPIC, as_of, self.wall()));
            }
            (Happened::Changed { .. }, Some(event)) => self.deliver_event(replica, &event),
            (Happened::Changed { .. }, None) => unreachable!("a change is an event"),
        }
    }

    fn deliver_event(&mut self, replica: usize, event: &UserEvent) {
        let Replica { table, in_force, .. } = &self.replicas[replica];
        let standing = if *in_force { table.judge(&event.head()) } else { Standing::News };
        if standing == Standing::News {
            self.append(Outgoing::event(event, TOPIC, None));
        }
        self.answered.push((event.head(), standing));
    }

    fn append(&mut self, record: Outgoing) {
        let (key, is_tombstone) = (record.key.clone(), record.value.is_none());
        let end = self.topic.append(record);
        if is_tombstone {
            let is_erased = |at: &Position| {
                let record = self.topic.at(*at).expect("it is not copied yet");
                at.partition == end.partition && record.key.as_ref() == Some(&key)
            };
            self.uncopied.retain(|at| !is_erased(at));
        }
    }

    fn wall(&self) -> UnixMillis {
        UnixMillis::from_millis(i64::try_from(self.clock.as_millis()).unwrap())
    }

    fn read(&mut self, replica: usize, records: usize) {
        let (now, wall, count) = (self.clock, self.wall(), self.topic.count());
        let Replica { table, plan, read, in_force, decided, copies } = &mut self.replicas[replica];
        plan.on(&Event::Widened { partitions: count }, now);
        let to = self.topic.end().min(*read + records);
        for record in self.topic.read(*read, to) {
            // Table and plan note a record that cannot be read.
            let _read = keeper::read(table, plan, record, now).is_ok();
        }
        *read = to;
        if to < self.topic.end() {
            return;
        }
        (0..count).for_each(|partition| plan.on(&Event::EndReached { partition }, now));
        if !std::mem::replace(in_force, true) {
            plan.begin();
        }
        loop {
            match plan.next(now, wall) {
                Action::Copy(records) => copies.extend(records),
                Action::Repair(keys) => {
                    decided.extend(keys.into_iter().map(|user_id| Repair::of(user_id, table.key(user_id).unwrap())));
                }
                Action::WaitUntil(_) | Action::Wait => return,
            }
        }
    }

    fn repair(&mut self, replica: usize) {
        for (user_id, at) in std::mem::take(&mut self.replicas[replica].copies) {
            self.uncopied.remove(&at);
            self.copied += 1;
            self.replicas[replica].plan.on(&Event::Copied { user_id, at }, self.clock);
        }
        for repair in std::mem::take(&mut self.replicas[replica].decided) {
            let needed = repair.needed();
            let fetched = needed.iter().filter_map(|position| Some((*position, self.topic.at(*position)?.clone())));
            let fetched = fetched.collect();
            // If the cleaner has removed a state, another replica has appended it again or it was superseded.
            let Some(records) = repair.records(&fetched, TOPIC, self.wall()) else { continue };
            self.reasserted += records.len();
            *self.repairs.entry(repair.user_id).or_default() += usize::from(!repair.is_renewal);
            records.into_iter().for_each(|record| self.append(record));
        }
    }

    pub(crate) fn project(&mut self, records: usize) {
        let to = self.topic.end().min(self.projected + records);
        for record in self.topic.read(self.projected, to) {
            let _read = self.table.take(record).is_ok();
        }
        self.projected = to;
    }

    /// A reader that has not read a record which the cleaner takes misses nothing: the last record of its key yields
    /// the state.
    fn clean(&mut self) {
        let users: BTreeSet<UserId> = (0..USERS).map(|user| UserId::new(user).unwrap()).collect();
        let cleanable = self.topic.cleanable(&users, &self.uncopied);
        self.topic.clean(cleanable);
    }

    /// Delivers everything, and lets every replica read to the end, until nothing is appended any more.
    pub(crate) fn quiet(&mut self) {
        while self.deliveries.len() > 0 {
            self.deliver(0);
        }
        for _ in 0..20 {
            let before = (self.topic.end(), self.copied);
            for replica in 0..self.replicas.len() {
                // Every back-off is over.
                self.clock += BACKOFF_MAX * 3;
                self.read(replica, usize::MAX / 2);
                self.repair(replica);
            }
            if (self.topic.end(), self.copied) == before {
                return self.project(usize::MAX / 2);
            }
        }
        panic!("the keepers never come to rest");
    }

    /// Lets time pass, with keepers at work and the cleaner behind them.
    pub(crate) fn age(&mut self) {
        self.clock += AGE;
        for replica in 0..self.replicas.len() {
            self.read(replica, usize::MAX / 2);
            self.repair(replica);
        }
        self.topic.clean(self.topic.end());
        self.topic.expire(UnixMillis::from_millis(self.wall().millis() - RETENTION.delete_ms));
    }
}

/// Returns a record of another writer.
fn unknown_record(user: i64, value: Vec<u8>) -> Outgoing {
    Outgoing {
        topic: TOPIC.to_owned(),
        key: user.to_string().into_bytes(),
        value: Some(value),
        headers: Vec::new(),
        timestamp: UnixMillis::from_millis(0),
        partition: None,
    }
}
