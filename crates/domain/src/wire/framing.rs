//! The bytes before the Avro binary, which name the schema that wrote it.

use super::{DecodeError, schema, write};
use crate::UserEvent;

/// The two bytes that open a single-object encoding.
pub const MARKER: [u8; 2] = [0xc3, 0x01];
/// The length of the marker and the fingerprint.
const SINGLE_OBJECT_LEN: usize = 10;
/// The byte that opens Confluent's framing.
const CONFLUENT: u8 = 0;
/// The length of that byte and the id.
const CONFLUENT_LEN: usize = 5;
/// The capacity for an event: most fit.
const EVENT_BYTES: usize = 768;

/// How a writer names its schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Avro's single-object encoding: by the fingerprint.
    #[default]
    SingleObject,
    /// Confluent's: by the id that a schema registry gave to the newest released version.
    Registered(u32),
}

/// The name of the schema that wrote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name<'b> {
    Fingerprint(&'b [u8]),
    Id(u32),
}

impl Framing {
    /// Returns `event` in the newest released version, in this framing.
    pub fn encode(self, event: &UserEvent) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(EVENT_BYTES);
        match self {
            Self::SingleObject => open_single_object(&mut bytes),
            Self::Registered(id) => open_registered(&mut bytes, id),
        }
        write::event(event, &mut bytes);
        bytes
    }
}

/// Appends the marker and the fingerprint of the newest released version.
pub(super) fn open_single_object(bytes: &mut Vec<u8>) {
    bytes.extend(MARKER);
    bytes.extend(schema::v1().fingerprint);
}

/// Appends Confluent's framing with the id of a schema.
pub(super) fn open_registered(bytes: &mut Vec<u8>, id: u32) {
    bytes.push(CONFLUENT);
    bytes.extend(id.to_be_bytes());
}

/// Returns the name of the schema, and the bytes after the framing.
///
/// # Errors
/// [`DecodeError`] when the bytes open as no framing does.
#[inline]
pub(super) fn split(bytes: &[u8]) -> Result<(Name<'_>, &[u8]), DecodeError> {
    if bytes.starts_with(&MARKER) {
        let (frame, datum) = bytes.split_at_checked(SINGLE_OBJECT_LEN).ok_or(DecodeError::Short)?;
        return Ok((Name::Fingerprint(&frame[MARKER.len()..]), datum));
    }
    let id = schema_id(bytes).ok_or(DecodeError::NoMarker)?;
    Ok((Name::Id(id), &bytes[CONFLUENT_LEN..]))
}

/// Returns the id of the schema that a value in Confluent's framing names. `None` in any other framing.
#[inline]
pub fn schema_id(value: &[u8]) -> Option<u32> {
    let (&CONFLUENT, rest) = value.split_first()? else { return None };
    rest.first_chunk().copied().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framing_is_split_as_it_was_written() {
        let golden = include_bytes!("../../../../schemas/golden/v1/user-changed.avro");
        let event = super::super::decode(golden).unwrap();
        let datum = &golden[SINGLE_OBJECT_LEN..];
        let framed = Framing::Registered(0x0102_0304).encode(&event);
        assert_eq!(framed, [&[0, 1, 2, 3, 4], datum].concat());
        assert_eq!(split(&framed).unwrap(), (Name::Id(0x0102_0304), datum));
        assert_eq!(Framing::SingleObject.encode(&event), golden);
        for (bytes, id) in
            [(&[0, 0, 0, 0][..], None), (&[0, 0, 0, 0, 9], Some(9)), (&[1, 0, 0, 0, 9], None), (&[], None)]
        {
            assert_eq!(schema_id(bytes), id, "{bytes:?}");
        }
    }
}
