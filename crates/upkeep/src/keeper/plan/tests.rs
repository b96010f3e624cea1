//! The plan, by its events.

use super::*;
use crate::fixture::NOW;

const S: Duration = Duration::from_secs(1);

fn id(id: i64) -> UserId {
    UserId::new(id).unwrap()
}

/// Returns a plan that owns partition 0 of a topic that has been read to its end at `now`.
fn begun(now: Duration) -> Plan {
    let mut plan = Plan::new(1, Retention::default());
    plan.on(&Event::Assigned(vec![0]), now);
    plan.on(&Event::EndReached { partition: 0 }, now);
    plan.begin();
    plan
}

fn dirty(user: i64) -> Event {
    Event::Dirty { user_id: id(user) }
}

/// Returns the first user whose home is that partition, of two.
fn at_home_on(partition: i32) -> i64 {
    (1..).find(|user: &i64| partition_for(user.to_string().as_bytes(), 2) == partition).unwrap()
}

#[test]
fn a_key_is_repaired_by_the_owner_of_its_partition_at_its_end() {
    let mut plan = Plan::new(2, Retention::default());
    let now = S;
    let (zero, one) = (at_home_on(0), at_home_on(1));
    let ends = [0, 1].map(|partition| Event::EndReached { partition });
    for event in [dirty(zero), dirty(one)].into_iter().chain(ends) {
        plan.on(&event, now);
    }
    assert_eq!(plan.next(now, NOW), Action::Wait, "nothing is owned");
    plan.on(&Event::Assigned(vec![1]), now);
    assert_eq!(plan.next(now, NOW), Action::Wait, "the topic was not read to its end");
    plan.begin();
    plan.on(&Event::Read { partition: 1 }, now);
    assert_eq!(plan.next(now, NOW), Action::Wait, "more may follow");
    plan.on(&Event::EndReached { partition: 1 }, now);
    assert_eq!(plan.next(now, NOW), Action::Repair(vec![id(one)]));
    assert_eq!((plan.dirty(), plan.owned().collect::<Vec<_>>()), (1, vec![1]));
    plan.on(&Event::Revoked(vec![1]), now);
    assert_eq!((plan.next(now + S, NOW), plan.dirty()), (Action::Wait, 0));
}

#[test]
fn a_clean_key_is_never_repaired() {
    let mut plan = begun(S);
    plan.on(&dirty(1), S);
    plan.on(&Event::Clean { user_id: id(1) }, S);
    assert_eq!(plan.next(S, NOW), Action::Wait);
    assert_eq!(plan.dirty(), 0);
}

#[test]
fn repairs_of_a_key_wait_twice_as_long_each_time_and_no_longer_than_the_limit() {
    let mut plan = begun(S);
    plan.on(&dirty(1), S);
    let (mut now, mut waits) = (S, Vec::new());
    for _ in 0..9 {
        assert_eq!(plan.next(now, NOW), Action::Repair(vec![id(1)]));
        let Action::WaitUntil(due) = plan.next(now, NOW) else { panic!("it is on its way") };
        waits.push((due - now).as_secs());
        now = due;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
}

#[test]
fn a_key_that_stays_clean_resets_its_back_off_and_another_continues() {
    for (quiet, wait) in [(S, 2), (BACKOFF_MIN + BACKOFF_MAX, 1)] {
        let mut plan = begun(S);
        plan.on(&dirty(1), S);
        assert_eq!(plan.next(S, NOW), Action::Repair(vec![id(1)]));
        plan.on(&Event::Clean { user_id: id(1) }, S);
        let now = S + quiet;
        plan.on(&dirty(1), now);
        assert_eq!(plan.next(now, NOW), Action::Repair(vec![id(1)]));
        assert_eq!(plan.next(now, NOW), Action::WaitUntil(now + S * wait), "{quiet:?}");
    }
}

#[test]
fn a_repair_whose_records_are_gone_waits_for_another_record() {
    let mut plan = begun(S);
    plan.on(&dirty(1), S);
    assert_eq!(plan.next(S, NOW), Action::Repair(vec![id(1)]));
    plan.on(&Event::Lost { user_id: id(1) }, S);
    assert_eq!(plan.next(S * 1_000_000, NOW), Action::Wait);
    plan.on(&dirty(1), S * 1_000_000);
    assert_eq!(plan.next(S * 1_000_000, NOW), Action::WaitUntil(S * 1_000_000 + BACKOFF_MAX));
}

#[test]
fn a_round_has_a_limit() {
    let mut plan = begun(S);
    let keys = i64::try_from(REPAIRS_MAX).unwrap();
    (0..keys + 5).for_each(|user| plan.on(&dirty(user), S));
    let Action::Repair(first) = plan.next(S, NOW) else { panic!("there is something to do") };
    let Action::Repair(second) = plan.next(S, NOW) else { panic!("there is more to do") };
    assert_eq!((first.len(), second.len()), (REPAIRS_MAX, 5));
}

/// The home of a key moves with the number of partitions. A keeper that started before and one that started after would
/// each take it for the other's.
#[test]
fn keys_move_to_their_new_home_when_partitions_are_added() {
    let user = at_home_on(1);
    let mut plan = begun(S);
    let tombstone = Tombstone { since: NOW, appended_at: NOW };
    plan.on(&dirty(user), S);
    plan.on(&Event::Widened { partitions: 2 }, S);
    assert_eq!((plan.next(S, NOW), plan.dirty()), (Action::Wait, 0));
    for event in [Event::Assigned(vec![1]), Event::EndReached { partition: 1 }] {
        plan.on(&event, S);
    }
    assert_eq!(plan.next(S, NOW), Action::Repair(vec![id(user)]));
    plan.on(&Event::Forgotten { user_id: id(user), tombstone }, S);
    assert_eq!(plan.oldest_tombstone(), Some(NOW));
    plan.on(&Event::Widened { partitions: 1 }, S);
    plan.on(&Event::Revoked(vec![0]), S);
    assert_eq!(plan.oldest_tombstone(), None);
}

#[test]
fn a_tombstone_is_renewed_when_it_is_due_and_again_if_that_fails() {
    let mut plan = begun(S);
    let tombstone = Tombstone { since: NOW, appended_at: NOW };
    let retention = Retention::default();
    plan.on(&Event::Forgotten { user_id: id(1), tombstone }, S);
    let due = retention.due(id(1), tombstone);
    let wait = Duration::from_millis(u64::try_from(due.millis() - NOW.millis()).unwrap());
    assert_eq!(plan.next(S, NOW), Action::WaitUntil(S + wait));
    let now = S + wait;
    assert_eq!(plan.next(now, due), Action::Repair(vec![id(1)]));
    assert_eq!(plan.next(now, due), Action::WaitUntil(now + RENEWALS_EVERY), "it is on its way");
    assert_eq!(plan.next(now + S, due), Action::Repair(vec![id(1)]), "it was not acknowledged");
    let renewed = Tombstone { since: NOW, appended_at: due };
    plan.on(&Event::Forgotten { user_id: id(1), tombstone: renewed }, now);
    assert_eq!(plan.oldest_tombstone(), Some(due));
    assert!(matches!(plan.next(now + S * 9, due), Action::WaitUntil(_)));
    plan.on(&Event::Clean { user_id: id(1) }, now);
    assert_eq!((plan.next(now + S * 9, due), plan.oldest_tombstone()), (Action::Wait, None), "the user is back");
}

#[test]
fn renewals_come_at_a_bounded_rate() {
    let mut plan = begun(S);
    let keys = 2 * RENEWALS_MAX + 5;
    let long_ago = UnixMillis::from_millis(0);
    let tombstone = Tombstone { since: long_ago, appended_at: long_ago };
    (0..keys).for_each(|user| {
        plan.on(&Event::Forgotten { user_id: id(i64::try_from(user).unwrap()), tombstone }, S);
    });
    let mut renewed = BTreeSet::new();
    for (second, count) in [(1, RENEWALS_MAX), (2, RENEWALS_MAX), (3, 5)] {
        let Action::Repair(keys) = plan.next(S * second, NOW) else { panic!("they are due") };
        assert_eq!(keys.len(), count);
        for user_id in keys {
            renewed.insert(user_id);
            plan.on(&Event::Forgotten { user_id, tombstone: Tombstone { since: long_ago, appended_at: NOW } }, S);
        }
        assert!(matches!(plan.next(S * second, NOW), Action::WaitUntil(_)), "a second later");
    }
    assert_eq!(renewed.len(), keys);
}

#[test]
fn a_key_that_was_lost_is_renewed_once_it_is_forgotten() {
    let mut plan = begun(S);
    let long_ago = UnixMillis::from_millis(0);
    plan.on(&dirty(1), S);
    plan.on(&Event::Lost { user_id: id(1) }, S);
    let tombstone = Tombstone { since: long_ago, appended_at: long_ago };
    plan.on(&Event::Forgotten { user_id: id(1), tombstone }, S);
    assert_eq!(plan.next(S + BACKOFF_MAX, NOW), Action::Repair(vec![id(1)]));
}

#[test]
fn an_unreadable_record_is_copied_before_its_key_is_repaired() {
    let mut plan = begun(S);
    let at = |offset| Position { partition: 0, offset };
    let unreadable = |user, offset| Event::Unreadable { user_id: id(user), at: at(offset) };
    for event in [dirty(1), unreadable(1, 3), unreadable(1, 5), dirty(2), unreadable(3, 4)] {
        plan.on(&event, S);
    }
    let copies = vec![(id(1), at(3)), (id(1), at(5)), (id(3), at(4))];
    assert_eq!(plan.next(S, NOW), Action::Copy(copies));
    assert_eq!(plan.next(S, NOW), Action::Repair(vec![id(2)]), "nothing is appended after what is not copied");
    plan.on(&Event::Copied { user_id: id(1), at: at(3) }, S);
    assert!(matches!(plan.next(S, NOW), Action::Copy(records) if records == [(id(1), at(5))]), "the other one again");
    plan.on(&Event::Copied { user_id: id(1), at: at(5) }, S);
    assert_eq!(plan.next(S, NOW), Action::Repair(vec![id(1)]));
    // A user without a state has nothing to append.
    plan.on(&Event::Copied { user_id: id(3), at: at(4) }, S);
    assert!(matches!(plan.next(S, NOW), Action::WaitUntil(_)));
}

#[test]
fn what_a_tombstone_erases_is_not_copied() {
    let mut plan = begun(S);
    let at = |partition, offset| Position { partition, offset };
    for (partition, offset) in [(0, 3), (0, 7), (1, 3)] {
        plan.on(&Event::Unreadable { user_id: id(1), at: at(partition, offset) }, S);
    }
    plan.on(&Event::Erased { user_id: id(1), at: at(0, 5) }, S);
    assert_eq!(plan.next(S, NOW), Action::Copy(vec![(id(1), at(0, 7)), (id(1), at(1, 3))]));
}
