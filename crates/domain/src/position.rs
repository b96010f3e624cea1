//! Places in the log: of one record, of one reader, and their names outside the process.
//!
//! | type | text | what it is |
//! | --- | --- | --- |
//! | [`Position`] | `3:1042` | a record of a topic that is known from elsewhere |
//! | [`TopicPosition`] | `<topic id>/3:1042@7` | the same outside the process: unique for ever |
//! | [`Checkpoint`] | `0:18@7,1:7` | the progress of a reader, in logs and tests |
//! | [`Positions`] | `<topic id>/<base64url>` | the same outside the process: names its topic once, and is compact |
//!
//! A leader epoch after `@` says which leader of the partition appended the record. A log that loses its end and grows
//! again has other records at the same offsets, and a greater epoch ([`LeaderEpochs`], KIP-320).

mod checkpoint;
mod epochs;
mod list;
mod topic_id;
mod topic_position;

use std::fmt;
use std::str::FromStr;

pub use checkpoint::Checkpoint;
pub use epochs::{EpochMatch, LeaderEpochs};
pub use list::{PARTITIONS_MAX, Positions};
pub use topic_id::{LogId, TopicId, TopicIdError};
pub use topic_position::TopicPosition;

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

/// The reason why a text is not a position or a list of them, or why a checkpoint does not advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    #[error("not of the form <partition>:<offset>[@<leader epoch>], all whole numbers from 0")]
    Malformed,
    #[error(transparent)]
    Topic(#[from] TopicIdError),
    #[error("not a list of positions as the service writes it")]
    MalformedList,
    #[error("partition {0} appears twice")]
    Repeated(i32),
    #[error("{read} was read already: the next record is at offset {next}")]
    Backwards { read: Position, next: i64 },
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (partition, offset) = text.split_once(':').ok_or(PositionError::Malformed)?;
        Ok(Self { partition: number(partition)?, offset: number(offset)? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

/// Reads `<partition>:<offset>[@<leader epoch>]`.
///
/// # Errors
/// [`PositionError::Malformed`].
pub fn parse_with_epoch(text: &str) -> Result<(Position, Option<i32>), PositionError> {
    let (position, epoch) = text.split_once('@').map_or((text, None), |(position, epoch)| (position, Some(epoch)));
    Ok((position.parse()?, epoch.map(number).transpose()?))
}

/// Reads a whole number from 0, digits only.
fn number<T: TryFrom<i64>>(digits: &str) -> Result<T, PositionError> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = plain.then(|| digits.parse::<i64>().ok()).flatten();
    number.and_then(|number| T::try_from(number).ok()).ok_or(PositionError::Malformed)
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
}
