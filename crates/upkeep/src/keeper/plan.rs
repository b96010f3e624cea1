//! Decides what the keeper does, and when. Pure: times are durations since the keeper started, and for tombstones the
//! wall clock, because their age counts across restarts. [`crate::Upkeep`] calls it, and the tests that model a keeper.

mod renewals;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use domain::roll::Tombstone;
use domain::{Position, UnixMillis, UserId};
use kafka::placement::partition_for;

use crate::retention::Retention;
use renewals::{Renewal, Renewals};

/// The wait of a key between its first and second repair. Each further wait is twice as long.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest wait of a key between repairs. A key that stays clean for longer starts again with the shortest.
pub const BACKOFF_MAX: Duration = Duration::from_secs(64);
/// The most keys repaired, and the most records copied, at once.
pub const REPAIRS_MAX: usize = 1_000;
/// The most tombstones renewed at once.
pub const RENEWALS_MAX: usize = 100;
/// The shortest time between renewals. At this rate a keeper renews 40 million tombstones in the time that each has.
pub const RENEWALS_EVERY: Duration = Duration::from_secs(1);

/// An input of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These partitions are now assigned to this keeper, in addition to its others.
    Assigned(Vec<i32>),
    /// These partitions are no longer assigned to this keeper.
    Revoked(Vec<i32>),
    /// No partition is assigned to this keeper any more.
    AllRevoked,
    /// The topic has this number of partitions now.
    Widened { partitions: i32 },
    /// A record was read. More may follow.
    Read { partition: i32 },
    /// A partition has been read to its end.
    EndReached { partition: i32 },
    /// After a record the key needs a repair.
    Dirty { user_id: UserId },
    /// After a record the key needs no repair.
    Clean { user_id: UserId },
    /// After a record the key needs no repair, and its tombstones must not expire.
    Forgotten { user_id: UserId, tombstone: Tombstone },
    /// A record of the key is unreadable, and must be copied before anything is appended after it.
    Unreadable { user_id: UserId, at: Position },
    /// A tombstone of the key was read: what is unreadable before it on its partition is erased, and not copied.
    Erased { user_id: UserId, at: Position },
    /// The unreadable record was copied, or no longer exists.
    Copied { user_id: UserId, at: Position },
    /// The records that a repair needs no longer exist. The key waits for another record.
    Lost { user_id: UserId },
}

/// The next action of the keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Copy these unreadable records to the dead letters.
    Copy(Vec<(UserId, Position)>),
    /// Append the state of these keys again ([`super::Repair`]).
    Repair(Vec<UserId>),
    /// Wait for an event, at most until this time.
    WaitUntil(Duration),
    /// Wait for an event.
    Wait,
}

/// The plan of one keeper: which keys it must repair, and when.
///
/// The owner of a key's home partition, the one that murmur2 gives, repairs the key. It does so when that partition has
/// been read to its end, and the whole topic has been read to its end once (a key can have records on other
/// partitions). During a repair the key waits. If the key is still dirty after its back-off, because the repair failed
/// or a newer record overtook it, it is repaired again.
///
/// Unreadable records of a key are copied first, and the key waits for that.
///
/// The tombstone of a forgotten key is appended again when it is due ([`Retention::due`]), at a bounded rate.
#[derive(Clone, Debug)]
pub struct Plan {
    partitions: i32,
    retention: Retention,
    owned: BTreeSet<i32>,
    ended: BTreeSet<i32>,
    /// The whole topic has been read to its end once.
    is_begun: bool,
    /// The dirty keys, by their home partition.
    dirty: BTreeMap<i32, BTreeSet<UserId>>,
    homes: HashMap<UserId, i32>,
    /// Unreadable records that are not copied yet.
    uncopied: BTreeMap<UserId, BTreeSet<Position>>,
    renewals: Renewals,
    /// The next time at which tombstones may be renewed.
    renew_from: Duration,
    repairs: BTreeMap<UserId, Backoff>,
}

/// The recent repairs of a key.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    wait: Duration,
    due: Duration,
}

impl Plan {
    /// Returns the plan for a topic with these partitions and settings, of which nothing is owned or read.
    pub fn new(partitions: i32, retention: Retention) -> Self {
        Self {
            partitions,
            retention,
            owned: BTreeSet::new(),
            ended: BTreeSet::new(),
            is_begun: false,
            dirty: BTreeMap::new(),
            homes: HashMap::new(),
            uncopied: BTreeMap::new(),
            renewals: Renewals::default(),
            renew_from: Duration::ZERO,
            repairs: BTreeMap::new(),
        }
    }

    /// Processes an event.
    pub fn on(&mut self, event: &Event, now: Duration) {
        match event {
            Event::Assigned(partitions) => self.owned.extend(partitions),
            Event::Revoked(partitions) => self.owned.retain(|partition| !partitions.contains(partition)),
            Event::AllRevoked => self.owned.clear(),
            Event::Widened { partitions } => self.widen(*partitions),
            Event::Read { partition } => {
                self.ended.remove(partition);
            }
            Event::EndReached { partition } => {
                self.ended.insert(*partition);
            }
            Event::Dirty { user_id } => {
                self.clean(*user_id);
                let home = self.home(*user_id);
                self.homes.insert(*user_id, home);
                self.dirty.entry(home).or_default().insert(*user_id);
                self.bring_forward(*user_id, now + BACKOFF_MAX);
            }
            Event::Clean { user_id } => self.clean(*user_id),
            Event::Forgotten { user_id, tombstone } => {
                self.clean(*user_id);
                let due = self.retention.due(*user_id, *tombstone);
                let renewal = Renewal { home: self.home(*user_id), due, appended_at: tombstone.appended_at };
                self.renewals.put(*user_id, renewal);
                self.bring_forward(*user_id, now + BACKOFF_MAX);
            }
            Event::Unreadable { user_id, at } => {
                self.bring_forward(*user_id, now + BACKOFF_MAX);
                self.uncopied.entry(*user_id).or_default().insert(*at);
            }
            Event::Erased { user_id, at } => {
                let is_before = |unreadable: &Position| unreadable.partition == at.partition && unreadable < at;
                self.drop_uncopied(*user_id, is_before);
            }
            Event::Copied { user_id, at } => {
                self.drop_uncopied(*user_id, |copied| copied == at);
                // What waited for the copy need not wait for its back-off too.
                self.bring_forward(*user_id, now);
            }
            Event::Lost { user_id } => {
                self.repairs.insert(*user_id, Backoff { wait: BACKOFF_MAX, due: Duration::MAX });
            }
        }
    }

    /// Lets a key wait until `due` at most. One that is lost waits for ever otherwise.
    fn bring_forward(&mut self, user_id: UserId, due: Duration) {
        self.repairs.entry(user_id).and_modify(|repair| repair.due = repair.due.min(due));
    }

    fn home(&self, user_id: UserId) -> i32 {
        partition_for(user_id.to_string().as_bytes(), self.partitions)
    }

    /// Gives each key its new home. The owner of the old one would repair it no more once it has started anew.
    fn widen(&mut self, partitions: i32) {
        self.partitions = partitions;
        self.dirty.clear();
        for user_id in std::mem::take(&mut self.homes).into_keys() {
            let home = self.home(user_id);
            self.homes.insert(user_id, home);
            self.dirty.entry(home).or_default().insert(user_id);
        }
        self.renewals.move_home(|user_id| partition_for(user_id.to_string().as_bytes(), partitions));
    }

    fn clean(&mut self, user_id: UserId) {
        if let Some(keys) = self.homes.remove(&user_id).and_then(|home| self.dirty.get_mut(&home)) {
            keys.remove(&user_id);
        }
        self.renewals.remove(user_id);
    }

    fn drop_uncopied(&mut self, user_id: UserId, is_done: impl Fn(&Position) -> bool) {
        if let Some(positions) = self.uncopied.get_mut(&user_id) {
            positions.retain(|position| !is_done(position));
            if positions.is_empty() {
                self.uncopied.remove(&user_id);
            }
        }
    }

    /// Records that every partition of the topic has been read to its end.
    pub fn begin(&mut self) {
        self.is_begun = true;
    }

    /// Returns the action at `now`, which is `wall` by the clock. Keys in a returned action are not returned again
    /// before their back-off is over.
    pub fn next(&mut self, now: Duration, wall: UnixMillis) -> Action {
        self.repairs.retain(|_, repair| repair.due == Duration::MAX || now < repair.due + BACKOFF_MAX);
        if !self.is_begun {
            return Action::Wait;
        }
        let mut due = Due { now, keys: Vec::new(), earliest: None };
        self.find_uncopied(&mut due);
        if !due.keys.is_empty() {
            due.keys.iter().for_each(|user_id| self.attempt(*user_id, now));
            let records =
                |user_id: &UserId| self.uncopied[user_id].iter().map(|at| (*user_id, *at)).collect::<Vec<_>>();
            return Action::Copy(due.keys.iter().flat_map(records).take(REPAIRS_MAX).collect());
        }
        self.find_dirty(&mut due);
        self.find_renewals(&mut due, wall);
        due.keys.iter().for_each(|user_id| self.attempt(*user_id, now));
        match due.earliest {
            _ if !due.keys.is_empty() => Action::Repair(due.keys),
            Some(earliest) => Action::WaitUntil(earliest),
            None => Action::Wait,
        }
    }

    fn attempt(&mut self, user_id: UserId, now: Duration) {
        let wait = self.repairs.get(&user_id).map_or(BACKOFF_MIN, |repair| (repair.wait * 2).min(BACKOFF_MAX));
        self.repairs.insert(user_id, Backoff { wait, due: now + wait });
    }

    /// Yields the partitions whose keys this keeper may repair now.
    fn ready(&self) -> impl Iterator<Item = &i32> {
        self.owned.intersection(&self.ended)
    }

    fn find_uncopied(&self, due: &mut Due) {
        let is_ready = |user_id: UserId| {
            let home = self.home(user_id);
            self.owned.contains(&home) && self.ended.contains(&home)
        };
        for user_id in self.uncopied.keys().filter(|user_id| is_ready(**user_id)) {
            due.take(*user_id, self.repairs.get(user_id));
            if due.keys.len() == REPAIRS_MAX {
                return;
            }
        }
    }

    fn find_dirty(&self, due: &mut Due) {
        let dirty = self.ready().filter_map(|home| self.dirty.get(home)).flatten();
        for user_id in dirty.filter(|user_id| !self.uncopied.contains_key(user_id)) {
            due.take(*user_id, self.repairs.get(user_id));
            if due.keys.len() == REPAIRS_MAX {
                return;
            }
        }
    }

    fn find_renewals(&mut self, due: &mut Due, wall: UnixMillis) {
        let most = due.keys.len().saturating_add(RENEWALS_MAX).min(REPAIRS_MAX);
        let before = due.keys.len();
        for home in self.owned.intersection(&self.ended) {
            for (at, user_id) in self.renewals.by_due(*home) {
                if let Ok(wait) = u64::try_from(at.millis().saturating_sub(wall.millis()))
                    && wait > 0
                {
                    due.wait_until(due.now.saturating_add(Duration::from_millis(wait)));
                    break;
                }
                if due.now < self.renew_from || due.keys.len() >= most {
                    due.wait_until(self.renew_from.max(due.now));
                    break;
                }
                due.take(user_id, self.repairs.get(&user_id));
            }
        }
        if due.keys.len() > before {
            self.renew_from = due.now + RENEWALS_EVERY;
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

    /// Returns when the oldest of the tombstones was appended, in the partitions of this keeper.
    pub fn oldest_tombstone(&self) -> Option<UnixMillis> {
        self.owned.iter().filter_map(|partition| self.renewals.oldest(*partition)).min()
    }
}

/// The keys that are due, and when the next one is.
struct Due {
    now: Duration,
    keys: Vec<UserId>,
    earliest: Option<Duration>,
}

impl Due {
    fn take(&mut self, user_id: UserId, last: Option<&Backoff>) {
        match last.map_or(self.now, |repair| repair.due) {
            due if due <= self.now => self.keys.push(user_id),
            Duration::MAX => {}
            due => self.wait_until(due),
        }
    }

    fn wait_until(&mut self, due: Duration) {
        self.earliest = Some(self.earliest.map_or(due, |earliest| earliest.min(due)));
    }
}

#[cfg(test)]
mod tests;
