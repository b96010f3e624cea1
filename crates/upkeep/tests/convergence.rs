//! The proof that the log converges: arbitrary histories, delivered late, twice and out of order to two replicas, with the gate,
//! the keeper and Kafka's cleaner acting at arbitrary moments and stopping and starting as they like, and with a foreign writer
//! whose records nobody can read.
//!
//! The gate and the keeper are the real cores; the log, its cleaner and the replicas are a model in memory. After quiet, the last
//! record of every key is its newest one, a table that lived through everything equals one that is rebuilt from what the cleaner
//! left, and nothing that was acknowledged is lost.
//!
//! `ROLLCALL_CASES=40000 cargo test -p rollcall-ingest --test convergence` runs more histories than the default.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::collections::BTreeMap;

use domain::fold::{self, KeyState, RecordHead};
use domain::order::{self, Order};
use domain::{EventId, EventType, Head, Position, UnixMillis, UserId, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use upkeep::gate::{Heads, Verdict};
use upkeep::keeper::{Partition, Repair};

const CASES: u32 = 2_000;
const USERS: i64 = 2;

/// One record of the log: whose it is, and its head; `None` if it cannot be read.
type Record = (UserId, Option<RecordHead>);
/// A record that can be read.
type Told = (UserId, RecordHead);

/// A partition of a compacted topic: `None` where the cleaner has been.
#[derive(Clone, Default)]
struct Log {
    records: Vec<Option<Record>>,
}

impl Log {
    fn append(&mut self, record: Record) -> i64 {
        self.records.push(Some(record));
        self.end() - 1
    }

    fn end(&self) -> i64 {
        i64::try_from(self.records.len()).unwrap()
    }

    fn read(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, Record)> + '_ {
        (from..to).filter_map(|offset| Some((offset, self.records[usize::try_from(offset).unwrap()]?)))
    }

    /// Removes every record below `end` for which there is a later one of its key below `end`, as Kafka's cleaner does.
    fn clean(&mut self, end: i64) {
        let last: BTreeMap<UserId, i64> = self.read(0, end).map(|(offset, (user, _))| (user, offset)).collect();
        for offset in 0..end {
            let slot = &mut self.records[usize::try_from(offset).unwrap()];
            if slot.is_some_and(|(user, _)| last[&user] != offset) {
                *slot = None;
            }
        }
    }

    fn last_of_each(&self) -> BTreeMap<UserId, Option<RecordHead>> {
        self.read(0, self.end()).map(|(_, record)| record).collect()
    }

    fn fold(&self) -> BTreeMap<UserId, KeyState> {
        let mut table = BTreeMap::new();
        for (offset, record) in self.read(0, self.end()) {
            take_in(&mut table, offset, record);
        }
        table
    }
}

fn take_in(table: &mut BTreeMap<UserId, KeyState>, offset: i64, (user, head): Record) {
    let known = table.get(&user).copied();
    let state = match head {
        Some(head) => Some(fold::apply(known, offset, head).0),
        None => known.map(|state| fold::pass_over(state, offset)),
    };
    table.extend(state.map(|state| (user, state)));
}

/// A replica's gate, as far as it has read.
#[derive(Default)]
struct Replica {
    heads: Heads,
    read: i64,
    /// It judges only once it has read to the end.
    in_force: bool,
}

/// A keeper, as far as it has read, with the repairs that it has decided on and not appended yet.
#[derive(Default)]
struct Keeper {
    partition: Partition,
    read: i64,
    decided: Vec<Repair>,
}

/// A table that is kept up to date.
#[derive(Default)]
struct Table {
    rows: BTreeMap<UserId, KeyState>,
    read: i64,
}

#[derive(Clone, Debug)]
enum Act {
    /// The sender delivers its n-th delivery to a replica.
    Deliver {
        replica: usize,
    },
    /// A replica reads some of the log into its gate.
    Follow {
        replica: usize,
        records: i64,
    },
    RestartReplica {
        replica: usize,
    },
    /// A foreign writer appends something under a user's key that nobody can read.
    Scribble {
        user: i64,
    },
    /// A keeper reads on; at the end it decides on repairs.
    Keep {
        keeper: usize,
        records: i64,
    },
    /// A keeper appends what it has decided on, which may be old by now.
    Repair {
        keeper: usize,
    },
    RestartKeeper {
        keeper: usize,
    },
    Project {
        records: i64,
    },
    /// The cleaner runs over what is older than the lag, which the keeper has had the time to repair.
    Clean,
}

fn act() -> impl Strategy<Value = Act> {
    let which = 0..2_usize;
    prop_oneof![
        6 => which.clone().prop_map(|replica| Act::Deliver { replica }),
        3 => (which.clone(), 1..6_i64).prop_map(|(replica, records)| Act::Follow { replica, records }),
        1 => which.clone().prop_map(|replica| Act::RestartReplica { replica }),
        1 => (0..USERS).prop_map(|user| Act::Scribble { user }),
        3 => (which.clone(), 1..6_i64).prop_map(|(keeper, records)| Act::Keep { keeper, records }),
        2 => which.clone().prop_map(|keeper| Act::Repair { keeper }),
        1 => which.prop_map(|keeper| Act::RestartKeeper { keeper }),
        2 => (1..6_i64).prop_map(|records| Act::Project { records }),
        1 => Just(Act::Clean),
    ]
}

/// What happened to the users: for each a creation and changes, and perhaps being forgotten; some at the same second.
fn history() -> impl Strategy<Value = Vec<Told>> {
    vec((0..USERS, 0..4_i64, any::<[u8; 16]>(), 0..12_u8), 1..10).prop_map(|steps| {
        let mut lines: BTreeMap<i64, (i64, Option<Version>)> = BTreeMap::new();
        let mut records = Vec::new();
        for (user, wait, version, dice) in steps {
            let (at, parent) = lines.entry(user).or_insert((0, None));
            *at += wait;
            let (user, occurred_at, version) =
                (UserId::new(user).unwrap(), UnixMillis::from_millis(*at), Version::from_bytes(version));
            if dice == 0 {
                records.push((user, RecordHead::Forgotten { at: occurred_at }));
                continue;
            }
            let kind = if parent.is_none() { EventType::Created } else { EventType::Changed };
            let event_id = EventId::derive(user, kind, &at.to_string(), version, *parent);
            records.push((
                user,
                RecordHead::Event(Head {
                    user_id: user,
                    kind,
                    occurred_at,
                    version,
                    parent: *parent,
                    event_id,
                    received_at: UnixMillis::from_millis(0),
                }),
            ));
            *parent = Some(version);
        }
        records
    })
}

/// A history and its deliveries: each at least once, some again, in any order.
fn deliveries() -> impl Strategy<Value = Vec<Told>> {
    history().prop_flat_map(|history| {
        let again = vec(any::<prop::sample::Index>(), 0..6);
        again
            .prop_map(move |again| {
                history.iter().copied().chain(again.iter().map(|index| *index.get(&history))).collect::<Vec<_>>()
            })
            .prop_shuffle()
    })
}

struct World {
    log: Log,
    replicas: [Replica; 2],
    keepers: [Keeper; 2],
    table: Table,
    deliveries: std::vec::IntoIter<Told>,
    put_aside: usize,
    appended_deliveries: usize,
    repairs: usize,
}

impl World {
    fn new(deliveries: Vec<Told>) -> Self {
        Self {
            log: Log::default(),
            replicas: Default::default(),
            keepers: Default::default(),
            table: Table::default(),
            deliveries: deliveries.into_iter(),
            put_aside: 0,
            appended_deliveries: 0,
            repairs: 0,
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Deliver { replica } => self.deliver(replica),
            Act::Follow { replica, records } => self.follow(replica, records),
            Act::RestartReplica { replica } => self.replicas[replica] = Replica::default(),
            Act::Scribble { user } => drop(self.log.append((UserId::new(user).unwrap(), None))),
            Act::Keep { keeper, records } => self.keep(keeper, records),
            Act::Repair { keeper } => self.repair(keeper),
            Act::RestartKeeper { keeper } => self.keepers[keeper] = Keeper::default(),
            Act::Project { records } => self.project(records),
            Act::Clean => self.clean(),
        }
    }

    /// Tombstones come from `forget`, which asks no gate.
    fn deliver(&mut self, replica: usize) {
        let Some((user, head)) = self.deliveries.next() else { return };
        let replica = &self.replicas[replica];
        let verdict = match head {
            RecordHead::Event(head) if replica.in_force => replica.heads.judge(&head),
            RecordHead::Event(_) | RecordHead::Forgotten { .. } => Verdict::Append,
        };
        match verdict {
            Verdict::Append => {
                self.log.append((user, Some(head)));
                self.appended_deliveries += 1;
            }
            Verdict::Late { .. } | Verdict::Forgotten { .. } | Verdict::Stored { .. } => self.put_aside += 1,
        }
    }

    fn follow(&mut self, replica: usize, records: i64) {
        let replica = &mut self.replicas[replica];
        let to = self.log.end().min(replica.read + records);
        for (offset, (user, head)) in self.log.read(replica.read, to) {
            let Some(head) = head else { continue };
            replica.heads.read(Position { partition: 0, offset }, user, head);
        }
        replica.read = to;
        replica.in_force |= to == self.log.end();
    }

    fn keep(&mut self, keeper: usize, records: i64) {
        let keeper = &mut self.keepers[keeper];
        let to = self.log.end().min(keeper.read + records);
        for (offset, (user, head)) in self.log.read(keeper.read, to) {
            match head {
                Some(head) => drop(keeper.partition.read(offset, user, head)),
                None => keeper.partition.pass_over(offset, user),
            }
        }
        keeper.read = to;
        if to == self.log.end() {
            keeper.decided.extend(keeper.partition.repairs(usize::MAX));
        }
    }

    fn repair(&mut self, keeper: usize) {
        for Repair { user_id, winner_offset } in std::mem::take(&mut self.keepers[keeper].decided) {
            // A winner that the cleaner has taken was superseded by a later copy of itself, or by something newer.
            if let Some(record) = self.log.records[usize::try_from(winner_offset).unwrap()] {
                assert_eq!(record.0, user_id);
                self.log.append(record);
                self.repairs += 1;
            }
        }
    }

    fn project(&mut self, records: i64) {
        let to = self.log.end().min(self.table.read + records);
        for (offset, record) in self.log.read(self.table.read, to) {
            take_in(&mut self.table.rows, offset, record);
        }
        self.table.read = to;
    }

    /// `min.compaction.lag.ms` gives the keeper days: a prefix is cleaned only when it holds no key whose winner stands before a
    /// stale record in it, unrepaired.
    fn clean(&mut self) {
        let mut heads: BTreeMap<UserId, KeyState> = BTreeMap::new();
        let mut cleanable = 0;
        for (offset, record) in self.log.read(0, self.log.end()) {
            take_in(&mut heads, offset, record);
            if heads.values().all(KeyState::is_clean) {
                cleanable = offset + 1;
            }
        }
        // Who has not read what the cleaner takes was away for longer than `min.compaction.lag.ms`, and begins anew. (Of three changes
        // in one second it could have read the second, miss the third, and hold the second against the first.)
        if self.table.read < cleanable {
            self.table = Table::default();
        }
        self.keepers.iter_mut().filter(|keeper| keeper.read < cleanable).for_each(|keeper| *keeper = Keeper::default());
        self.log.clean(cleanable);
    }

    /// Everything is delivered, and everybody reads to the end, until nothing is appended any more.
    fn quiet(&mut self) {
        while self.deliveries.len() > 0 {
            self.deliver(0);
        }
        for _ in 0..100 {
            let end = self.log.end();
            for keeper in 0..self.keepers.len() {
                self.keep(keeper, i64::MAX / 2);
                self.repair(keeper);
            }
            if self.log.end() == end {
                self.project(i64::MAX / 2);
                return;
            }
        }
        panic!("the keepers never come to rest");
    }
}

/// Returns the newest of each user's events, for histories in which the order decides every pair of them without regard to
/// arrival. (Of three changes in one second the first and the third are strangers: there the later offset wins.)
fn newest(deliveries: &[Told]) -> Option<BTreeMap<UserId, RecordHead>> {
    let mut newest = BTreeMap::new();
    for (user, head) in deliveries {
        let mut is_newest = true;
        for (_, other) in deliveries.iter().filter(|(other, _)| other == user) {
            match (order::compare(head, other), order::compare(other, head)) {
                (Order::Newer, Order::Stale) | (Order::Same, Order::Same) => {}
                (Order::Stale, Order::Newer) => is_newest = false,
                _ => return None,
            }
        }
        if is_newest {
            newest.insert(*user, *head);
        }
    }
    Some(newest)
}

fn cases() -> u32 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the number of cases is the one thing a test may be told from outside"
    )]
    let told = std::env::var("ROLLCALL_CASES").ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn the_log_converges(deliveries in deliveries(), acts in vec(act(), 0..60)) {
        let mut world = World::new(deliveries.clone());
        for act in &acts {
            world.act(act);
        }
        world.quiet();

        // The last record of every key is the winner of all: compaction is harmless from here on.
        let folded = world.log.fold();
        prop_assert!(folded.values().all(KeyState::is_clean));
        // (A key under which there is nothing that can be read is nobody's.)
        let mut last = world.log.last_of_each();
        last.retain(|user, _| folded.contains_key(user));
        prop_assert_eq!(&last, &folded.iter().map(|(user, state)| (*user, Some(state.winner))).collect::<BTreeMap<_, _>>());

        // A table that lived through everything equals one that is rebuilt, before and after the cleaner has done all it can.
        let lived: BTreeMap<_, _> = world.table.rows.iter().map(|(user, state)| (*user, (state.winner, state.winner_offset))).collect();
        let end = world.log.end();
        world.log.clean(end);
        let rebuilt: BTreeMap<_, _> = world.log.fold().iter().map(|(user, state)| (*user, (state.winner, state.winner_offset))).collect();
        prop_assert_eq!(&lived, &rebuilt);

        // Where the order decides without regard to arrival, what is left is the newest of all that was delivered.
        if let Some(newest) = newest(&deliveries) {
            let newest: BTreeMap<_, _> = newest.into_iter().map(|(user, head)| (user, Some(head))).collect();
            prop_assert_eq!(&last, &newest);
        }
        prop_assert_eq!(world.appended_deliveries + world.put_aside, deliveries.len());
    }
}
