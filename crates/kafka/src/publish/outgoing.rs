//! The records to be published.

use domain::wire::Framing;
use domain::{Letter, UnixMillis, UserEvent, UserId, headers};

use crate::Record;

/// A record to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: String,
    pub key: Vec<u8>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Kafka's timestamp of the record: the time of receipt.
    pub timestamp: UnixMillis,
    /// `None` places the record by its key. Set for a record that must follow others on their partition.
    pub partition: Option<i32>,
}

impl Outgoing {
    /// Returns the record of `event` for `topic` in single-object encoding, with the trace of its delivery.
    pub fn event(event: &UserEvent, topic: &str, traceparent: Option<&str>) -> Self {
        Self::framed(event, Framing::SingleObject, topic, traceparent)
    }

    /// Returns the record of `event` for `topic`, in this framing and with the trace of its delivery.
    pub fn framed(event: &UserEvent, framing: Framing, topic: &str, traceparent: Option<&str>) -> Self {
        Self {
            topic: topic.to_owned(),
            key: event.user_id.to_string().into_bytes(),
            value: Some(framing.encode(event)),
            headers: owned(headers::for_event(event, traceparent)),
            timestamp: event.received_at,
            partition: None,
        }
    }

    /// Returns the tombstone that forgets `user_id` as of `at`, appended at `now`.
    pub fn forgotten(user_id: UserId, topic: &str, at: UnixMillis, now: UnixMillis) -> Self {
        Self {
            topic: topic.to_owned(),
            key: user_id.to_string().into_bytes(),
            value: None,
            headers: owned(headers::for_forgotten(user_id, at)),
            timestamp: now,
            partition: None,
        }
    }

    /// Returns the record of a dead letter for `topic`.
    pub fn letter(letter: &Letter, topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            key: letter.key().into_bytes(),
            value: Some(letter.body.clone()),
            headers: letter.headers(),
            timestamp: letter.received_at,
            partition: None,
        }
    }

    /// Returns a copy of a record, to be appended to the same partition.
    pub fn again(topic: &str, record: Record) -> Self {
        Self {
            topic: topic.to_owned(),
            key: record.key.unwrap_or_default(),
            value: record.value,
            headers: record.headers,
            timestamp: record.timestamp,
            partition: Some(record.position.partition),
        }
    }
}

fn owned(headers: Vec<(&str, String)>) -> Vec<(String, Vec<u8>)> {
    headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect()
}
