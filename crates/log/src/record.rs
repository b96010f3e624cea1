//! A record as it was read, owned.

use domain::{Position, UnixMillis};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

/// One record of a topic, with the place where it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub position: Position,
    /// Kafka's own timestamp of the record; in Rollcall's topics the time of receipt.
    pub timestamp: UnixMillis,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// Returns the value of the last header of that name: a later one overrides an earlier one.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().rev().find(|(header, _)| header == name).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn copy(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| {
                    let value = header.value.unwrap_or_default().to_vec();
                    (header.key.to_owned(), value)
                })
                .collect()
        });
        Self {
            position: Position { partition: message.partition(), offset: message.offset() },
            timestamp: timestamp(message),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }

    /// Returns roughly how many bytes the record holds, for limits on batches.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        headers + self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// Returns the record's timestamp; a record without one (message format 0) counts as written at the epoch.
pub(crate) fn timestamp(message: &BorrowedMessage<'_>) -> UnixMillis {
    UnixMillis::from_millis(message.timestamp().to_millis().unwrap_or(0))
}
