//! The headers of a record: CloudEvents 1.0, Kafka protocol binding, binary content mode.

use crate::{EventId, EventType, UnixMillis, UserEvent, UserId};

pub const CE_SPECVERSION: &str = "ce_specversion";
pub const CE_ID: &str = "ce_id";
pub const CE_TYPE: &str = "ce_type";
pub const CE_SOURCE: &str = "ce_source";
/// When the event occurred, RFC 3339. The record's Kafka timestamp is the time of receipt.
pub const CE_TIME: &str = "ce_time";
pub const CONTENT_TYPE: &str = "content-type";
/// The trace of the delivery: W3C Trace Context, in the CloudEvents distributed tracing extension.
pub const TRACEPARENT: &str = "traceparent";
/// On a record that the keeper appended again: the offset of the record that it repairs.
pub const REASSERTED: &str = "rollcall-reasserted";
/// On the record of a replayed dead letter: when the body was first received, RFC 3339. The record's Kafka timestamp is
/// the time of the replay.
pub const LETTER_RECEIVED_AT: &str = "rollcall-letter-received-at";
/// On a record of the state topic: the copy of the event that the state comes from
/// ([`crate::roll::Member::copy_name`]).
pub const WINNER: &str = "rollcall-winner";
/// On the record that ends a tied second: the other events of that second ([`crate::roll::second`]).
pub const SECOND: &str = "rollcall-second";

/// The CloudEvents source of every record: a URI reference that names the vendor's event stream.
pub const SOURCE: &str = "/vcc-live/users";
pub const TYPE_CREATED: &str = "live.vcc.user.created";
pub const TYPE_CHANGED: &str = "live.vcc.user.changed";
pub const TYPE_IMPORTED: &str = "live.vcc.user.imported";
pub const TYPE_FORGOTTEN: &str = "live.vcc.user.forgotten";
/// Media type of an Avro value, from the CloudEvents Avro format.
pub const AVRO: &str = "application/avro";
/// Media type of a JSON value (RFC 8259).
pub const JSON: &str = "application/json";

/// Returns the headers of the record of `event`.
pub fn for_event(event: &UserEvent, traceparent: Option<&str>) -> Vec<(&'static str, String)> {
    let kind = match event.kind {
        EventType::Created => TYPE_CREATED,
        EventType::Changed => TYPE_CHANGED,
        EventType::Imported => TYPE_IMPORTED,
    };
    let mut headers = cloud_event(event.event_id, kind, event.occurred_at);
    headers.push((CONTENT_TYPE, AVRO.to_owned()));
    headers.extend(traceparent.map(|trace| (TRACEPARENT, trace.to_owned())));
    headers
}

/// Returns the headers of the tombstone that forgets `user_id` at `at`.
pub fn for_forgotten(user_id: UserId, at: UnixMillis) -> Vec<(&'static str, String)> {
    let id = EventId::of_text(&format!("{user_id}\n{TYPE_FORGOTTEN}\n{at}"));
    cloud_event(id, TYPE_FORGOTTEN, at)
}

fn cloud_event(id: EventId, kind: &str, at: UnixMillis) -> Vec<(&'static str, String)> {
    vec![
        (CE_SPECVERSION, "1.0".to_owned()),
        (CE_ID, id.to_string()),
        (CE_TYPE, kind.to_owned()),
        (CE_SOURCE, SOURCE.to_owned()),
        (CE_TIME, at.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Facts, User};

    fn value<'h>(headers: &'h [(&str, String)], name: &str) -> Option<&'h str> {
        headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn an_event_carries_the_required_attributes() {
        let event = UserEvent::new(Facts {
            old: None,
            new: User::new(UserId::new(180).unwrap()),
            timestamp: "2017-06-06T10:53:43+02:00".into(),
            received_at: UnixMillis::from_millis(0),
            password_changed: false,
            extra: Default::default(),
            omitted: Vec::new(),
        })
        .unwrap();
        let headers = for_event(&event, Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        assert_eq!(value(&headers, CE_SPECVERSION), Some("1.0"));
        assert_eq!(value(&headers, CE_TYPE), Some("live.vcc.user.created"));
        assert_eq!(value(&headers, CE_TIME), Some("2017-06-06T08:53:43Z"));
        assert_eq!(value(&headers, CE_ID), Some(event.event_id.to_string().as_str()));
        assert!(value(&headers, TRACEPARENT).is_some());
        assert!(value(&for_event(&event, None), TRACEPARENT).is_none());
        let imported = for_event(&UserEvent { kind: EventType::Imported, ..event }, None);
        assert_eq!(value(&imported, CE_TYPE), Some("live.vcc.user.imported"));
    }

    #[test]
    fn a_tombstone_says_when_and_of_what_kind() {
        let headers = for_forgotten(UserId::new(180).unwrap(), UnixMillis::from_millis(1_000));
        assert_eq!(value(&headers, CE_TYPE), Some("live.vcc.user.forgotten"));
        assert_eq!(value(&headers, CE_TIME), Some("1970-01-01T00:00:01Z"));
        assert_eq!(value(&headers, CONTENT_TYPE), None, "there is no content");
    }
}
