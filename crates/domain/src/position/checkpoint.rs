//! The progress of a reader.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Position, PositionError, parse_with_epoch};

/// The progress of a reader: for each partition, the offset of the next record to read, and the leader epoch of the
/// last one that was read, where it is known. Its text form is `0:18@7,1:7`.
///
/// | held | asked | answer |
/// | --- | --- | --- |
/// | `0:18` | `covers(0:17)` | yes: 17 has been read |
/// | `0:18` | `covers(0:18)` | no: 18 is the next |
/// | `0:18` | `covers(1:0)` | no: partition 1 has not been started |
/// | `0:18` | `advance(0:18, 7)` | `0:19@7` |
/// | `0:18@7` | `advance(0:25, 7)` | `0:26@7`: compaction leaves holes |
/// | `0:18` | `advance(0:17, 7)` | refused: it was read already |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint(BTreeMap<i32, Next>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Next {
    offset: i64,
    /// Of the last record read, which is below `offset`.
    epoch: Option<i32>,
}

impl Checkpoint {
    /// Returns the checkpoint with these next offsets, whose epochs are not known.
    pub fn from_next_offsets(next: impl IntoIterator<Item = (i32, i64)>) -> Self {
        Self(next.into_iter().map(|(partition, offset)| (partition, Next { offset, epoch: None })).collect())
    }

    /// Returns the checkpoint with these next offsets, and the epochs of the records before them.
    pub fn from_entries(entries: impl IntoIterator<Item = (i32, i64, Option<i32>)>) -> Self {
        Self(entries.into_iter().map(|(partition, offset, epoch)| (partition, Next { offset, epoch })).collect())
    }

    /// Returns the offset of the next record to read from `partition`, or `None` before its first record.
    pub fn next(&self, partition: i32) -> Option<i64> {
        self.0.get(&partition).map(|next| next.offset)
    }

    /// Returns the leader epoch of the last record that was read from `partition`, where it is known.
    pub fn epoch(&self, partition: i32) -> Option<i32> {
        self.0.get(&partition)?.epoch
    }

    /// Returns whether the record at `position` has been read.
    pub fn covers(&self, position: Position) -> bool {
        self.next(position.partition).is_some_and(|next| position.offset < next)
    }

    /// Moves past the record at `read`, which a leader of that epoch has appended.
    ///
    /// # Errors
    /// [`PositionError::Backwards`] when the record was read before. The checkpoint is then unchanged.
    pub fn advance(&mut self, read: Position, epoch: Option<i32>) -> Result<(), PositionError> {
        match self.next(read.partition) {
            Some(next) if read.offset < next => Err(PositionError::Backwards { read, next }),
            _ => {
                self.0.insert(read.partition, Next { offset: read.offset + 1, epoch });
                Ok(())
            }
        }
    }

    /// Moves `partition` forward to `next`, the offset of its end. Does nothing if it is further already.
    pub fn reach(&mut self, partition: i32, next: i64) {
        let held = self.0.entry(partition).or_insert(Next { offset: next, epoch: None });
        held.offset = next.max(held.offset);
    }

    /// Moves each partition forward to where `other` is, if that is further, with its epoch.
    pub fn reach_all(&mut self, other: &Self) {
        for (partition, next) in &other.0 {
            if self.next(*partition).is_none_or(|held| held < next.offset) {
                self.0.insert(*partition, *next);
            }
        }
    }

    /// Returns whether every record below `other` is below this checkpoint.
    pub fn covers_all(&self, other: &Self) -> bool {
        other.iter().all(|(partition, next)| next <= self.next(partition).unwrap_or(0))
    }

    /// Yields each partition with the offset of its next record, ordered by partition.
    pub fn iter(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        self.0.iter().map(|(partition, next)| (*partition, next.offset))
    }

    /// Yields each partition with the offset of its next record and the epoch of the one before it.
    pub fn entries(&self) -> impl Iterator<Item = (i32, i64, Option<i32>)> + '_ {
        self.0.iter().map(|(partition, next)| (*partition, next.offset, next.epoch))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Checkpoint {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut next = BTreeMap::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (Position { partition, offset }, epoch) = parse_with_epoch(part)?;
            if next.insert(partition, Next { offset, epoch }).is_some() {
                return Err(PositionError::Repeated(partition));
            }
        }
        Ok(Self(next))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, Next { offset, epoch })) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{partition}:{offset}")?;
            if let Some(epoch) = epoch {
                write!(f, "@{epoch}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_read_back_and_refuse_a_partition_twice() {
        for text in ["", "0:18", "0:18,1:7", "0:18@0,1:7@12"] {
            assert_eq!(text.parse::<Checkpoint>().unwrap().to_string(), text);
        }
        assert_eq!("0:1,0:2".parse::<Checkpoint>(), Err(PositionError::Repeated(0)));
        for text in ["0:1,", "0:1@", "0:1@-1", "0:1@x", "0:1@1@1"] {
            assert_eq!(text.parse::<Checkpoint>(), Err(PositionError::Malformed), "{text}");
        }
    }

    #[test]
    fn the_table_of_the_doc() {
        let at = |text: &str| text.parse::<Position>().unwrap();
        let held: Checkpoint = "0:18@6".parse().unwrap();
        assert!(held.covers(at("0:17")));
        assert!(!held.covers(at("0:18")));
        assert!(!held.covers(at("1:0")));
        for (read, after) in [("0:18", "0:19@7"), ("0:25", "0:26@7"), ("1:4", "0:18@6,1:5@7")] {
            let mut next = held.clone();
            next.advance(at(read), Some(7)).unwrap();
            assert_eq!(next.to_string(), after);
        }
        let mut next = held.clone();
        assert_eq!(next.advance(at("0:17"), Some(7)), Err(PositionError::Backwards { read: at("0:17"), next: 18 }));
        assert_eq!(next, held);
    }

    #[test]
    fn reaching_an_end_never_goes_back_and_keeps_the_epoch_of_the_last_record() {
        let mut held: Checkpoint = "0:18@6".parse().unwrap();
        held.reach(0, 5);
        held.reach(1, 3);
        assert_eq!(held.to_string(), "0:18@6,1:3");
        held.reach(0, 20);
        assert_eq!(held.to_string(), "0:20@6,1:3");
        held.reach_all(&"0:19@9,1:4@7,2:0".parse().unwrap());
        assert_eq!(held.to_string(), "0:20@6,1:4@7,2:0");
    }
}
