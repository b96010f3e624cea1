//! Keys with records on several partitions, as after partitions were added to the topic.

use domain::roll::{self, KeyState, Tombstone};
use domain::{Position, UnixMillis};
use proptest::prelude::*;

use crate::log::{Log, Record, change, marker};

fn folded(records: &[(i32, Record)]) -> KeyState {
    let mut log = Log::default();
    records.iter().for_each(|(partition, record)| log.append_to(*partition, record.clone()));
    log.fold().unwrap()
}

/// A tombstone on the key's new partition does not remove a value from the old one: compaction works on each by itself.
#[test]
fn a_forgotten_key_is_clean_when_every_partition_ends_in_its_tombstone() {
    let event = |second| change(None, 'A', second, 0, 0);
    let (broken, unknown) = (Record::broken, Record::unknown);
    for (records, is_clean, on) in [
        (vec![(0, event(1)), (0, marker(2))], true, vec![0]),
        (vec![(0, marker(2))], true, vec![0]),
        (vec![(0, marker(2)), (0, event(1))], false, vec![0]),
        (vec![(0, event(1)), (1, marker(2))], false, vec![0, 1]),
        (vec![(0, event(1)), (1, marker(2)), (0, marker(2))], true, vec![0, 1]),
        (vec![(0, event(1)), (1, marker(2)), (0, marker(2)), (0, event(1))], false, vec![0, 1]),
        (vec![(0, event(1)), (0, marker(2)), (1, event(1))], false, vec![0, 1]),
        (vec![(0, event(1)), (0, marker(2)), (1, broken())], false, vec![0, 1]),
        (vec![(0, broken()), (1, marker(2))], false, vec![0, 1]),
        (vec![(0, marker(1)), (1, marker(2))], false, vec![0, 1]),
        (vec![(0, unknown()), (1, marker(2))], false, vec![1]),
        (vec![(0, event(1)), (1, marker(2)), (1, event(3))], false, vec![0, 1]),
    ] {
        let key = folded(&records);
        assert_eq!((key.is_clean(), key.forgotten_on()), (is_clean, on), "{records:?}");
        assert_eq!(key.needs_repair(), !is_clean && key.unknown_since().is_none(), "{records:?}");
    }
    let exists = folded(&[(0, event(1)), (0, marker(2)), (1, change(Some('A'), 'B', 3, 0, 0))]);
    assert!(exists.is_clean() && exists.forgotten_on().is_empty() && exists.tombstone().is_none(), "{exists:?}");
}

#[test]
fn the_tombstones_of_a_key_are_told_by_the_last_run_of_each_partition() {
    let at = UnixMillis::from_millis;
    let mut offset = 0;
    let mut read = |key: &mut Option<KeyState>, partition, timestamp: i64, has_value: bool, as_of: &str| {
        offset += 1;
        let value = change(None, 'A', 1, 0, 0);
        let value = value.value().filter(|_| has_value);
        let header = |name: &str| (name == domain::headers::CE_TIME).then_some(as_of.as_bytes());
        let position = Position { partition, offset };
        crate::log::take(key, &roll::read(position, Some(b"1"), value, header, at(timestamp)).unwrap());
        key.as_ref().unwrap().tombstone()
    };
    let times = |since, appended_at| Some(Tombstone { since: at(since), appended_at: at(appended_at) });
    let (now, later) = ("2017-06-06T10:00:00Z", "2017-06-07T10:00:00Z");
    let key = &mut None;
    assert_eq!(read(key, 0, 10, true, now), None);
    assert_eq!(read(key, 0, 11, false, now), times(11, 11));
    assert_eq!(read(key, 0, 20, false, now), times(11, 20), "a renewal");
    assert_eq!(read(key, 0, 30, true, now), times(11, 20).filter(|_| false), "a late delivery is last");
    assert_eq!(read(key, 0, 31, false, now), times(31, 31));
    assert_eq!(read(key, 1, 40, false, now), times(40, 31), "the newest value, and the oldest tombstone");
    assert_eq!(read(key, 1, 50, false, later), times(50, 50), "the other partition has none of this forgetting");
    assert_eq!(read(key, 0, 51, false, later), times(51, 50));
}

proptest! {
    /// The partitions may be read one after the other, in any order, or joined afterwards.
    #[test]
    fn the_ends_do_not_depend_on_the_order_of_partitions(
        records in prop::collection::vec((0..3_i32, crate::record()), 1..10),
    ) {
        let mut whole = Log::default();
        let mut apart = vec![Log::default(); 3];
        for (partition, record) in &records {
            whole.append_to(*partition, record.clone());
            apart[usize::try_from(*partition).unwrap()].append_to(*partition, record.clone());
        }
        let Some(whole) = whole.fold() else { return Ok(()) };
        let of = |key: &KeyState| {
            let mut on = key.forgotten_on();
            on.sort_unstable();
            (on, key.tombstone())
        };
        let mut in_order = Log::default();
        for (partition, log) in (0..).zip(&apart) {
            log.deliveries().into_iter().for_each(|record| in_order.append_to(partition, record));
        }
        let in_order = in_order.fold().unwrap();
        prop_assert_eq!(of(&in_order), of(&whole));
        if whole.roll.rank().is_forgotten() {
            prop_assert_eq!(in_order.is_clean(), whole.is_clean());
        }
        // A partition without a readable record has no state to join.
        if apart.iter().all(|log| log.len() == 0 || log.fold().is_some()) {
            let joined = apart.iter().rev().filter_map(Log::fold).reduce(|mut key, other| {
                key.join(other);
                key
            });
            prop_assert_eq!(of(&joined.unwrap()), of(&whole));
        }
    }
}
