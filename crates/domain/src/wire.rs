//! The bytes of a record's value: Avro binary after one of two framings that name the writer's schema ([`Framing`]).
//!
//! ```text
//! C3 01 | CRC-64-AVRO of the schema, 8 bytes little-endian | Avro binary     Avro 1.12, "Single-object encoding"
//! 00    | id in a schema registry, 4 bytes big-endian      | Avro binary     Confluent's framing
//! ```
//!
//! The fingerprint names `schemas/user-event.v1.avsc` as Java and fastavro compute it, so a generic reader finds the
//! schema. Readers take both framings, mixed. [`Ids`] knows the schemas of a registry by their ids, and translates a
//! value to the single-object encoding of the newest release; everything else reads that encoding alone.
//!
//! Invariant: a released schema file is never edited, and every released version stays readable. `schemas/golden` holds
//! bytes of each version, with a test that they still decode to the same values.

mod schema;

mod v1;

mod write;

mod digest;

mod head;

mod current;

mod whole;

mod facets;

mod framing;

mod flat;

mod ids;

mod foreign;

mod error;

use crate::{Head, UserEvent};

use framing::Name;

pub use current::Current;
pub use error::DecodeError;
pub use facets::Facets;
pub use flat::{Flat, STATE_SCHEMA};
pub use framing::{Framing, MARKER, schema_id};
pub use ids::{Framed, Ids, Listed, Translated};
pub use schema::{NAME, SCHEMA_V1, SCHEMAS};

/// Returns `event` in the newest released version, in single-object encoding.
///
/// ```
/// # use domain::{wire, Facts, UnixMillis, User, UserEvent, UserId};
/// # let facts = Facts { old: None, new: User::new(UserId::new(180)?), timestamp: "2017-06-06T10:53:43+02:00".into(),
/// #     received_at: UnixMillis::from_millis(0), password_changed: false, extra: Default::default(),
/// #     omitted: Vec::new() };
/// # let event = UserEvent::new(facts)?;
/// let bytes = wire::encode(&event);
/// assert_eq!(wire::decode(&bytes)?, event);
/// assert_eq!(wire::decode_head(&bytes)?, event.head());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode(event: &UserEvent) -> Vec<u8> {
    Framing::SingleObject.encode(event)
}

/// Returns the event in `bytes`, written by any released version, in single-object encoding.
///
/// # Errors
/// [`DecodeError`], by the fault in the bytes.
pub fn decode(bytes: &[u8]) -> Result<UserEvent, DecodeError> {
    let mut datum = datum(bytes)?;
    let event = v1::read(&mut datum)?;
    if datum.is_empty() { Ok(event) } else { Err(DecodeError::Trailing(datum.len())) }
}

/// Returns the head of the event in `bytes`, at a small part of the cost of [`decode`]. The remaining bytes are not
/// read.
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

/// Returns the head of the event in `bytes`, once all of them have been read as an event.
///
/// # Errors
/// As [`decode`].
pub fn check(bytes: &[u8]) -> Result<Head, DecodeError> {
    match whole::head(datum(bytes)?) {
        Some(head) => Ok(head),
        None => decode(bytes).map(|event| event.head()),
    }
}

/// Returns the state after the event in `bytes`, borrowed from them, at a small part of the cost of [`decode`]. The
/// fields after it, such as the state before, are not read.
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

/// Returns the searchable fields of a user, borrowed from `bytes`.
///
/// # Errors
/// As [`decode_current`].
pub fn facets(bytes: &[u8]) -> Result<Facets<'_>, DecodeError> {
    decode_current(bytes).map(Facets::from)
}

/// Returns the bytes after the framing of a value that could be decoded.
pub(crate) fn unframed(bytes: &[u8]) -> &[u8] {
    datum(bytes).unwrap_or_default()
}

fn datum(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match framing::split(bytes)? {
        (Name::Fingerprint(fingerprint), datum) if fingerprint == schema::v1().fingerprint => Ok(datum),
        (Name::Fingerprint(fingerprint), _) => Err(DecodeError::UnknownSchema(hex::encode(fingerprint))),
        (Name::Id(id), _) => Err(DecodeError::UnknownId(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventType, User, UserId};

    const GOLDEN: &[u8] = include_bytes!("../../../schemas/golden/v1/user-changed.avro");
    const FRAME_LEN: usize = 10;

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

    /// Appends a long in Avro's encoding.
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

    fn put_bytes(datum: &mut Vec<u8>, bytes: &[u8]) {
        put(datum, i64::try_from(bytes.len()).unwrap());
        datum.extend(bytes);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_head_read_by_hand_is_the_library_s_head(
            user_id in proptest::prelude::prop_oneof![3 => 0..5_000_i64, 1 => proptest::num::i64::ANY],
            kind in "created|changed|imported|CREATED|[a-z]{0,3}",
            times in proptest::array::uniform2(proptest::num::i64::ANY),
            version in proptest::collection::vec(proptest::num::u8::ANY, 15..18),
            parent in proptest::prelude::prop_oneof![4 => 0..2_i64, 1 => -1..3_i64],
            id in "[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}|[a-z]{0,3}",
        ) {
            let mut datum = Vec::new();
            put(&mut datum, user_id);
            put_bytes(&mut datum, kind.as_bytes());
            put(&mut datum, times[0]);
            put_bytes(&mut datum, &version);
            put(&mut datum, parent);
            if parent == 1 {
                put_bytes(&mut datum, &version);
            }
            put_bytes(&mut datum, id.as_bytes());
            put(&mut datum, times[1]);
            let (by_hand, library) = (head::take(&mut datum.as_slice()), v1::read_head(&mut datum.as_slice()));
            let sound = UserId::new(user_id).is_ok() && EventType::named(&kind).is_some()
                && version.len() == 16 && [0, 1].contains(&parent) && id.len() == 36;
            proptest::prop_assert_eq!(by_hand.is_some(), sound);
            proptest::prop_assert_eq!(by_hand, library.ok());
        }
    }

    #[test]
    fn a_type_or_a_digest_of_another_kind_has_an_error_of_its_own() {
        let event = decode(GOLDEN).unwrap();
        let text = event.kind.as_str().as_bytes();
        let at = GOLDEN.windows(text.len()).position(|window| window == text).unwrap();
        let mut later = GOLDEN.to_vec();
        later.splice(at..at + text.len(), *b"archive");
        for error in [decode(&later).err(), decode_head(&later).err(), decode_current(&later).err()] {
            assert!(matches!(error, Some(DecodeError::UnknownType(kind)) if kind == "archive"));
        }
        let version = event.version.as_bytes();
        let at = GOLDEN.windows(16).position(|window| window == version).unwrap();
        let mut shorter = GOLDEN.to_vec();
        shorter.splice(at - 1..=at, [15 << 1]);
        for error in [decode(&shorter).err(), decode_head(&shorter).err(), decode_current(&shorter).err()] {
            assert!(matches!(error, Some(DecodeError::Avro(_))));
        }
    }

    #[test]
    fn a_state_read_by_hand_is_the_library_s_whatever_the_bytes() {
        let mut full = decode(GOLDEN).unwrap();
        full.new.message_lists = Some(vec!["technical".into(), "márketing".into()]);
        full.new.mobile_project_id = Some(-7);
        full.new.is_agent = None;
        full.new.extra = [("team", "1"), ("skills", "[]")].map(|(name, text)| (name.into(), text.into())).into();
        full.extra = [("source", "\"é\"")].map(|(name, text)| (name.into(), text.into())).into();
        full.omitted = vec!["hourly".into()];
        let bare = UserEvent { new: User::new(full.user_id), parent: None, old: None, ..full.clone() };
        for event in [decode(GOLDEN).unwrap(), full, bare] {
            let bytes = encode(&event);
            let datum = &bytes[FRAME_LEN..];
            let by_hand = current::read(datum).expect("a valid datum is read by hand");
            assert_eq!(by_hand, v1::read_current(&mut { datum }).unwrap());
            assert_eq!(whole::head(datum), Some(event.head()));
            for end in 0..datum.len() {
                for bit in 0..8 {
                    let mut flipped = datum.to_vec();
                    flipped[end] ^= 1 << bit;
                    for datum in [&flipped[..], &flipped[..end]] {
                        if let Some(by_hand) = current::read(datum) {
                            assert_eq!(v1::read_current(&mut { datum }).unwrap(), by_hand, "bit {bit} of byte {end}");
                        }
                        if let Some(head) = whole::head(datum) {
                            let framed = [&bytes[..FRAME_LEN], datum].concat();
                            assert_eq!(decode(&framed).unwrap().head(), head, "bit {bit} of byte {end}");
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
    fn frames_are_distinguished() {
        let mut other = GOLDEN.to_vec();
        other[2] ^= 1;
        assert!(matches!(decode(&other), Err(DecodeError::UnknownSchema(_))));
        other[0] = 0;
        assert!(matches!(decode(&other), Err(DecodeError::UnknownId(_))));
        assert!(matches!(decode(&other[..4]), Err(DecodeError::NoMarker)));
        other[0] = 1;
        assert!(matches!(decode(&other), Err(DecodeError::NoMarker)));
        assert!(matches!(decode(&[]), Err(DecodeError::NoMarker)));
        let longer = [GOLDEN, &[0]].concat();
        assert!(matches!(decode(&longer), Err(DecodeError::Trailing(1))));
    }
}
