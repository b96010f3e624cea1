//! Decides what the keeper does, and when. Pure: times are durations since the keeper started.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use domain::UserId;

/// The wait of a key between its first and second repair. Each further wait is twice as long.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest wait of a key between repairs. A key that stays clean for longer starts again with the shortest.
pub const BACKOFF_MAX: Duration = Duration::from_secs(64);
/// The most keys repaired at once.
pub const REPAIRS_MAX: usize = 1_000;

/// An input of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These partitions are now assigned to this keeper, in addition to its others.
    Assigned(Vec<i32>),
    /// These partitions are no longer assigned to this keeper.
    Revoked(Vec<i32>),
    /// No partition is assigned to this keeper any more.
    AllRevoked,
    /// A record was read. More may follow.
    Read { partition: i32 },
    /// A partition has been read to its end.
    EndReached { partition: i32 },
    /// After a record the key needs a repair. `home` is the partition of the key.
    Dirty { user_id: UserId, home: i32 },
    /// After a record the key needs no repair.
    Clean { user_id: UserId },
    /// The records that a repair needs no longer exist. The key waits for another record.
    Lost { user_id: UserId },
}

/// The next action of the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Append the state of these keys again.
    Repair(Vec<UserId>),
    /// Wait for an event, at most until this time.
    WaitUntil(Duration),
    /// Wait for an event.
    Wait,
}

/// The plan of one keeper: which keys it must repair, and when.
///
/// The owner of a key's home partition repairs the key. It does so when that partition has been read to its end, and
/// the whole topic has been read to its end once (a key can have records on other partitions). During a repair the key
/// waits. If the key is still dirty after its back-off, because the repair failed or a newer record overtook it, it is
/// repaired again.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    owned: BTreeSet<i32>,
    ended: BTreeSet<i32>,
    /// The whole topic has been read to its end once.
    is_begun: bool,
    /// The dirty keys, by their home partition.
    dirty: BTreeMap<i32, BTreeSet<UserId>>,
    homes: HashMap<UserId, i32>,
    repairs: BTreeMap<UserId, Backoff>,
}

/// The recent repairs of a key.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    wait: Duration,
    due: Duration,
}

impl Plan {
    /// Processes an event.
    pub fn on(&mut self, event: &Event, now: Duration) {
        match event {
            Event::Assigned(partitions) => self.owned.extend(partitions),
            Event::Revoked(partitions) => self.owned.retain(|partition| !partitions.contains(partition)),
            Event::AllRevoked => self.owned.clear(),
            Event::Read { partition } => {
                self.ended.remove(partition);
            }
            Event::EndReached { partition } => {
                self.ended.insert(*partition);
            }
            Event::Dirty { user_id, home } => {
                self.clean(*user_id);
                self.homes.insert(*user_id, *home);
                self.dirty.entry(*home).or_default().insert(*user_id);
                // The missing records, or another record of the key, have arrived.
                self.repairs.entry(*user_id).and_modify(|repair| repair.due = repair.due.min(now + BACKOFF_MAX));
            }
            Event::Clean { user_id } => self.clean(*user_id),
            Event::Lost { user_id } => {
                self.repairs.insert(*user_id, Backoff { wait: BACKOFF_MAX, due: Duration::MAX });
            }
        }
    }

    fn clean(&mut self, user_id: UserId) {
        if let Some(keys) = self.homes.remove(&user_id).and_then(|home| self.dirty.get_mut(&home)) {
            keys.remove(&user_id);
        }
    }

    /// Records that every partition of the topic has been read to its end.
    pub fn begin(&mut self) {
        self.is_begun = true;
    }

    /// Returns the action at `now`. Keys in a returned repair are not returned again before their back-off is over.
    pub fn next(&mut self, now: Duration) -> Action {
        self.repairs.retain(|_, repair| repair.due == Duration::MAX || now < repair.due + BACKOFF_MAX);
        if !self.is_begun {
            return Action::Wait;
        }
        let ready = self.owned.intersection(&self.ended).filter_map(|partition| self.dirty.get(partition)).flatten();
        let (mut keys, mut earliest) = (Vec::new(), None::<Duration>);
        for user_id in ready {
            let due = self.repairs.get(user_id).map_or(now, |repair| repair.due);
            if due <= now {
                keys.push(*user_id);
            } else if due < Duration::MAX {
                earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
            }
            if keys.len() == REPAIRS_MAX {
                break;
            }
        }
        for user_id in &keys {
            let wait = self.repairs.get(user_id).map_or(BACKOFF_MIN, |repair| (repair.wait * 2).min(BACKOFF_MAX));
            self.repairs.insert(*user_id, Backoff { wait, due: now + wait });
        }
        match earliest {
            _ if !keys.is_empty() => Action::Repair(keys),
            Some(earliest) => Action::WaitUntil(earliest),
            None => Action::Wait,
        }
    }

    /// Returns the partitions of this keeper.
    pub fn owned(&self) -> impl Iterator<Item = i32> + '_ {
        self.owned.iter().copied()
    }

    /// Returns the number of keys that need a repair, in the partitions of this keeper.
    pub fn dirty(&self) -> usize {
        self.owned.iter().filter_map(|partition| self.dirty.get(partition)).map(BTreeSet::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn id(id: i64) -> UserId {
        UserId::new(id).unwrap()
    }

    /// Returns a plan that owns partition 0 of a topic that has been read to its end at `now`.
    fn begun(now: Duration) -> Plan {
        let mut plan = Plan::default();
        plan.on(&Event::Assigned(vec![0]), now);
        plan.on(&Event::EndReached { partition: 0 }, now);
        plan.begin();
        plan
    }

    fn dirty(user: i64, home: i32) -> Event {
        Event::Dirty { user_id: id(user), home }
    }

    #[test]
    fn a_key_is_repaired_by_the_owner_of_its_partition_at_its_end() {
        let mut plan = Plan::default();
        let now = S;
        for event in [dirty(1, 0), dirty(2, 1), Event::EndReached { partition: 0 }, Event::EndReached { partition: 1 }]
        {
            plan.on(&event, now);
        }
        assert_eq!(plan.next(now), Action::Wait, "nothing is owned");
        plan.on(&Event::Assigned(vec![1]), now);
        assert_eq!(plan.next(now), Action::Wait, "the topic was not read to its end");
        plan.begin();
        plan.on(&Event::Read { partition: 1 }, now);
        assert_eq!(plan.next(now), Action::Wait, "more may follow");
        plan.on(&Event::EndReached { partition: 1 }, now);
        assert_eq!(plan.next(now), Action::Repair(vec![id(2)]));
        assert_eq!((plan.dirty(), plan.owned().collect::<Vec<_>>()), (1, vec![1]));
        plan.on(&Event::Revoked(vec![1]), now);
        assert_eq!((plan.next(now + S), plan.dirty()), (Action::Wait, 0));
    }

    #[test]
    fn a_clean_key_is_never_repaired() {
        let mut plan = begun(S);
        plan.on(&dirty(1, 0), S);
        plan.on(&Event::Clean { user_id: id(1) }, S);
        assert_eq!(plan.next(S), Action::Wait);
        assert_eq!(plan.dirty(), 0);
    }

    #[test]
    fn repairs_of_a_key_wait_twice_as_long_each_time_and_no_longer_than_the_limit() {
        let mut plan = begun(S);
        plan.on(&dirty(1, 0), S);
        let (mut now, mut waits) = (S, Vec::new());
        for _ in 0..9 {
            assert_eq!(plan.next(now), Action::Repair(vec![id(1)]));
            let Action::WaitUntil(due) = plan.next(now) else { panic!("it is on its way") };
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    }

    #[test]
    fn a_key_that_stays_clean_resets_its_back_off_and_another_continues() {
        for (quiet, wait) in [(S, 2), (BACKOFF_MIN + BACKOFF_MAX, 1)] {
            let mut plan = begun(S);
            plan.on(&dirty(1, 0), S);
            assert_eq!(plan.next(S), Action::Repair(vec![id(1)]));
            plan.on(&Event::Clean { user_id: id(1) }, S);
            let now = S + quiet;
            plan.on(&dirty(1, 0), now);
            assert_eq!(plan.next(now), Action::Repair(vec![id(1)]));
            assert_eq!(plan.next(now), Action::WaitUntil(now + S * wait), "{quiet:?}");
        }
    }

    #[test]
    fn a_repair_whose_records_are_gone_waits_for_another_record() {
        let mut plan = begun(S);
        plan.on(&dirty(1, 0), S);
        assert_eq!(plan.next(S), Action::Repair(vec![id(1)]));
        plan.on(&Event::Lost { user_id: id(1) }, S);
        assert_eq!(plan.next(S * 1_000_000), Action::Wait);
        plan.on(&dirty(1, 0), S * 1_000_000);
        assert_eq!(plan.next(S * 1_000_000), Action::WaitUntil(S * 1_000_000 + BACKOFF_MAX));
    }

    #[test]
    fn a_round_has_a_limit() {
        let mut plan = begun(S);
        let keys = i64::try_from(REPAIRS_MAX).unwrap();
        (0..keys + 5).for_each(|user| plan.on(&dirty(user, 0), S));
        let Action::Repair(first) = plan.next(S) else { panic!("there is something to do") };
        let Action::Repair(second) = plan.next(S) else { panic!("there is more to do") };
        assert_eq!((first.len(), second.len()), (REPAIRS_MAX, 5));
    }
}
