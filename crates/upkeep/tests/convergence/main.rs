//! The proof that the log converges. Histories are arbitrary, with ties and returning states. They are delivered late,
//! twice and out of order to two replicas. Gate, keeper and Kafka's cleaner act, stop and start at arbitrary moments.
//! Another writer appends records that this build cannot read, and partitions are added to the topic. Time passes, and
//! tombstones expire.
//!
//! Table, plan and repair are the real code, on real bytes. The log, its cleaner and the replicas' shell are an
//! in-memory model. After quiet, every key is clean, a live table equals a table rebuilt from the compacted log, no
//! acknowledged event is lost, and no answer was wrong. However much later, an erased user has no value on any partition,
//! and is still forgotten. Every unreadable record was copied, unless a tombstone erased it.
//!
//! `ROLLCALL_CASES=40000 cargo test -p rollcall-upkeep --test convergence` runs more histories than the default.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::order::Rank;
use domain::roll::Standing;
use domain::{Head, Position, UnixMillis, UserEvent, UserId};
use kafka::publish::Outgoing;
use log::{Happened, Topic};
use proptest::collection::vec;
use proptest::prelude::*;
use upkeep::keeper::{self, Action, BACKOFF_MAX, Event, Plan, Repair};
use upkeep::{Retention, Table};

const CASES: u32 = 2_000;
const USERS: i64 = 2;
/// Only a later build writes this user.
const FOREIGN_USER: i64 = USERS;
const TOPIC: &str = "users";
/// Long enough that no tombstone is due while the log converges.
const RETENTION: Retention = Retention { delete_ms: 80_000_000, compaction_lag_ms: 300_000 };
/// The time in which every keeper is at work once, in production: a fraction of the time between two renewals.
const AGE: Duration = Duration::from_millis(80_000_000 / 32);
/// Four times the life of a tombstone.
const AGES: usize = 4 * 32;

/// A replica of ingest: one table for gate and keeper, as far as it has read.
struct Replica {
    table: Table,
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

#[derive(Clone, Debug)]
enum Act {
    /// The sender sends its next delivery to a replica.
    Deliver {
        replica: usize,
    },
    /// A replica reads on. At the end it decides on repairs.
    Read {
        replica: usize,
        records: usize,
    },
    /// A replica appends the repairs that it has decided on.
    Repair {
        replica: usize,
    },
    Restart {
        replica: usize,
    },
    /// Another writer appends broken bytes under a user's key.
    Scribble {
        user: i64,
    },
    Project {
        records: usize,
    },
    /// The cleaner compacts what is older than the lag.
    Clean,
    Widen,
}

fn act() -> impl Strategy<Value = Act> {
    let which = 0..2_usize;
    prop_oneof![
        6 => which.clone().prop_map(|replica| Act::Deliver { replica }),
        6 => (which.clone(), 1..6_usize).prop_map(|(replica, records)| Act::Read { replica, records }),
        3 => which.clone().prop_map(|replica| Act::Repair { replica }),
        1 => which.prop_map(|replica| Act::Restart { replica }),
        1 => (0..USERS).prop_map(|user| Act::Scribble { user }),
        2 => (1..6_usize).prop_map(|records| Act::Project { records }),
        1 => Just(Act::Clean),
        1 => Just(Act::Widen),
    ]
}

/// Returns the life of the users: for each a creation, changes between four states, and perhaps being forgotten; many
/// at the same second.
fn history() -> impl Strategy<Value = Vec<Happened>> {
    vec((0..USERS, 0..2_i64, prop::sample::select(vec!['A', 'B', 'C', 'D']), 0..12_u8), 1..10).prop_map(|steps| {
        let mut lines: BTreeMap<i64, (i64, Option<char>)> = BTreeMap::new();
        let mut happened = Vec::new();
        for (user, wait, to, dice) in steps {
            let (second, from) = lines.entry(user).or_default();
            *second += wait;
            if dice == 0 {
                happened.push(Happened::Forgotten { user, second: *second });
            } else {
                happened.push(Happened::Changed { user, from: *from, to, second: *second });
                *from = Some(to);
            }
        }
        happened
    })
}

/// Returns a history with its deliveries: each at least once, some repeated, in any order.
fn deliveries() -> impl Strategy<Value = Vec<Happened>> {
    (history(), vec(any::<prop::sample::Index>(), 0..6))
        .prop_map(|(history, again)| {
            let again: Vec<Happened> = again.iter().map(|index| index.get(&history).clone()).collect();
            [history, again].concat()
        })
        .prop_shuffle()
}

struct World {
    topic: Topic,
    replicas: [Replica; 2],
    table: Table,
    projected: usize,
    deliveries: std::vec::IntoIter<Happened>,
    now: i64,
    /// The time of the keepers.
    clock: Duration,
    /// The number of times that a keeper restarted, without its back-offs.
    restarts: usize,
    /// Every delivery with its answer.
    answered: Vec<(Head, Standing)>,
    repairs: BTreeMap<UserId, usize>,
    /// The number of records that keepers appended.
    reasserted: usize,
    /// The number of copies of unreadable records.
    copied: usize,
    /// Unreadable records that are not copied, and not erased by a tombstone.
    uncopied: BTreeSet<Position>,
}

impl World {
    fn new(deliveries: Vec<Happened>) -> Self {
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

    fn act(&mut self, act: &Act) {
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

    fn project(&mut self, records: usize) {
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
    fn quiet(&mut self) {
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
    fn age(&mut self) {
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

fn cases() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "the number of cases is the one setting of this test")]
    let asked = std::env::var("ROLLCALL_CASES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn the_log_converges(deliveries in deliveries(), acts in vec(act(), 0..60)) {
        let mut world = World::new(deliveries.clone());
        let before = world.topic.end();
        for act in &acts {
            world.act(act);
        }
        world.quiet();
        let (appended, reasserted) = (world.topic.end() - before, world.reasserted);
        prop_assert!(world.uncopied.is_empty(), "{:?}", world.uncopied);

        // The live tables, and a table rebuilt before and after the cleaner has done everything it can.
        let rebuilt = world.topic.rebuild();
        let end = world.topic.end();
        world.topic.clean(end);
        let compacted = world.topic.rebuild();
        for user_id in (0..USERS).map(|user| UserId::new(user).unwrap()) {
            let Some(lived) = world.table.key(user_id) else {
                prop_assert!(compacted.key(user_id).is_none());
                continue;
            };
            prop_assert!(lived.is_clean(), "{lived:?}");
            for table in [&rebuilt, &compacted, &world.replicas[0].table, &world.replicas[1].table] {
                let other = table.key(user_id).unwrap();
                prop_assert!(other.roll.is_same(&lived.roll) && other.is_clean(), "{other:?}\n{lived:?}");
            }
        }

        // No acknowledged event is lost, and no answer was wrong in hindsight.
        for (head, standing) in &world.answered {
            let state = &compacted.key(head.user_id).unwrap().roll;
            let is_in_set = state.members().iter().any(|member| member.event_id == head.event_id);
            match Rank::of_event(head).cmp(&state.rank()) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    prop_assert!(is_in_set, "{head:?} is lost");
                    prop_assert!(!matches!(standing, Standing::Older(_) | Standing::Forgotten(_)), "{head:?}");
                }
                std::cmp::Ordering::Greater => prop_assert!(false, "{head:?} is lost"),
            }
        }

        // Repairs are bounded by the number of other records, and the user of a later build is not repaired. (One
        // repair per keeper for each record, and for each time that a keeper lost its back-offs.)
        let repairs: usize = world.repairs.values().sum();
        let bound = 2 * (appended - reasserted) + usize::try_from(USERS).unwrap() * world.restarts;
        prop_assert!(repairs <= bound, "{repairs} repairs of {appended} records");
        prop_assert!(!world.repairs.contains_key(&UserId::new(FOREIGN_USER).unwrap()));

        // Who was erased has no value left on any partition, and stays forgotten for ever.
        (0..AGES).for_each(|_| world.age());
        let (aged, end) = (world.topic.rebuild(), world.topic.end());
        world.project(end);
        for user_id in (0..USERS).map(|user| UserId::new(user).unwrap()) {
            let Some(lived) = world.table.key(user_id) else { continue };
            let Some(key) = aged.key(user_id) else { panic!("{user_id} is gone: {lived:?}") };
            prop_assert!(key.roll.is_same(&lived.roll) && key.is_clean(), "{key:?}\n{lived:?}");
            if key.roll.rank().is_forgotten() {
                prop_assert_eq!(world.topic.values_of(user_id), Vec::<i32>::new());
            }
        }
    }
}
