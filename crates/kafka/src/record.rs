//! A record that was read, owned.

use domain::roll::{self, Reading, Unread};
use domain::{Position, UnixMillis};

use crate::native::Message;

/// One record of a topic, with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub position: Position,
    /// Kafka's timestamp of the record; in Rollcall's topics the time of receipt.
    pub timestamp: UnixMillis,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// Returns the value of the last header with that name: a later header overrides an earlier one.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(header, _)| header == name).map(|(_, value)| value.as_slice())
    }

    /// Reads the record as one of the topic of users.
    ///
    /// # Errors
    /// As [`roll::read`].
    pub fn read(&self) -> Result<Reading<'_>, Unread> {
        let (key, value) = (self.key.as_deref(), self.value.as_deref());
        roll::read(self.position, key, value, |name| self.header(name), self.timestamp)
    }

    pub(crate) fn copy(message: Message<'_>) -> Self {
        let mut headers = Vec::new();
        message.for_each_header(|name, value| headers.push((name.to_owned(), value.to_vec())));
        Self {
            position: message.position(),
            timestamp: message.timestamp(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.value().map(<[u8]>::to_vec),
            headers,
        }
    }

    /// Returns the approximate size of the record in bytes, for limits on batches.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        headers + self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }
}
