//! The laws of the join and their consequences for a compacted log, on the real code and real bytes.
//!
//! `ROLLCALL_CASES=100000 cargo test -p rollcall-domain --test roll` runs more cases than the default.

#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod ends;
mod log;
mod omitted;

use domain::gap::{Difference, Lineage};
use domain::order::RULE_VERSION;
use domain::roll::{self, Effect, KeyState, Roll, SET_MAX, Standing};
use domain::{Position, UnixMillis, UserId};
use log::{Log, Record, change, changed, marker};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn cases(default: u32) -> ProptestConfig {
    ProptestConfig::with_cases(asked_cases().unwrap_or(default))
}

#[expect(clippy::disallowed_methods, reason = "the number of cases is the one setting of this test")]
fn asked_cases() -> Option<u32> {
    std::env::var("ROLLCALL_CASES").ok()?.parse().ok()
}

/// Events of three seconds with returning states, copies of one millisecond with different bytes, creations, imports,
/// events that are ahead, markers, and unreadable or unknown records.
fn record() -> impl Strategy<Value = Record> {
    let state = || prop_oneof![Just('A'), Just('B'), Just('C'), Just('D')];
    prop_oneof![
        12 => (state(), state(), 0..3_i64, 0..3_i64, 0..2_u8)
            .prop_map(|(from, to, second, received, copy)| change(Some(from), to, second, received, copy)),
        2 => (state(), 0..3_i64, 0..2_i64).prop_map(|(to, second, received)| change(None, to, second, received, 0)),
        1 => (state(), state(), 0..2_i64).prop_map(|(from, to, received)| change(Some(from), to, 5_000, received, 0)),
        2 => (0..3_i64).prop_map(marker),
        1 => Just(Record::broken()),
        1 => Just(Record::unknown()),
    ]
}

/// Returns the state after some records.
fn state() -> impl Strategy<Value = Roll> {
    vec(record(), 1..8)
        .prop_filter_map("no record that can be read", |records| Log::of(records).fold().map(|key| key.roll))
}

const AT: Position = Position { partition: 0, offset: 0 };

fn joined(left: &Roll, right: &Roll) -> Roll {
    let mut joined = left.clone();
    joined.join(right);
    joined
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn a_join_is_commutative_associative_and_idempotent(a in state(), b in state(), c in state()) {
        prop_assert!(joined(&a, &b).is_same(&joined(&b, &a)));
        prop_assert!(joined(&joined(&a, &b), &c).is_same(&joined(&a, &joined(&b, &c))));
        prop_assert!(joined(&a, &a).is_same(&a));
        prop_assert!(joined(&joined(&a, &b), &b).is_same(&joined(&a, &b)));
        prop_assert_eq!(winner(&joined(&a, &b)), winner(&joined(&b, &a)));
    }

    /// A state is forgotten by a marker exactly if it is forgotten after it.
    #[test]
    fn a_marker_forgets_what_it_ranks_above(state in state(), second in 0..4_i64) {
        let marker = marker(second).read(AT).unwrap().says().clone();
        let after = joined(&state, &marker);
        prop_assert_eq!(state.is_forgotten_by(marker.rank().time()), after.rank() == marker.rank());
    }

    /// A marker covers the letters that were received before it. Another state covers none by their receipt.
    #[test]
    fn a_marker_covers_the_letters_before_it(state in state(), event in state(), second in 0..4_i64) {
        let Some(winner) = event.winner() else { return Ok(()) };
        let head = winner.head(UserId::new(180).unwrap(), &event);
        let received_at = UnixMillis::from_millis(second * 1_000);
        let standing = state.standing_of_letter(&head, received_at);
        if state.rank().is_forgotten() && received_at <= state.rank().time() {
            prop_assert_eq!(standing, Standing::Forgotten(state.position()));
        } else {
            prop_assert_eq!(standing, state.standing(&head));
        }
    }

    /// Every reading order, interleaving of partitions and repetition gives the same state.
    #[test]
    fn any_interleaving_and_repetition_gives_one_state(
        records in vec((record(), 0..3_i32), 1..12),
        again in vec(any::<Index>(), 0..6),
        order in Just(()).prop_perturb(|(), mut rng| rng.next_u64()),
    ) {
        let mut shuffled: Vec<(Record, i32)> = records.clone();
        shuffled.extend(again.iter().map(|index| index.get(&records).clone()));
        shuffle(&mut shuffled, order);
        let place = |records: Vec<(Record, i32)>| {
            let mut log = Log::default();
            records.into_iter().for_each(|(record, partition)| log.append_to(partition, record));
            log.fold().map(|key| key.roll)
        };
        match (place(records), place(shuffled)) {
            (None, None) => {}
            (Some(one), Some(other)) => prop_assert!(one.is_same(&other), "{one:?}\n{other:?}"),
            (one, other) => prop_assert!(false, "{one:?}\n{other:?}"),
        }
    }

    /// A key is clean after its repair, and every cut keeps the state: one repair is enough.
    #[test]
    fn a_repaired_key_survives_every_cut(records in vec(record(), 1..10), repeats in vec(any::<Index>(), 0..4)) {
        let mut log = Log::of(records);
        let Some(key) = log.fold() else { return Ok(()) };
        if key.unknown_since().is_none() && !key.is_clean() {
            log.append(log.repair(&key));
        }
        let live = log.fold().unwrap();
        prop_assume!(live.unknown_since().is_none());
        prop_assert!(live.is_clean());
        for cut in 0..=log.len() {
            let rebuilt = log.cut(cut).fold().unwrap();
            prop_assert!(rebuilt.roll.is_same(&live.roll) && rebuilt.is_clean(), "cut at {cut}\n{rebuilt:?}\n{live:?}");
        }
        // Repeated deliveries do not change the state after any cut, and cost at most one repair each.
        let (mut cut, deliveries) = (log.cut(log.len()), log.deliveries());
        for again in repeats {
            let record = again.get(&deliveries).clone();
            cut.append(record);
            let key = cut.fold().unwrap();
            prop_assert!(key.roll.is_same(&live.roll), "{:?}\n{:?}", key.roll, live.roll);
        }
    }

    /// The effect of a record matches the states before and after it.
    #[test]
    fn effects_match_the_states(records in vec(record(), 1..12)) {
        let log = Log::of(records);
        let mut key: Option<KeyState> = None;
        for (position, record) in log.records() {
            let before = key.clone();
            let Some(effect) = log::apply(&mut key, position, record) else { continue };
            let after = key.as_ref().unwrap();
            let same = before.as_ref().is_some_and(|before| before.roll.is_same(&after.roll));
            let was = before.as_ref().map(|before| &before.roll);
            let is_other = was.is_none_or(|was| winner(was) != winner(&after.roll));
            prop_assert_eq!(effect.changed, is_other || effect.effect == Effect::Forgotten);
            let is_newer = matches!(effect.effect, Effect::Newer { .. } | Effect::Forgotten);
            prop_assert_eq!(was.is_none_or(|was| after.roll.supersedes(was)), is_newer);
            prop_assert!(!after.roll.supersedes(&after.roll) && was.is_none_or(|was| !was.supersedes(&after.roll)));
            match effect.effect {
                Effect::Newer { .. } | Effect::Forgotten => {
                    prop_assert!(before.is_none_or(|before| before.roll.rank() < after.roll.rank()));
                    prop_assert!(effect.stored);
                }
                Effect::Tied => prop_assert!(!same && effect.stored),
                Effect::Duplicate => prop_assert_eq!(effect.stored, !same),
                Effect::Stale | Effect::Unreadable | Effect::Unknown => prop_assert!(same && !effect.stored),
            }
        }
    }
}

/// A tie of one second ends in the state where the sender ended. Before the join, each of these ended in another state
/// for good.
#[test]
fn ties_of_one_second_end_where_the_sender_ended() {
    for (deliveries, end) in [
        ("A>B B>C C>D", 'D'),
        ("A>B B>C C>D A>B", 'D'),
        ("C>D B>C A>B", 'D'),
        ("B>C A>B C>D B>C A>B", 'D'),
        ("A>B B>A A>B", 'A'),
        ("A>B B>A", 'A'),
        ("A>B B>C C>A", 'A'),
        ("A>B", 'B'),
    ] {
        let log = Log::of(changed(deliveries));
        assert_eq!(log.winner_state(&log.fold().unwrap()), end, "{deliveries}");
    }
    assert_eq!(RULE_VERSION, 1_001, "the version of these endings");
}

/// The gaps that are left after these deliveries: each a letter, the second of its event, and its states.
fn gaps_after(deliveries: &[(&str, i64)]) -> usize {
    let mut lineage = Lineage::default();
    let mut roll: Option<Roll> = None;
    for (offset, (states, second)) in (0..).zip(deliveries) {
        let [from, _, to] = states.chars().collect::<Vec<_>>()[..] else { panic!("{states}") };
        let record = change(Some(from), to, *second, offset, 0);
        let reading = record.read(Position { partition: 0, offset }).unwrap();
        let applied = match &mut roll {
            Some(roll) => roll.apply(&reading),
            None => {
                let (begun, applied) = Roll::begin(&reading);
                roll = Some(begun);
                applied
            }
        };
        lineage.follow(roll.as_ref().unwrap(), &applied, &reading, || match applied.effect {
            Effect::Newer { gap: Some(gap) } => Some(Difference { held: gap.held, fields: vec!["name".to_owned()] }),
            _ => None,
        });
    }
    lineage.gaps.len()
}

#[test]
fn a_tied_second_leaves_no_gap_in_whatever_order_it_comes() {
    let tied = ["A>B", "B>C", "C>D"];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let second = order.map(|index| (tied[index], 1));
        let before_and_after = [&[("Z>A", 0)], &second[..], &[("A>B", 1), ("D>E", 2)]].concat();
        assert_eq!(gaps_after(&before_and_after), 0, "{order:?}");
        assert_eq!(gaps_after(&second), 0, "{order:?}, the first of the user");
    }
    assert_eq!(gaps_after(&[("Z>A", 0), ("B>C", 1), ("C>D", 1)]), 1, "A>B never came");
}

#[test]
fn a_set_keeps_the_events_with_the_greatest_ids() {
    let records: Vec<Record> = (b'a'..b'a' + 12).map(|state| change(Some('A'), char::from(state), 1, 1, 0)).collect();
    let mut key = None;
    let mut dropped = 0;
    for (position, record) in Log::of(records.clone()).records() {
        dropped += log::apply(&mut key, position, record).unwrap().dropped;
    }
    let roll = key.unwrap().roll;
    assert_eq!((roll.members().len(), dropped), (SET_MAX, 12 - SET_MAX));
    let mut reversed = records;
    reversed.reverse();
    assert!(Log::of(reversed).fold().unwrap().roll.is_same(&roll));
}

/// Exhaustive for small sizes: every log of up to six deliveries of three events and up to five of four. The keeper
/// repairs at once, late (others overtake the repair), or not yet. Every possible cut of compaction is tried: one below
/// a moment at which the key was clean. Live and rebuilt state are equal, a keeper that starts from the cut log finds
/// the same repairs, and one repair completes the log.
#[test]
fn every_small_log_converges_whatever_is_cut() {
    let mut cuts = 0;
    let copies =
        vec![change(Some('A'), 'B', 1, 0, 0), change(Some('A'), 'B', 1, 0, 1), change(Some('B'), 'C', 1, 1, 0)];
    World { has_copies: true, ..World::default() }.explore(&copies, None, 5, &mut cuts);
    for (events, length) in [
        (changed("A>B B>C C>D"), 6),
        (changed("A>B B>A A>C"), 5),
        (changed("A>B B>C C>A"), 5),
        (changed("A>B B>C C>D B>A"), 5),
        (changed("A>B B>A C>D A>D"), 5),
    ] {
        World::default().explore(&events, None, length, &mut cuts);
    }
    println!("{cuts} cuts");
    assert!(cuts > 1_000_000, "{cuts} cuts");
}

/// How the keeper acts after a delivery.
#[derive(Clone, Copy)]
enum Keeper {
    Sleeps,
    Repairs,
    /// The repair is decided now and appended after the next delivery.
    RepairsLate,
}

/// A log with the state after each suffix of it: the first is the live state, the one at a record is the state of a
/// reader of a log cut to that record.
#[derive(Clone, Default)]
struct World {
    log: Log,
    from: Vec<Option<KeyState>>,
    /// The log may be cut below this record, because the key was clean then.
    clean_up_to: usize,
    /// Some of the events are copies of each other.
    has_copies: bool,
}

impl World {
    /// Explores all continuations, with `late`, a repair that is not appended yet.
    fn explore(&self, events: &[Record], late: Option<&Record>, length: u32, cuts: &mut usize) {
        if length == 0 {
            let mut world = self.clone();
            if let Some(needed) = world.needed() {
                world.append(needed, cuts);
            }
            assert!(world.live().is_clean(), "at rest: {:?}", world.log);
            if !self.has_copies {
                return;
            }
            // The states contain only digests of the bytes, so the bytes are compared too.
            let lived = world.log.contents(world.live());
            for rebuilt in world.from.iter().flatten() {
                assert_eq!(world.log.contents(rebuilt), lived, "{:?}", world.log);
            }
            return;
        }
        for event in events {
            let mut world = self.clone();
            world.append(event.clone(), cuts);
            if let Some(late) = late {
                world.append(late.clone(), cuts);
            }
            for keeper in [Keeper::Sleeps, Keeper::Repairs, Keeper::RepairsLate] {
                match (keeper, world.needed()) {
                    (Keeper::Sleeps, _) => world.explore(events, None, length - 1, cuts),
                    (_, None) => {}
                    (Keeper::Repairs, Some(needed)) => {
                        let mut world = world.clone();
                        world.append(needed, cuts);
                        world.explore(events, None, length - 1, cuts);
                    }
                    (Keeper::RepairsLate, Some(needed)) => world.explore(events, Some(&needed), length - 1, cuts),
                }
            }
        }
    }

    fn live(&self) -> &KeyState {
        self.from[0].as_ref().unwrap()
    }

    fn needed(&self) -> Option<Record> {
        (!self.live().is_clean()).then(|| self.log.repair(self.live()))
    }

    fn append(&mut self, record: Record, cuts: &mut usize) {
        let position = Position { partition: 0, offset: i64::try_from(self.log.len()).unwrap() };
        self.from.push(None);
        {
            let reading = record.read(position).unwrap();
            for key in &mut self.from {
                log::take(key, &reading);
            }
        }
        self.log.append(record);
        if self.live().is_clean() {
            self.clean_up_to = self.log.len();
        }
        // A cut leaves the last record below it.
        for (first, rebuilt) in self.from[..self.clean_up_to].iter().enumerate().skip(1) {
            let (rebuilt, live) = (rebuilt.as_ref().unwrap(), self.live());
            assert!(rebuilt.roll.is_same(&live.roll), "cut at {first} of {:?}", self.log);
            assert_eq!(rebuilt.is_clean(), live.is_clean(), "cut at {first} of {:?}", self.log);
            assert!(rebuilt.roll.members().iter().all(|member| member.at.offset >= i64::try_from(first).unwrap()));
            *cuts += 1;
        }
    }
}

fn winner(roll: &Roll) -> Option<domain::EventId> {
    roll.winner().map(|winner| winner.event_id)
}

fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for index in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(index, usize::try_from(seed >> 33).unwrap() % (index + 1));
    }
}

#[test]
fn a_record_of_another_user_says_nothing_of_this_one() {
    let record = change(None, 'A', 1, 1, 0);
    let position = Position { partition: 0, offset: 0 };
    let unread = roll::read(position, Some(b"2"), record.value(), |_| None, log::NOW).unwrap_err();
    assert_eq!((unread.effect(), unread.user_id().unwrap().get()), (Effect::Unreadable, 2));
}
