//! The identity of a log.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Kafka's id of a topic: a topic that was deleted and created again under its name has another id, and so has one of
/// another cluster. Its text form is Kafka's own, the URL-safe base64 of its 16 bytes without padding: 22 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId([u8; 16]);

/// A log: a topic, and the cluster that it is on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogId {
    pub cluster: String,
    pub topic: TopicId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a topic id has 22 characters of URL-safe base64")]
pub struct TopicIdError;

impl TopicId {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the id of a topic on a broker that has no topic ids (the embedded one, Kafka before 2.8): the same for
    /// everybody, another one on another cluster, and the same for a topic that was created again.
    pub fn derived(cluster: &str, topic: &str) -> Self {
        let digest = Sha256::new().chain_update(cluster).chain_update("/").chain_update(topic).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(bytes)
    }
}

impl FromStr for TopicId {
    type Err = TopicIdError;

    fn from_str(text: &str) -> Result<Self, TopicIdError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TopicIdError)?;
        Ok(Self(bytes.try_into().map_err(|_| TopicIdError)?))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 22];
        let length = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

impl fmt::Display for LogId {
    /// `<cluster id>/<topic id>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.topic)
    }
}

impl FromStr for LogId {
    type Err = TopicIdError;

    fn from_str(text: &str) -> Result<Self, TopicIdError> {
        let (cluster, topic) = text.rsplit_once('/').ok_or(TopicIdError)?;
        Ok(Self { cluster: cluster.to_owned(), topic: topic.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_kafkas_own_text() {
        // As `kafka-topics.sh --describe` prints one.
        for text in ["AAAAAAAAAAAAAAAAAAAAAQ", "zuQxo-W8SfmGVIR3p0wXVg", "_____________________w"] {
            assert_eq!(text.parse::<TopicId>().unwrap().to_string(), text);
        }
        for text in
            ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAQ==", "AAAAAAAAAAAAAAAAAAAAAAAA", "a/b", "users"]
        {
            assert_eq!(text.parse::<TopicId>(), Err(TopicIdError), "{text}");
        }
        let log = LogId { cluster: "c/d".to_owned(), topic: TopicId::from_bytes([7; 16]) };
        assert_eq!(log.to_string().parse(), Ok(log));
    }

    #[test]
    fn a_derived_id_never_changes_with_the_version() {
        assert_eq!(TopicId::derived("c", "t").to_string(), "gWuRbd8jrCQfnDIBF4JUWg");
        assert_ne!(TopicId::derived("c", "t"), TopicId::derived("c", "u"));
    }
}
