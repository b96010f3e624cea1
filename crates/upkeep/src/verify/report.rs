//! The findings of a verification.

use std::collections::BTreeMap;

use domain::roll::KeyState;
use domain::{EventId, Position, UserId};
use kafka::topics::Finding as Setting;

/// The result of a verification.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub records: u64,
    /// The number of users that exist.
    pub users: u64,
    /// The number of users whose newest record is a tombstone.
    pub forgotten: u64,
    /// The number of records that the keeper appended.
    pub reasserted: u64,
    pub dirty: Found<Dirty>,
    pub gaps: Found<Gap>,
    pub unreadable: Found<Unreadable>,
    pub unknown: Found<Unreadable>,
    pub ahead: Found<Ahead>,
    pub misplaced: Found<Misplaced>,
    pub settings: Vec<Setting>,
    /// The newest record of each user, if the options ask for it.
    pub winners: BTreeMap<UserId, Winner>,
}

/// The number of findings of a kind, and the first of them.
#[derive(Clone, Debug)]
pub struct Found<T> {
    pub count: u64,
    pub examples: Vec<T>,
}

/// The most findings of a kind that are listed. The rest is counted.
pub const EXAMPLES_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirty {
    pub user_id: UserId,
    pub newest: Position,
    pub last: Position,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub user_id: UserId,
    /// The event whose predecessor is missing.
    pub position: Position,
    /// The fields that the missing events changed.
    pub fields: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub position: Position,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    pub user_id: UserId,
    pub position: Position,
    pub partition: i32,
}

/// A user known only by an event that is ahead of its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    pub user_id: UserId,
    pub position: Position,
}

/// The state of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct Winner {
    pub position: Position,
    /// The winning event with its value, as framed on the log. `None` when the user is forgotten.
    pub event: Option<(EventId, Vec<u8>)>,
}

impl Report {
    /// Returns whether there are no findings.
    pub fn is_clean(&self) -> bool {
        let broken = [self.unreadable.count, self.unknown.count, self.ahead.count, self.misplaced.count];
        let counts = [self.dirty.count, self.gaps.count].into_iter().chain(broken);
        counts.into_iter().all(|count| count == 0) && self.settings.is_empty()
    }

    /// Adds the state of a key, over all its partitions.
    pub(super) fn note_key(&mut self, user_id: UserId, key: &KeyState) {
        let position = key.roll.position();
        if key.roll.rank().is_forgotten() {
            self.forgotten += 1;
        } else {
            self.users += 1;
        }
        if key.needs_repair() {
            self.dirty.push(Dirty { user_id, newest: position, last: key.last() });
        }
        if key.roll.rank().is_ahead() {
            self.ahead.push(Ahead { user_id, position });
        }
    }
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { count: 0, examples: Vec::new() }
    }
}

impl<T> Found<T> {
    pub(super) fn push(&mut self, example: T) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.count += other.count;
        let room = EXAMPLES_MAX.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }
}
