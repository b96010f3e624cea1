//! A key of the log: its state, and whether compaction would keep that state.

use super::{Applied, Effect, Reading, Roll, Unread};
use crate::{Position, UnixMillis};

/// The state of one key, and how the log holds it. Nearly all keys have their records on one partition. Adding
/// partitions to a topic moves keys, so a key can have older records on another partition.
#[derive(Clone, Debug)]
pub struct KeyState {
    pub roll: Roll,
    /// The record of the key that was read last.
    last: Position,
    /// The partition whose last record of the key yields the state by itself.
    clean: Option<i32>,
    /// Boxed because it is rare: other keys pay one pointer.
    unknown: Option<Box<Unknown>>,
}

/// Present when the last records of a key on a partition are unknown to this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unknown {
    partition: i32,
    /// The Kafka timestamp of the first of them.
    since: UnixMillis,
}

impl KeyState {
    /// Returns the state after the first record of a key, and the record's effect.
    pub fn begin(reading: &Reading<'_>) -> (Self, Applied) {
        let (roll, applied) = Roll::begin(reading);
        let clean = reading.yields(&roll).then_some(reading.position.partition);
        (Self { roll, last: reading.position, clean, unknown: None }, applied)
    }

    /// Applies a further record of the key. Records of one partition must come in the order of their offsets. A record
    /// that was read before changes nothing.
    pub fn apply(&mut self, reading: &Reading<'_>) -> Applied {
        let (at, applied) = (reading.position, self.roll.apply(reading));
        if !self.was_read(at) {
            self.leave(at);
            if reading.yields(&self.roll) {
                self.clean = Some(at.partition);
            } else if applied.stored {
                self.clean = None;
            }
        }
        applied
    }

    /// Records an unreadable record of the key at `position` with the Kafka timestamp `timestamp`.
    pub fn pass_over(&mut self, position: Position, timestamp: UnixMillis, unread: &Unread) -> Effect {
        if !self.was_read(position) {
            let partition = position.partition;
            let before = self.unknown.as_deref().filter(|unknown| unknown.partition == partition);
            let since = before.map_or(timestamp, |unknown| unknown.since);
            self.leave(position);
            if unread.is_unknown() {
                self.unknown = Some(Box::new(Unknown { partition, since }));
            }
        }
        unread.effect()
    }

    /// Joins with the state after records of the key on other partitions.
    pub fn join(&mut self, other: Self) {
        let (own_roll, own_clean) = (self.roll.clone(), self.clean);
        self.roll.join(&other.roll);
        let is_whole = |roll: &Roll| roll.is_same(&self.roll);
        self.clean = own_clean.filter(|_| is_whole(&own_roll)).or(other.clean.filter(|_| is_whole(&other.roll)));
        self.unknown = self.unknown.take().or(other.unknown);
    }

    /// Returns whether the state must be appended again because compaction would otherwise keep another state. False
    /// for a key whose last records are unknown to this build: a later build may read them.
    pub fn needs_repair(&self) -> bool {
        self.clean.is_none() && self.unknown.is_none()
    }

    /// Replaces the last record of the partition with the record at `position`.
    fn leave(&mut self, position: Position) {
        self.clean = self.clean.filter(|partition| *partition != position.partition);
        self.unknown = self.unknown.take().filter(|unknown| unknown.partition != position.partition);
        self.last = position;
    }

    fn was_read(&self, position: Position) -> bool {
        position.partition == self.last.partition && position.offset <= self.last.offset
    }

    /// Returns the position of the last record of the key.
    pub fn last(&self) -> Position {
        self.last
    }

    /// Returns whether the last record of the key on one of its partitions yields the state by itself. Compaction keeps
    /// that record.
    pub fn is_clean(&self) -> bool {
        self.clean.is_some()
    }

    /// Returns the Kafka timestamp from which the key ends in records that are unknown to this build. Such a key must
    /// not be repaired, because only a later build knows the effect of these records.
    pub fn unknown_since(&self) -> Option<UnixMillis> {
        self.unknown.as_deref().map(|unknown| unknown.since)
    }
}
