//! The tombstones that the keeper must append again, by the time at which each is due. Only forgotten keys are here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::{UnixMillis, UserId};

#[derive(Clone, Debug, Default)]
pub(super) struct Renewals {
    keys: HashMap<UserId, Renewal>,
    /// By home partition.
    by_due: BTreeMap<i32, BTreeSet<(UnixMillis, UserId)>>,
    by_age: BTreeMap<i32, BTreeSet<(UnixMillis, UserId)>>,
}

/// The tombstone of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    pub(super) home: i32,
    pub(super) due: UnixMillis,
    pub(super) appended_at: UnixMillis,
}

impl Renewals {
    pub(super) fn put(&mut self, user_id: UserId, renewal: Renewal) {
        self.remove(user_id);
        let Renewal { home, due, appended_at } = renewal;
        self.keys.insert(user_id, renewal);
        self.by_due.entry(home).or_default().insert((due, user_id));
        self.by_age.entry(home).or_default().insert((appended_at, user_id));
    }

    pub(super) fn remove(&mut self, user_id: UserId) {
        let Some(Renewal { home, due, appended_at }) = self.keys.remove(&user_id) else { return };
        self.by_due.entry(home).or_default().remove(&(due, user_id));
        self.by_age.entry(home).or_default().remove(&(appended_at, user_id));
    }

    /// Yields the keys of a home partition, the earliest due first.
    pub(super) fn by_due(&self, home: i32) -> impl Iterator<Item = (UnixMillis, UserId)> {
        self.by_due.get(&home).into_iter().flatten().copied()
    }

    /// Returns when the oldest tombstone of a home partition was appended.
    pub(super) fn oldest(&self, home: i32) -> Option<UnixMillis> {
        self.by_age.get(&home)?.first().map(|(appended_at, _)| *appended_at)
    }

    /// Gives each key the home that `home` returns.
    pub(super) fn move_home(&mut self, home: impl Fn(UserId) -> i32) {
        for (user_id, renewal) in std::mem::take(self).keys {
            self.put(user_id, Renewal { home: home(user_id), ..renewal });
        }
    }
}
