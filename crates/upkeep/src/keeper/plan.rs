//! What the keeper is to do, and when: pure. Times are those since the keeper began.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use domain::UserId;

/// How long a key waits for its second repair after the first; each further one waits twice as long.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest wait of a key for another repair. A key that was clean for longer begins anew.
pub const BACKOFF_MAX: Duration = Duration::from_secs(64);
/// How many keys are repaired at once.
pub const REPAIRS_MAX: usize = 1_000;

/// What the keeper hears of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These partitions are this keeper's from now on, in addition to those that it has.
    Assigned(Vec<i32>),
    /// These are this keeper's no more.
    Revoked(Vec<i32>),
    /// None is this keeper's any more.
    AllRevoked,
    /// A record was read; more may follow.
    Read { partition: i32 },
    /// All of a partition has been read.
    EndReached { partition: i32 },
    /// A record of the key was read after which it needs a repair, on the partition that its key belongs to.
    Dirty { user_id: UserId, home: i32 },
    /// A record of the key was read after which it needs none.
    Clean { user_id: UserId },
    /// The records that a repair needs are gone; it waits for another record of the key.
    Lost { user_id: UserId },
}

/// What the keeper does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Append the state of these keys again.
    Repair(Vec<UserId>),
    /// Wait for an event, until then at most.
    WaitUntil(Duration),
    /// Wait for an event.
    Wait,
}

/// The plan of one keeper: which keys it has to repair, and when.
///
/// A key is repaired by the owner of its home partition, when that has been read to its end and so has, once, the whole topic (a
/// key can have records on other partitions). While a repair is on its way the key waits; it is repaired again when its back-off
/// is over and it is still dirty, whether the repair failed or was overtaken.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    owned: BTreeSet<i32>,
    ended: BTreeSet<i32>,
    /// The whole topic was read to its end once.
    is_begun: bool,
    /// The dirty keys, by the partition that they belong to.
    dirty: BTreeMap<i32, BTreeSet<UserId>>,
    homes: HashMap<UserId, i32>,
    repairs: BTreeMap<UserId, Backoff>,
}

/// The repairs of a key in the recent past.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    wait: Duration,
    due: Duration,
}

impl Plan {
    /// Takes in an event.
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
                // What was lost has come again, or another record has.
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

    /// Notes that every partition of the topic has been read to its end.
    pub fn begin(&mut self) {
        self.is_begun = true;
    }

    /// Returns what to do at `now`. Keys that it hands out are on their way: they are not handed out again before their back-off
    /// is over.
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

    /// The partitions that are this keeper's.
    pub fn owned(&self) -> impl Iterator<Item = i32> + '_ {
        self.owned.iter().copied()
    }

    /// How many keys of the partitions that are this keeper's need a repair.
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

    /// A plan that owns partition 0 of a topic that was read to its end, at `now`.
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
    fn a_key_that_stays_clean_begins_anew_and_one_that_does_not_goes_on() {
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
