//! The ends of a key: its last record on each partition that holds it.
//!
//! Adding partitions to a topic moves keys, so a key can have records on several partitions, and compaction works on
//! each of them by itself. An erased user is gone only when the last record on each is a tombstone.

use super::{Reading, Unread};
use crate::{Position, UnixMillis};

/// The last record of a key on each partition that holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends(Vec<End>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    partition: i32,
    last: Last,
}

/// The last record of a key on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// A record with a value, which may be unreadable.
    Value,
    /// A tombstone that forgets the user as of `at`.
    Tombstone { at: UnixMillis, appended: Tombstone },
    /// A record that is unknown to this build. `since` is the Kafka timestamp of the first of a run of them.
    Unknown { since: UnixMillis },
}

/// The tombstones in which a key ends, by their Kafka timestamps. Of several partitions: those of the partition that
/// was forgotten last, and of the one whose tombstone is oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// When the first tombstone after the last value was appended.
    pub since: UnixMillis,
    /// When the last tombstone was appended.
    pub appended_at: UnixMillis,
}

impl Ends {
    /// Records the unreadable or unknown record at `position`, of a key without a state.
    pub fn pass_over(&mut self, position: Position, timestamp: UnixMillis, unread: &Unread) {
        self.set(position.partition, Last::of_unread(timestamp, unread));
    }

    /// Returns the ends of a key whose last record on `partition` has a value, and no other records.
    pub(super) fn of_value(partition: i32) -> Self {
        Self(vec![End { partition, last: Last::Value }])
    }

    /// Replaces the last record on `partition`.
    pub(super) fn set(&mut self, partition: i32, last: Last) {
        match self.0.iter_mut().find(|end| end.partition == partition) {
            Some(end) => end.last = last.after(end.last),
            None => self.0.push(End { partition, last }),
        }
    }

    /// Adds the ends on other partitions.
    pub fn join(&mut self, other: Self) {
        other.0.into_iter().for_each(|end| self.set(end.partition, end.last));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the key is on one partition and ends there in a value.
    pub(super) fn is_one_value(&self) -> bool {
        matches!(self.0[..], [End { last: Last::Value, .. }])
    }

    /// Returns whether every partition ends in a tombstone that forgets the user as of `at`.
    pub(super) fn all_forget(&self, at: UnixMillis) -> bool {
        self.0.iter().all(|end| end.last.tombstone(at).is_some())
    }

    /// Returns the tombstones that forget the user as of `at`.
    pub(super) fn tombstone(&self, at: UnixMillis) -> Option<Tombstone> {
        self.0.iter().filter_map(|end| end.last.tombstone(at)).reduce(|one, other| Tombstone {
            since: one.since.max(other.since),
            appended_at: one.appended_at.min(other.appended_at),
        })
    }

    /// Yields the partitions that this build may write to: those that do not end in an unknown record.
    pub(super) fn known(&self) -> impl Iterator<Item = i32> {
        self.0.iter().filter(|end| !matches!(end.last, Last::Unknown { .. })).map(|end| end.partition)
    }

    /// Returns the Kafka timestamp from which a partition ends in unknown records.
    pub fn unknown_since(&self) -> Option<UnixMillis> {
        let since = |end: &End| match end.last {
            Last::Unknown { since } => Some(since),
            Last::Value | Last::Tombstone { .. } => None,
        };
        self.0.iter().filter_map(since).min()
    }
}

impl Last {
    pub(super) fn of(reading: &Reading<'_>) -> Self {
        let (rank, since) = (reading.says().rank(), reading.timestamp);
        if rank.is_forgotten() {
            Self::Tombstone { at: rank.time(), appended: Tombstone { since, appended_at: since } }
        } else {
            Self::Value
        }
    }

    pub(super) fn of_unread(timestamp: UnixMillis, unread: &Unread) -> Self {
        if unread.is_unknown() { Self::Unknown { since: timestamp } } else { Self::Value }
    }

    /// Returns this record as the one after `before`: a run of records of one kind goes on.
    fn after(self, before: Self) -> Self {
        match (self, before) {
            (Self::Unknown { .. }, Self::Unknown { since }) => Self::Unknown { since },
            (Self::Tombstone { at, appended }, Self::Tombstone { at: same, appended: before }) if at == same => {
                Self::Tombstone { at, appended: Tombstone { since: before.since, ..appended } }
            }
            (last, _) => last,
        }
    }

    fn tombstone(self, as_of: UnixMillis) -> Option<Tombstone> {
        match self {
            Self::Tombstone { at, appended } if at == as_of => Some(appended),
            Self::Tombstone { .. } | Self::Value | Self::Unknown { .. } => None,
        }
    }
}
