//! Where a reader of changes goes on: how far it has read, and in which log.

use std::fmt;

use domain::{Checkpoint, Positions, TopicId};

/// Stands for a log that cannot be this one: Kafka gives no topic the id zero.
const NO_TOPIC: TopicId = TopicId::from_bytes([0; 16]);

/// The place that a subscription goes on from. Its text form, the `id` of an event, is a list of positions
/// ([`Positions`]): `<topic id>/<base64url>`.
///
/// Without a topic, as a program that embeds the projection may have it, it is taken for one of this log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bookmark {
    pub checkpoint: Checkpoint,
    pub topic: Option<TopicId>,
}

impl Bookmark {
    /// Returns the bookmark in the `id` of an event; an empty one is the beginning. An id that cannot be read is of
    /// another log: a browser that came back would never retry an error.
    pub fn from_id(id: &str) -> Self {
        if id.is_empty() {
            return Self::default();
        }
        match id.parse() {
            Ok(Positions { topic, checkpoint }) => Self { checkpoint, topic: Some(topic) },
            Err(_) => Self { checkpoint: Checkpoint::default(), topic: Some(NO_TOPIC) },
        }
    }

    /// Returns whether it is of an id that cannot be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.topic == Some(NO_TOPIC)
    }
}

impl From<Checkpoint> for Bookmark {
    fn from(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, topic: None }
    }
}

impl fmt::Display for Bookmark {
    /// One without a topic covers nothing, for those who read it elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.topic {
            Some(topic) => Positions { topic, checkpoint: self.checkpoint.clone() }.fmt(f),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_list_of_positions_or_of_another_log() {
        let bookmark =
            Bookmark { checkpoint: "0:18@3,1:7".parse().unwrap(), topic: Some(TopicId::from_bytes([1; 16])) };
        assert_eq!(Bookmark::from_id(&bookmark.to_string()), bookmark);
        assert_eq!(Bookmark::from_id(""), Bookmark::default());
        for id in ["0:18,1:7", "0:18,1:7@5d41402a", "x", "/", "AAAAAAAAAAAAAAAAAAAAAQ/0:18"] {
            let read = Bookmark::from_id(id);
            assert_eq!((read.topic, read.checkpoint.is_empty()), (Some(NO_TOPIC), true), "{id}");
        }
    }
}
