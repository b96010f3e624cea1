//! The findings of a verification.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::roll::{Ends, KeyState, Reading, Roll};
use domain::{Checkpoint, EventId, Position, UnixMillis, UserId};
use kafka::topics::Finding as Setting;

use super::Options;

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
    pub gaps: Gaps,
    pub unreadable: Found<Unreadable>,
    pub unknown: Found<Unreadable>,
    pub stateless: Found<Stateless>,
    pub outdated: Found<Outdated>,
    pub ahead: Found<Ahead>,
    pub overdue: Found<Overdue>,
    pub misplaced: Found<Misplaced>,
    pub behind: Found<Behind>,
    pub settings: Vec<Setting>,
    /// The state of each user, if the options ask for it.
    pub winners: BTreeMap<UserId, Winner>,
    /// How far the log was read.
    pub read: Checkpoint,
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
    /// When the vendor stops or stopped retrying the missing delivery.
    pub awaited_until: UnixMillis,
}

/// The gaps, by what can still be expected of the vendor.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// The vendor has given up since [`Options::since`](super::Options::since). The only gaps that are a fault.
    pub lost: Found<Gap>,
    /// The vendor gave up before that.
    pub lost_before: Found<Gap>,
    /// The vendor still retries.
    pub awaited: Found<Gap>,
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

/// A user none of whose records can be read. `forget` is the remedy: there is nothing to append after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stateless {
    pub user_id: UserId,
    pub last: Position,
}

/// A user whose last records are unknown to this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    pub user_id: UserId,
    /// The Kafka timestamp of the first of them.
    pub since: UnixMillis,
}

/// A forgotten user whose tombstone is old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    pub user_id: UserId,
    /// When the tombstone was appended last.
    pub appended_at: UnixMillis,
}

/// A user whose last record on the state topic is not the user's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    pub user_id: UserId,
}

/// A user known only by an event that is ahead of its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    pub user_id: UserId,
    pub position: Position,
}

/// The state of a user.
#[derive(Clone, Debug)]
pub struct Winner {
    /// The state over all partitions.
    pub roll: Roll,
    /// The winning event with its value, as framed on the log. `None` when the user is forgotten.
    pub event: Option<(EventId, Vec<u8>)>,
}

impl Report {
    /// Returns whether there are no faults. A gap is one only if it became lost a short time ago.
    pub fn is_clean(&self) -> bool {
        // A stateless user has unreadable or unknown records, and an outdated one has unknown records.
        let broken = [self.unreadable.count, self.unknown.count, self.ahead.count, self.misplaced.count];
        let late = [self.dirty.count, self.overdue.count, self.gaps.lost.count, self.behind.count];
        let counts = late.into_iter().chain(broken);
        counts.into_iter().all(|count| count == 0) && self.settings.is_empty()
    }

    /// Adds the state of a key, over all its partitions.
    pub(super) fn note_key(&mut self, user_id: UserId, key: &Key, options: &Options) {
        if let Some(since) = key.unknown_since() {
            self.outdated.push(Outdated { user_id, since });
        }
        let key = match key {
            Key::Known(key) => key,
            Key::Stateless(ends, last) => {
                if ends.unknown_since().is_none() {
                    self.stateless.push(Stateless { user_id, last: *last });
                }
                return;
            }
        };
        let position = key.roll.position();
        let appended_at = key.tombstone().map(|tombstone| tombstone.appended_at);
        if let Some(appended_at) = appended_at.filter(|at| options.retention.is_overdue(*at, options.now)) {
            self.overdue.push(Overdue { user_id, appended_at });
        }
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

/// The records of a key.
#[derive(Clone, Debug)]
pub(super) enum Key {
    Known(KeyState),
    /// None of them can be read. The last one is there.
    Stateless(Ends, Position),
}

impl Key {
    /// Joins with the records on another partition.
    pub(super) fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Known(mut key), Self::Known(other)) => {
                key.join(other);
                Self::Known(key)
            }
            (Self::Known(mut key), Self::Stateless(ends, _)) | (Self::Stateless(ends, _), Self::Known(mut key)) => {
                key.join_ends(ends);
                Self::Known(key)
            }
            (Self::Stateless(mut ends, last), Self::Stateless(others, _)) => {
                ends.join(others);
                Self::Stateless(ends, last)
            }
        }
    }

    pub(super) fn known(&self) -> Option<&KeyState> {
        match self {
            Self::Known(key) => Some(key),
            Self::Stateless(..) => None,
        }
    }

    pub(super) fn state(&self) -> Option<&Roll> {
        self.known().map(|key| &key.roll)
    }

    /// Applies a further record of a key that may have none yet.
    pub(super) fn read_on(key: &mut Option<Self>, reading: &Reading<'_>) {
        match key {
            Some(Self::Known(key)) => {
                key.apply(reading);
            }
            Some(Self::Stateless(ends, _)) => {
                *key = Some(Self::Known(KeyState::begin_after(std::mem::take(ends), reading).0));
            }
            None => *key = Some(Self::Known(KeyState::begin(reading).0)),
        }
    }

    pub(super) fn needs_repair(&self) -> bool {
        matches!(self, Self::Known(key) if key.needs_repair())
    }

    fn unknown_since(&self) -> Option<UnixMillis> {
        match self {
            Self::Known(key) => key.unknown_since(),
            Self::Stateless(ends, _) => ends.unknown_since(),
        }
    }
}

impl Gaps {
    /// Adds a gap at `now`. One that became lost within `since` is a fault.
    pub(super) fn push(&mut self, gap: Gap, now: UnixMillis, since: Duration) {
        let lost_for_ms = now.millis().saturating_sub(gap.awaited_until.millis());
        let found = match u128::try_from(lost_for_ms) {
            Err(_) => &mut self.awaited,
            Ok(lost_for_ms) if lost_for_ms > since.as_millis() => &mut self.lost_before,
            Ok(_) => &mut self.lost,
        };
        found.push(gap);
    }
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { count: 0, examples: Vec::new() }
    }
}

impl<T> Found<T> {
    /// Counts a finding, and lists it if there is room.
    pub fn push(&mut self, example: T) {
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

#[cfg(test)]
mod tests {
    use domain::topics::RETRIES_MAX_MS;

    use super::*;

    #[test]
    fn a_gap_is_a_fault_for_a_while_after_it_was_lost() {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        const SINCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
        let counts = |days_since_lost: i64, more_ms: i64| {
            let (now, mut gaps) =
                (UnixMillis::from_millis(RETRIES_MAX_MS + days_since_lost * DAY_MS + more_ms), Gaps::default());
            let awaited_until = UnixMillis::from_millis(RETRIES_MAX_MS);
            let (user_id, position) = (UserId::new(1).unwrap(), Position { partition: 0, offset: 9 });
            gaps.push(Gap { user_id, position, fields: Vec::new(), awaited_until }, now, SINCE);
            let is_clean = Report { gaps: gaps.clone(), ..Report::default() }.is_clean();
            (gaps.awaited.count, gaps.lost.count, gaps.lost_before.count, is_clean)
        };
        assert_eq!(counts(-22, 0), (1, 0, 0, true), "a delivery is on its way");
        assert_eq!(counts(0, -1), (1, 0, 0, true));
        assert_eq!(counts(0, 0), (0, 1, 0, false));
        assert_eq!(counts(7, 0), (0, 1, 0, false));
        assert_eq!(counts(7, 1), (0, 0, 1, true), "a lost delivery does not alarm for ever");
    }
}
