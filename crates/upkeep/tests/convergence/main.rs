//! The proof that the log converges. Histories are arbitrary, with ties and returning states. They are delivered late,
//! twice and out of order to two replicas. Gate, keeper and Kafka's cleaner act, stop and start at arbitrary moments.
//! Another writer appends records that this build cannot read, and partitions are added to the topic. Time passes, and
//! tombstones expire.
//!
//! Table, plan and repair are the real code, on real bytes. The log, its cleaner and the replicas' shell are an
//! in-memory model. After quiet, every key is clean, a live table equals a table rebuilt from the compacted log, no
//! acknowledged event is lost, and no answer was wrong. However much later, an erased user has no value on any
//! partition, and is still forgotten. Every unreadable record was copied, unless a tombstone erased it.
//!
//! `ROLLCALL_CASES=40000 cargo test -p rollcall-upkeep --test convergence` runs more histories than the default.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod log;
mod world;

use std::collections::BTreeMap;

use domain::UserId;
use domain::order::Rank;
use domain::roll::Standing;
use log::Happened;
use proptest::collection::vec;
use proptest::prelude::*;
use world::{AGES, FOREIGN_USER, USERS, World};

const CASES: u32 = 2_000;
#[derive(Clone, Debug)]
pub(crate) enum Act {
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
