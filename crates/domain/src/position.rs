//! Places in the log: of one record, and of one reader.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The place of a record in a topic. Its text form is `<partition>:<offset>`.
///
/// ```
/// let position: domain::Position = "3:1042".parse()?;
/// assert_eq!((position.partition, position.offset), (3, 1042));
/// # Ok::<(), domain::PositionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// The progress of a reader: for each partition, the offset of the next record to read. Its text form is `0:18,1:7`.
///
/// | held | asked | answer |
/// | --- | --- | --- |
/// | `0:18` | `covers(0:17)` | yes: 17 has been read |
/// | `0:18` | `covers(0:18)` | no: 18 is the next |
/// | `0:18` | `covers(1:0)` | no: partition 1 has not been started |
/// | `0:18` | `advance(0:18)` | `0:19` |
/// | `0:18` | `advance(0:25)` | `0:26`: compaction leaves holes |
/// | `0:18` | `advance(0:17)` | refused: it was read already |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint(BTreeMap<i32, i64>);

/// The reason why a text is not a position or checkpoint, or why a checkpoint does not advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    #[error("not of the form <partition>:<offset>, both whole numbers from 0")]
    Malformed,
    #[error("partition {0} appears twice")]
    Repeated(i32),
    #[error("{read} was read already: the next record is at offset {next}")]
    Backwards { read: Position, next: i64 },
}

impl Checkpoint {
    /// Returns the checkpoint with these next offsets.
    pub fn from_next_offsets(next: impl IntoIterator<Item = (i32, i64)>) -> Self {
        Self(next.into_iter().collect())
    }

    /// Returns the offset of the next record to read from `partition`, or `None` before its first record.
    pub fn next(&self, partition: i32) -> Option<i64> {
        self.0.get(&partition).copied()
    }

    /// Returns whether the record at `position` has been read.
    pub fn covers(&self, position: Position) -> bool {
        self.next(position.partition).is_some_and(|next| position.offset < next)
    }

    /// Moves past the record at `read`.
    ///
    /// # Errors
    /// [`PositionError::Backwards`] when the record was read before. The checkpoint is then unchanged.
    pub fn advance(&mut self, read: Position) -> Result<(), PositionError> {
        match self.next(read.partition) {
            Some(next) if read.offset < next => Err(PositionError::Backwards { read, next }),
            _ => {
                self.0.insert(read.partition, read.offset + 1);
                Ok(())
            }
        }
    }

    /// Moves `partition` forward to `next`, the offset of its end. Does nothing if it is further already.
    pub fn reach(&mut self, partition: i32, next: i64) {
        let held = self.0.entry(partition).or_insert(next);
        *held = next.max(*held);
    }

    /// Yields each partition with the offset of its next record, ordered by partition.
    pub fn iter(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        self.0.iter().map(|(partition, next)| (*partition, *next))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| -> Option<i64> {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        let (partition, offset) = text.split_once(':').ok_or(PositionError::Malformed)?;
        let partition = number(partition).and_then(|p| i32::try_from(p).ok()).ok_or(PositionError::Malformed)?;
        let offset = number(offset).ok_or(PositionError::Malformed)?;
        Ok(Self { partition, offset })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl FromStr for Checkpoint {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut next = BTreeMap::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let Position { partition, offset } = part.parse()?;
            if next.insert(partition, offset).is_some() {
                return Err(PositionError::Repeated(partition));
            }
        }
        Ok(Self(next))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, next)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{partition}:{next}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_two_whole_numbers() {
        for text in ["0:0", "3:1042", "2147483647:9223372036854775807"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        for text in ["", ":", "0", "0:", ":0", "-1:0", "0:-1", "+0:1", "0:1:2", "2147483648:0", "0: 1", "a:b"] {
            assert_eq!(text.parse::<Position>(), Err(PositionError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn checkpoints_read_back_and_refuse_a_partition_twice() {
        for text in ["", "0:18", "0:18,1:7"] {
            assert_eq!(text.parse::<Checkpoint>().unwrap().to_string(), text);
        }
        assert_eq!("0:1,0:2".parse::<Checkpoint>(), Err(PositionError::Repeated(0)));
        assert_eq!("0:1,".parse::<Checkpoint>(), Err(PositionError::Malformed));
    }

    #[test]
    fn the_table_of_the_doc() {
        let at = |text: &str| text.parse::<Position>().unwrap();
        let held: Checkpoint = "0:18".parse().unwrap();
        assert!(held.covers(at("0:17")));
        assert!(!held.covers(at("0:18")));
        assert!(!held.covers(at("1:0")));
        for (read, after) in [("0:18", "0:19"), ("0:25", "0:26"), ("1:4", "0:18,1:5")] {
            let mut next = held.clone();
            next.advance(at(read)).unwrap();
            assert_eq!(next.to_string(), after);
        }
        let mut next = held.clone();
        assert_eq!(next.advance(at("0:17")), Err(PositionError::Backwards { read: at("0:17"), next: 18 }));
        assert_eq!(next, held);
    }

    #[test]
    fn reaching_an_end_never_goes_back() {
        let mut held: Checkpoint = "0:18".parse().unwrap();
        held.reach(0, 5);
        held.reach(1, 3);
        assert_eq!(held.to_string(), "0:18,1:3");
    }
}
