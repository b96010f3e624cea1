//! The bytes of a record's value: Avro, single-object encoding (Avro 1.12, "Single-object encoding").
//!
//! ```text
//! C3 01 | CRC-64-AVRO of the writer's schema, 8 bytes little-endian | Avro binary
//! ```
//!
//! Invariant: a released schema file is never edited, and every released version can be read for ever; `schemas/golden`
//! holds bytes of each with a test that they still decode to the same values.

mod schema;

mod v1;

mod head;

mod current;

mod facets;

use std::borrow::Cow;

use crate::{EventId, Head, UnixMillis, User, UserEvent};

pub use facets::Facets;
pub use schema::SCHEMA_V1;

/// The two bytes that open a single-object encoding.
pub const MARKER: [u8; 2] = [0xc3, 0x01];

const FRAME_LEN: usize = 10;

/// Why bytes are no user event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("value is shorter than the {FRAME_LEN} bytes that open a single-object encoding")]
    Short,
    #[error("value does not open with the marker C3 01 of a single-object encoding")]
    NoMarker,
    #[error("value is written with a schema that no release has: fingerprint {0}")]
    UnknownSchema(String),
    #[error("value does not follow the schema its fingerprint names")]
    Avro(#[source] Box<apache_avro::Error>),
    #[error("eventId is no UUID")]
    EventId(#[source] uuid::Error),
    #[error("{0} bytes follow the end of the event")]
    Trailing(usize),
}

/// Returns `event` in the newest released version.
///
/// ```
/// # use domain::{wire, Facts, UnixMillis, User, UserEvent, UserId};
/// # let facts = Facts { old: None, new: User::new(UserId::new(180)?), timestamp: "2017-06-06T10:53:43+02:00".into(),
/// #     received_at: UnixMillis::from_millis(0), password_changed: false, extra: Default::default() };
/// # let event = UserEvent::new(facts)?;
/// let bytes = wire::encode(&event);
/// assert_eq!(wire::decode(&bytes)?, event);
/// assert_eq!(wire::decode_head(&bytes)?, event.head());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode(event: &UserEvent) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend(MARKER);
    bytes.extend(schema::v1().fingerprint);
    v1::write(event, &mut bytes);
    bytes
}

/// Returns the event that `bytes` hold, whichever released version wrote them.
///
/// # Errors
/// [`DecodeError`], by what is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<UserEvent, DecodeError> {
    let mut datum = datum(bytes)?;
    let event = v1::read(&mut datum)?;
    if datum.is_empty() { Ok(event) } else { Err(DecodeError::Trailing(datum.len())) }
}

/// Returns the head of the event that `bytes` hold, at a small part of the cost of [`decode`]; the rest is not looked at.
///
/// # Errors
/// As [`decode`], for what it looks at.
pub fn decode_head(bytes: &[u8]) -> Result<Head, DecodeError> {
    let mut datum = datum(bytes)?;
    match head::take(&mut { datum }) {
        Some(head) => Ok(head),
        None => v1::read_head(&mut datum),
    }
}

/// What readers of the current state are shown: the user after the event, and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current<'b> {
    pub occurred_at: UnixMillis,
    pub event_id: EventId,
    pub received_at: UnixMillis,
    pub user: User<Cow<'b, str>>,
}

/// Returns the state that the event in `bytes` made, borrowed from them, at a small part of the cost of [`decode`]; what comes
/// after it, the state before among it, is not looked at.
///
/// # Errors
/// As [`decode`], for what it looks at.
pub fn decode_current(bytes: &[u8]) -> Result<Current<'_>, DecodeError> {
    let mut datum = datum(bytes)?;
    match current::read(datum) {
        Some(current) => Ok(current),
        None => v1::read_current(&mut datum),
    }
}

/// Returns what a table of users is searched by, borrowed from `bytes`.
///
/// # Errors
/// As [`decode_current`].
pub fn facets(bytes: &[u8]) -> Result<Facets<'_>, DecodeError> {
    decode_current(bytes).map(Facets::from)
}

fn datum(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let (frame, datum) = bytes.split_at_checked(FRAME_LEN).ok_or(DecodeError::Short)?;
    let (marker, fingerprint) = frame.split_at(MARKER.len());
    if marker != MARKER {
        return Err(DecodeError::NoMarker);
    }
    if fingerprint != schema::v1().fingerprint {
        return Err(DecodeError::UnknownSchema(hex::encode(fingerprint)));
    }
    Ok(datum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../../schemas/golden/v1/user-changed.avro");

    #[test]
    fn every_cut_of_a_value_is_an_error_not_a_panic() {
        for end in 0..GOLDEN.len() {
            assert!(decode(&GOLDEN[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn a_head_read_by_hand_is_the_library_s_head_whatever_the_bytes() {
        for end in 0..GOLDEN.len() {
            for bit in 0..8 {
                let mut bytes = GOLDEN[FRAME_LEN..].to_vec();
                if let Some(byte) = bytes.get_mut(end) {
                    *byte ^= 1 << bit;
                }
                for datum in [&bytes[..], &bytes[..end.min(bytes.len())]] {
                    if let Some(head) = head::take(&mut { datum }) {
                        assert_eq!(v1::read_head(&mut { datum }).unwrap(), head, "bit {bit} of byte {end}");
                    }
                }
            }
        }
    }

    /// Writes a long as Avro does.
    fn put(datum: &mut Vec<u8>, long: i64) {
        let mut rest = ((long << 1) ^ (long >> 63)).cast_unsigned();
        loop {
            let low = u8::try_from(rest & 0x7f).unwrap();
            rest >>= 7;
            datum.push(if rest == 0 { low } else { low | 0x80 });
            if rest == 0 {
                return;
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_head_read_by_hand_is_the_library_s_head(
            longs in proptest::array::uniform4(proptest::num::i64::ANY),
            small in proptest::array::uniform4(-1..3_i64),
            id in proptest::collection::vec(proptest::num::u8::ANY, 32),
            sane in proptest::bool::ANY,
        ) {
            let mut datum = Vec::new();
            put(&mut datum, if sane { longs[0] & 0xfff } else { longs[0] });
            put(&mut datum, if sane { small[0] & 1 } else { small[0] });
            put(&mut datum, longs[1]);
            datum.extend(&id[..16]);
            let parent = if sane { small[1] & 1 } else { small[1] };
            put(&mut datum, parent);
            if parent == 1 {
                datum.extend(&id[16..]);
            }
            let text = uuid::Uuid::from_slice(&id[..16]).unwrap().to_string();
            put(&mut datum, 36);
            datum.extend(text.bytes());
            let (by_hand, library) = (head::take(&mut datum.as_slice()), v1::read_head(&mut datum.as_slice()));
            proptest::prop_assert_eq!(by_hand, library.ok());
        }
    }

    #[test]
    fn a_state_read_by_hand_is_the_library_s_whatever_the_bytes() {
        let mut full = decode(GOLDEN).unwrap();
        full.new.message_lists = Some(vec!["technical".into(), "márketing".into()]);
        full.new.mobile_project_id = Some(-7);
        full.new.is_agent = None;
        full.new.extra = [("team", "1"), ("skills", "[]")].map(|(name, text)| (name.into(), text.into())).into();
        let bare = UserEvent { new: User::new(full.user_id), parent: None, old: None, ..full.clone() };
        for event in [decode(GOLDEN).unwrap(), full, bare] {
            let bytes = encode(&event);
            let datum = &bytes[FRAME_LEN..];
            let by_hand = current::read(datum).expect("it is as it must be");
            assert_eq!(by_hand, v1::read_current(&mut { datum }).unwrap());
            for end in 0..datum.len() {
                for bit in 0..8 {
                    let mut flipped = datum.to_vec();
                    flipped[end] ^= 1 << bit;
                    for datum in [&flipped[..], &flipped[..end]] {
                        if let Some(by_hand) = current::read(datum) {
                            assert_eq!(v1::read_current(&mut { datum }).unwrap(), by_hand, "bit {bit} of byte {end}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_current_state_is_that_of_the_whole_event() {
        let event = decode(GOLDEN).unwrap();
        let current = decode_current(GOLDEN).unwrap();
        let UserEvent { occurred_at, event_id, received_at, new, .. } = event;
        assert_eq!((current.occurred_at, current.event_id, current.received_at), (occurred_at, event_id, received_at));
        assert_eq!(serde_json::to_value(&current.user).unwrap(), serde_json::to_value(&new).unwrap());
        let facets = facets(GOLDEN).unwrap();
        assert_eq!(facets.username.as_deref(), new.username.as_deref());
        assert_eq!((facets.is_agent, facets.priv_group), (new.is_agent, new.priv_group));
        assert!(decode_current(&GOLDEN[..100]).is_err());
    }

    #[test]
    fn frames_are_told_apart() {
        let mut other = GOLDEN.to_vec();
        other[2] ^= 1;
        assert!(matches!(decode(&other), Err(DecodeError::UnknownSchema(_))));
        other[0] = 0;
        assert!(matches!(decode(&other), Err(DecodeError::NoMarker)));
        assert!(matches!(decode(&[]), Err(DecodeError::Short)));
        let longer = [GOLDEN, &[0]].concat();
        assert!(matches!(decode(&longer), Err(DecodeError::Trailing(1))));
    }
}
