//! A record that was read, owned.

use std::borrow::Cow;

use domain::headers::SECOND;
use domain::roll::{self, Reading, Unread};
use domain::wire::{Framed, Ids};
use domain::{Position, UnixMillis};

use crate::native::Message;

/// One record of a topic, with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub position: Position,
    /// The epoch of the leader that appended the record; `None` where the broker does not tell.
    pub leader_epoch: Option<i32>,
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
        Self { headers, ..Self::copy_bare(message) }
    }

    /// Copies a record of the topic of users without the headers of a delivery, which its reader has no need of.
    /// (librdkafka parses all headers of a record on the first access. That and their copies take longer than the
    /// rest.)
    pub(crate) fn copy_for_state(message: Message<'_>) -> Self {
        let is_delivery = message.value().is_some_and(|value| roll::is_delivery(value, message.timestamp()));
        if is_delivery { Self::copy_bare(message) } else { Self::copy(message) }
    }

    fn copy_bare(message: Message<'_>) -> Self {
        Self {
            position: message.position(),
            leader_epoch: message.leader_epoch(),
            timestamp: message.timestamp(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.value().map(<[u8]>::to_vec),
            headers: Vec::new(),
        }
    }

    /// Returns the approximate size of the record in bytes, for limits on batches.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        headers + self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }
}

impl Framed for Record {
    fn unlisted(&self, ids: &Ids) -> impl Iterator<Item = u32> {
        let second = self.header(SECOND).map(|header| ids.unlisted_in_second(header)).unwrap_or_default();
        self.value.as_deref().and_then(|value| ids.unlisted(value)).into_iter().chain(second)
    }

    fn translate(&mut self, ids: &Ids) {
        replace(self.value.as_mut(), |value| ids.translate(value));
        let second = self.headers.iter_mut().rev().find(|(name, _)| name == SECOND);
        replace(second.map(|(_, header)| header), |header| ids.translate_second(header));
    }
}

fn replace(bytes: Option<&mut Vec<u8>>, translate: impl Fn(&[u8]) -> Cow<'_, [u8]>) {
    if let Some(bytes) = bytes
        && let Cow::Owned(translated) = translate(bytes)
    {
        *bytes = translated;
    }
}
