//! The name of a record outside the process.

use std::fmt;
use std::str::FromStr;

use super::{Position, PositionError, TopicId, parse_with_epoch};

/// The place of a record, with its topic: unique for ever. Its text form is
/// `<topic id>/<partition>:<offset>[@<leader epoch>]`.
///
/// ```
/// let text = "zuQxo-W8SfmGVIR3p0wXVg/3:1042@7";
/// let named: domain::TopicPosition = text.parse()?;
/// assert_eq!((named.position.partition, named.position.offset, named.epoch), (3, 1042, Some(7)));
/// assert_eq!(named.to_string(), text);
/// # Ok::<(), domain::PositionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicPosition {
    pub topic: TopicId,
    pub position: Position,
    /// The epoch of the leader that appended the record. Who appends a record does not learn it, who reads it does.
    pub epoch: Option<i32>,
}

impl TopicId {
    /// Returns the name of the record at `position`, for those who do not know its epoch.
    pub fn at(self, position: Position) -> TopicPosition {
        TopicPosition { topic: self, position, epoch: None }
    }
}

impl FromStr for TopicPosition {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (topic, rest) = text.split_once('/').ok_or(PositionError::Malformed)?;
        let (position, epoch) = parse_with_epoch(rest)?;
        Ok(Self { topic: topic.parse()?, position, epoch })
    }
}

impl fmt::Display for TopicPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.position)?;
        self.epoch.map_or(Ok(()), |epoch| write!(f, "@{epoch}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_grammar() {
        const TOPIC: &str = "zuQxo-W8SfmGVIR3p0wXVg";
        for rest in ["0:0", "0:17@0", "3:1042@2147483647"] {
            let text = format!("{TOPIC}/{rest}");
            assert_eq!(text.parse::<TopicPosition>().unwrap().to_string(), text);
        }
        for rest in ["", "0", "0:17@", "0:17@-1", "0:17@2147483648", "0:17@1@1", "0:17,1:6"] {
            assert_eq!(format!("{TOPIC}/{rest}").parse::<TopicPosition>(), Err(PositionError::Malformed), "{rest}");
        }
        for text in ["users/0:17", "/0:17"] {
            assert!(matches!(text.parse::<TopicPosition>(), Err(PositionError::Topic(_))), "{text}");
        }
        assert_eq!("0:17".parse::<TopicPosition>(), Err(PositionError::Malformed));
    }
}
