//! A key of the log: its state, and whether compaction would keep that state.

use super::ends::{Ends, Last, Tombstone};
use super::{Applied, Effect, Reading, Roll, Unread};
use crate::{Position, UnixMillis};

/// The state of one key, and how the log holds it. Nearly all keys have their records on one partition. Adding
/// partitions to a topic moves keys, so a key can have older records on another partition.
#[derive(Clone, Debug)]
pub struct KeyState {
    pub roll: Roll,
    /// `None` for a key that is on one partition and ends in a value: nearly all. Boxed: those pay one pointer.
    ends: Option<Box<Ends>>,
    /// The position of the record of the key that was read last, without a position's padding: there are millions.
    last_offset: i64,
    last_partition: i32,
    /// The partition whose last record of the key yields the state by itself.
    clean: Partition,
}

/// A partition or none, in four bytes.
#[derive(Clone, Copy, Debug)]
struct Partition(i32);

impl Partition {
    const NONE: Self = Self(-1);

    fn get(self) -> Option<i32> {
        (self.0 >= 0).then_some(self.0)
    }
}

impl From<Option<i32>> for Partition {
    fn from(partition: Option<i32>) -> Self {
        partition.map_or(Self::NONE, Self)
    }
}

impl KeyState {
    /// Returns the state after the first record of a key, and the record's effect.
    pub fn begin(reading: &Reading<'_>) -> (Self, Applied) {
        Self::begin_after(Ends::default(), reading)
    }

    /// Returns the state after the first record of a key that can be read, and its effect. Before it came the records
    /// that `ends` was told of.
    pub fn begin_after(ends: Ends, reading: &Reading<'_>) -> (Self, Applied) {
        let ((roll, applied), at) = (Roll::begin(reading), reading.position);
        let clean = reading.yields(&roll).then_some(at.partition);
        let ends = (!ends.is_empty()).then(|| Box::new(ends));
        let (last_offset, last_partition) = (at.offset, at.partition);
        let mut key = Self { roll, ends, last_offset, last_partition, clean: Partition::NONE };
        key.end(at, Last::of(reading));
        (Self { clean: clean.into(), ..key }, applied)
    }

    /// Applies a further record of the key. Records of one partition must come in the order of their offsets. A record
    /// that was read before changes nothing.
    pub fn apply(&mut self, reading: &Reading<'_>) -> Applied {
        let (at, applied) = (reading.position, self.roll.apply(reading));
        if !self.was_read(at) {
            self.end(at, Last::of(reading));
            if reading.yields(&self.roll) {
                self.clean = Partition(at.partition);
            } else if applied.stored {
                self.clean = Partition::NONE;
            }
        }
        applied
    }

    /// Records an unreadable record of the key at `position` with the Kafka timestamp `timestamp`.
    pub fn pass_over(&mut self, position: Position, timestamp: UnixMillis, unread: &Unread) -> Effect {
        if !self.was_read(position) {
            self.end(position, Last::of_unread(timestamp, unread));
        }
        unread.effect()
    }

    /// Joins with the state after records of the key on other partitions.
    pub fn join(&mut self, other: Self) {
        let (own_roll, own_clean) = (self.roll.clone(), self.clean.get());
        self.roll.join(&other.roll);
        let is_whole = |roll: &Roll| roll.is_same(&self.roll);
        let other_clean = other.clean.get().filter(|_| is_whole(&other.roll));
        self.clean = own_clean.filter(|_| is_whole(&own_roll)).or(other_clean).into();
        self.join_ends(other.into_ends());
    }

    /// Joins with the ends of the key on other partitions that have no record of it that can be read.
    pub fn join_ends(&mut self, ends: Ends) {
        self.ends_mut().join(ends);
    }

    /// Returns whether the state must be appended again because compaction would otherwise keep another state. False
    /// for a key whose last records are unknown to this build: a later build may read them.
    pub fn needs_repair(&self) -> bool {
        !self.is_clean() && self.unknown_since().is_none()
    }

    /// Makes the record at `position` the last one of the partition.
    fn end(&mut self, position: Position, last: Last) {
        if self.clean.get() == Some(position.partition) {
            self.clean = Partition::NONE;
        }
        if self.ends.is_some() || last != Last::Value || position.partition != self.last_partition {
            self.ends_mut().set(position.partition, last);
        }
        self.ends.take_if(|ends| ends.is_one_value());
        (self.last_offset, self.last_partition) = (position.offset, position.partition);
    }

    fn ends_mut(&mut self) -> &mut Ends {
        self.ends.get_or_insert_with(|| Box::new(Ends::of_value(self.last_partition)))
    }

    fn into_ends(self) -> Ends {
        self.ends.map_or_else(|| Ends::of_value(self.last_partition), |ends| *ends)
    }

    fn was_read(&self, position: Position) -> bool {
        position.partition == self.last_partition && position.offset <= self.last_offset
    }

    /// Returns the position of the last record of the key.
    pub fn last(&self) -> Position {
        Position { partition: self.last_partition, offset: self.last_offset }
    }

    /// Returns whether compaction keeps the state. For a user who exists, the last record on one of the key's
    /// partitions yields the state by itself. For a forgotten one, the last record on each of them is a tombstone of
    /// that forgetting: values before another record would stay.
    pub fn is_clean(&self) -> bool {
        let rank = self.roll.rank();
        if !rank.is_forgotten() {
            return self.clean.get().is_some();
        }
        self.ends.as_ref().is_some_and(|ends| ends.all_forget(rank.time()))
    }

    /// Returns the tombstones of a forgotten user that the key's partitions end in. They must not expire.
    pub fn tombstone(&self) -> Option<Tombstone> {
        let rank = self.roll.rank();
        self.ends.as_ref().filter(|_| rank.is_forgotten())?.tombstone(rank.time())
    }

    /// Returns the partitions on which a forgotten user's tombstone must be last: each that holds the key, but those
    /// that end in a record that is unknown to this build. Empty for a user who exists.
    pub fn forgotten_on(&self) -> Vec<i32> {
        match &self.ends {
            _ if !self.roll.rank().is_forgotten() => Vec::new(),
            Some(ends) => ends.known().collect(),
            None => vec![self.last_partition],
        }
    }

    /// Returns the Kafka timestamp from which the key ends in records that are unknown to this build. Such a key must
    /// not be repaired, because only a later build knows the effect of these records.
    pub fn unknown_since(&self) -> Option<UnixMillis> {
        self.ends.as_ref()?.unknown_since()
    }
}
