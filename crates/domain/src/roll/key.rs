//! A key of the log: its state, and whether compaction would keep it.

use super::{Applied, Effect, Reading, Roll, Unread};
use crate::{Position, UnixMillis};

/// The state of one key, and how the log holds it. Nearly always all records of a key are on one partition; a topic that was
/// given more partitions has some elsewhere.
#[derive(Clone, Debug)]
pub struct KeyState {
    pub roll: Roll,
    /// The record of the key that was read last.
    last: Position,
    /// The partition on which the last record of the key yields the state by itself.
    clean: Option<i32>,
    /// Rare, and so it costs the others nothing but a pointer.
    unknown: Option<Box<Unknown>>,
}

/// The last records of a key on a partition are unknown to this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unknown {
    partition: i32,
    /// The Kafka timestamp of the first of them.
    since: UnixMillis,
}

impl KeyState {
    /// Returns the state that the first record of a key gives, and what the record did.
    pub fn begin(reading: &Reading<'_>) -> (Self, Applied) {
        let (roll, applied) = Roll::begin(reading);
        let clean = reading.yields(&roll).then_some(reading.position.partition);
        (Self { roll, last: reading.position, clean, unknown: None }, applied)
    }

    /// Applies a further record of the key. Records of one partition come in the order of their offsets; one that was read before
    /// changes nothing.
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

    /// Passes over a record of the key at `position`, with that Kafka timestamp, that cannot be read.
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

    /// Joins with the state that records of the key on other partitions give.
    pub fn join(&mut self, other: Self) {
        let (own_roll, own_clean) = (self.roll.clone(), self.clean);
        self.roll.join(&other.roll);
        let is_whole = |roll: &Roll| roll.is_same(&self.roll);
        self.clean = own_clean.filter(|_| is_whole(&own_roll)).or(other.clean.filter(|_| is_whole(&other.roll)));
        self.unknown = self.unknown.take().or(other.unknown);
    }

    /// Returns whether the state must be appended again, or compaction would keep another one. A key that ends in records that a
    /// later build may know is left to that build.
    pub fn needs_repair(&self) -> bool {
        self.clean.is_none() && self.unknown.is_none()
    }

    /// Forgets what was known of the last record on the partition, and takes this one for it.
    fn leave(&mut self, position: Position) {
        self.clean = self.clean.filter(|partition| *partition != position.partition);
        self.unknown = self.unknown.take().filter(|unknown| unknown.partition != position.partition);
        self.last = position;
    }

    fn was_read(&self, position: Position) -> bool {
        position.partition == self.last.partition && position.offset <= self.last.offset
    }

    /// The record of the key that was read last.
    pub fn last(&self) -> Position {
        self.last
    }

    /// Returns whether the last record of the key, on one of its partitions, yields its state by itself: compaction keeps that
    /// record, whatever it removes.
    pub fn is_clean(&self) -> bool {
        self.clean.is_some()
    }

    /// Returns since when, in Kafka timestamps, the key ends in records that this build does not know. Such a key is not to be
    /// repaired: a later build knows what it does.
    pub fn unknown_since(&self) -> Option<UnixMillis> {
        self.unknown.as_deref().map(|unknown| unknown.since)
    }
}
