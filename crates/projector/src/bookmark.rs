//! Where a reader of changes goes on: how far it has read, and in which log.

use std::fmt;
use std::str::FromStr;

use domain::{Checkpoint, PositionError};
use sha2::{Digest as _, Sha256};

/// Names the log of one topic: positions do not differ between topics, or between a topic and its recreation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicTag(u32);

/// The place that a subscription goes on from. Its text form, the `id` of an event, is `0:18,1:7@5d41402a`: a
/// checkpoint and a tag.
///
/// Without a tag, as an older version wrote it or a person does, a bookmark is taken for one of this log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bookmark {
    pub checkpoint: Checkpoint,
    pub topic: Option<TopicTag>,
}

/// Why a text cannot be read as a bookmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookmarkError {
    #[error("{0}")]
    Checkpoint(PositionError),
    #[error("expected eight hexadecimal digits after @")]
    Tag,
}

impl TopicTag {
    /// Returns the tag of a topic's identity (`kafka::topics::Description::identity`): the same at every replica, in
    /// every version.
    pub(crate) fn of(identity: &str) -> Self {
        let digest = Sha256::digest(identity);
        Self(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
    }
}

impl From<Checkpoint> for Bookmark {
    fn from(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, topic: None }
    }
}

impl FromStr for Bookmark {
    type Err = BookmarkError;

    fn from_str(text: &str) -> Result<Self, BookmarkError> {
        let (checkpoint, tag) = text.split_once('@').map_or((text, None), |(checkpoint, tag)| (checkpoint, Some(tag)));
        let topic = |tag: &str| {
            let plain = tag.len() == 8 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u32::from_str_radix(tag, 16).ok()).flatten().map(TopicTag).ok_or(BookmarkError::Tag)
        };
        let checkpoint = checkpoint.parse().map_err(BookmarkError::Checkpoint)?;
        Ok(Self { checkpoint, topic: tag.map(topic).transpose()? })
    }
}

impl fmt::Display for Bookmark {
    /// One that covers nothing is of no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.topic {
            Some(TopicTag(tag)) if !self.checkpoint.is_empty() => write!(f, "{}@{tag:08x}", self.checkpoint),
            Some(_) | None => self.checkpoint.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_is_a_checkpoint_with_a_tag_or_without() {
        for text in ["", "0:18", "0:18,1:7@5d41402a", "0:0@00000001"] {
            assert_eq!(text.parse::<Bookmark>().unwrap().to_string(), text);
        }
        assert_eq!("@5d41402a".parse::<Bookmark>().unwrap().to_string(), "");
        for text in ["x", "0:18@", "0:18@5d41402", "0:18@5d41402g", "0:18@+d41402a", "0:18@5d41402a@5d41402a", "@"] {
            assert!(text.parse::<Bookmark>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_tag_never_changes_with_the_version() {
        let bookmark = |identity| Bookmark { checkpoint: "0:1".parse().unwrap(), topic: Some(TopicTag::of(identity)) };
        assert_eq!(bookmark("hello").to_string(), "0:1@2cf24dba");
        assert_ne!(TopicTag::of("c/t"), TopicTag::of("c/u"));
    }
}
