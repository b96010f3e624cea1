//! Writes version 1 by hand, field by field: a fifth of the library's time, which goes through serde and its names. A
//! property test compares the bytes with the library's.

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::{Field, User, UserEvent, Version};

/// The length of the text of a UUID.
const UUID_LEN: usize = 36;
/// The branches of a union of null and another type.
const NULL: i64 = 0;
const VALUE: i64 = 1;

/// Appends the datum of an event.
pub(super) fn event(event: &UserEvent, bytes: &mut Vec<u8>) {
    put_long(event.user_id.get(), bytes);
    put_text(event.kind.as_str(), bytes);
    put_long(event.occurred_at.millis(), bytes);
    put_digest(event.version, bytes);
    put_optional(event.parent, bytes, put_digest);
    put_len(UUID_LEN, bytes);
    write!(bytes, "{}", event.event_id).expect("a Vec takes every byte");
    put_long(event.received_at.millis(), bytes);
    put_text(&event.timestamp, bytes);
    put_boolean(event.password_changed, bytes);
    put_user(&event.new, bytes);
    put_optional(event.old.as_ref(), bytes, put_user);
    put_map(&event.extra, bytes);
    put_texts(&event.omitted, bytes);
}

fn put_user(user: &User, bytes: &mut Vec<u8>) {
    put_long(user.user_id.get(), bytes);
    let [_user_id, optional @ ..] = user.fields();
    for (_, field) in optional {
        match field {
            Field::Text(text) => put_optional(text, bytes, |text, bytes| put_text(text, bytes)),
            Field::Texts(texts) => put_optional(texts, bytes, put_texts),
            Field::Boolean(boolean) => put_optional(boolean, bytes, put_boolean),
            Field::Integer(integer) => put_optional(integer, bytes, put_long),
        }
    }
    put_map(&user.extra, bytes);
}

fn put_optional<T>(value: Option<T>, bytes: &mut Vec<u8>, put: impl FnOnce(T, &mut Vec<u8>)) {
    match value {
        Some(value) => {
            put_long(VALUE, bytes);
            put(value, bytes);
        }
        None => put_long(NULL, bytes),
    }
}

/// Appends an array: one block with the count of its items, and an empty one.
fn put_texts(texts: &[String], bytes: &mut Vec<u8>) {
    if !texts.is_empty() {
        put_len(texts.len(), bytes);
        texts.iter().for_each(|text| put_text(text, bytes));
    }
    put_len(0, bytes);
}

/// Appends a map, in blocks as an array.
fn put_map(members: &BTreeMap<String, String>, bytes: &mut Vec<u8>) {
    if !members.is_empty() {
        put_len(members.len(), bytes);
        for (name, text) in members {
            put_text(name, bytes);
            put_text(text, bytes);
        }
    }
    put_len(0, bytes);
}

fn put_digest(version: Version, bytes: &mut Vec<u8>) {
    put_len(version.as_bytes().len(), bytes);
    bytes.extend_from_slice(version.as_bytes());
}

fn put_text(text: &str, bytes: &mut Vec<u8>) {
    put_len(text.len(), bytes);
    bytes.extend_from_slice(text.as_bytes());
}

fn put_boolean(boolean: bool, bytes: &mut Vec<u8>) {
    bytes.push(boolean.into());
}

fn put_len(length: usize, bytes: &mut Vec<u8>) {
    put_long(i64::try_from(length).expect("memory ends before"), bytes);
}

/// Appends a long: zigzag, seven bits per byte, least significant first (Avro 1.12, "Binary Encoding").
fn put_long(long: i64, bytes: &mut Vec<u8>) {
    let mut rest = ((long << 1) ^ (long >> 63)).cast_unsigned();
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option::of;
    use proptest::prelude::*;

    use super::super::v1;
    use crate::{EventId, EventType, UnixMillis, User, UserEvent, UserId, Version};

    fn user() -> impl Strategy<Value = User> {
        let text = || of(prop_oneof![9 => "\\PC{0,9}", 1 => "[a-z]{60,140}"]);
        let number = || of(prop_oneof![-70_i64..70, any::<i64>()]);
        let id = 0..=crate::SAFE_INTEGER_MAX;
        let lists = of(prop_oneof![9 => vec("\\PC{0,9}", 0..4), 1 => vec("[a-z]", 60..130)]);
        let extra = btree_map("\\PC{0,6}", "[a-z0-9]{0,70}", 0..4);
        let texts = (vec(text(), 10), lists, extra);
        (id, texts, vec(number(), 5), of(any::<bool>())).prop_map(|(id, (texts, lists, extra), numbers, is_agent)| {
            let (mut texts, mut numbers) = (texts.into_iter(), numbers.into_iter());
            let (mut text, mut number) = (|| texts.next().unwrap(), || numbers.next().unwrap());
            User {
                user_id: UserId::new(id).unwrap(),
                contact_phone: text(),
                email: text(),
                extension: text(),
                hourly: number(),
                is_agent,
                message_lists: lists,
                mobile_phone: text(),
                mobile_project_id: number(),
                monthly: number(),
                name: text(),
                outbound_phone: text(),
                priv_group: number(),
                redistribution: number(),
                register_transport: text(),
                sample_rate: text(),
                state: text(),
                username: text(),
                extra,
            }
        })
    }

    prop_compose! {
        fn event()(
            (new, old) in (user(), of(user())),
            kind in prop::sample::select(vec![EventType::Created, EventType::Changed, EventType::Imported]),
            (occurred_at, received_at) in any::<(i64, i64)>(),
            (version, parent) in any::<([u8; 16], Option<[u8; 16]>)>(),
            (timestamp, password_changed) in ("\\PC{0,40}", any::<bool>()),
            extra in btree_map("\\PC{0,6}", "[a-z0-9]{0,70}", 0..4),
            omitted in vec("[a-z]{0,9}", 0..4),
        ) -> UserEvent {
            let parent = parent.map(Version::from_bytes);
            UserEvent {
                user_id: new.user_id,
                kind,
                occurred_at: UnixMillis::from_millis(occurred_at),
                version: Version::from_bytes(version),
                parent,
                event_id: EventId::of_text(&timestamp),
                received_at: UnixMillis::from_millis(received_at),
                timestamp,
                password_changed,
                new,
                old,
                extra,
                omitted,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn the_bytes_are_the_library_s(event in event()) {
            let (mut by_hand, mut by_library) = (Vec::new(), Vec::new());
            super::event(&event, &mut by_hand);
            v1::write(&event, &mut by_library);
            prop_assert_eq!(by_hand, by_library);
        }
    }
}
