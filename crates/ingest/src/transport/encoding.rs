//! The character encoding of a body. JSON is UTF-8 (RFC 8259, section 8.1); other encodings are recognized, so that a
//! refusal names them and no password stays readable in them.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// The byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The encodings whose JSON has zero bytes, with the bytes of a code unit and whether the first is the least.
const WIDE: [(&str, usize, bool); 4] =
    [("UTF-32", 4, true), ("UTF-32", 4, false), ("UTF-16", 2, true), ("UTF-16", 2, false)];

/// Returns the text without a byte order mark of UTF-8. RFC 8259 lets a reader ignore it.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Returns whether the text is JSON, with any duplicate keys and to any depth that the strict reader would reach.
pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Returns the encoding of a text that is JSON in another encoding than UTF-8.
pub(super) fn foreign(text: &[u8]) -> Option<&'static str> {
    if let Some((encoding, _)) = wide(text).filter(|(_, text)| is_json(text.as_bytes())) {
        return Some(encoding);
    }
    // Encodings of one byte, and some of several, share the syntax of JSON with UTF-8.
    (std::str::from_utf8(text).is_err() && is_json(text)).then_some("an encoding other than UTF-8")
}

/// Returns the text in UTF-8, or unchanged where every byte of ASCII in it is a character. Returns `None` for bytes
/// that may be a text in an unknown encoding.
pub(super) fn readable(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if text.contains(&0) {
        return wide(text).map(|(_, text)| Cow::Owned(text.into_bytes()));
    }
    (std::str::from_utf8(text).is_ok() || is_json(text)).then_some(Cow::Borrowed(text))
}

/// Decodes a text with code units of several bytes, and returns the name of its encoding.
pub(crate) fn wide(text: &[u8]) -> Option<(&'static str, String)> {
    WIDE.iter().find_map(|(name, bytes, is_little)| {
        let units = text.chunks(*bytes).map(|unit| {
            let unit = unit.iter();
            let add = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
            if *is_little { unit.rev().fold(0, add) } else { unit.fold(0, add) }
        });
        if !text.len().is_multiple_of(*bytes) {
            return None;
        }
        let decoded: String = if *bytes == 4 {
            units.map(char::from_u32).collect::<Option<_>>()?
        } else {
            let units = units.map(|unit| u16::try_from(unit).expect("two bytes"));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()?
        };
        // Of the four readings of such a text, only the right one has no zero and has its characters in their places.
        let decoded = decoded.strip_prefix('\u{feff}').unwrap_or(&decoded);
        let is_text = decoded.starts_with(|first: char| first.is_ascii()) && !decoded.contains('\0');
        is_text.then(|| (*name, decoded.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"name":"Zoë"}"#;

    fn utf16(text: &str, mark: bool, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        mark.then_some(0xfeff).into_iter().chain(text.encode_utf16()).flat_map(to_bytes).collect()
    }

    fn utf32(text: &str, to_bytes: fn(u32) -> [u8; 4]) -> Vec<u8> {
        text.chars().flat_map(|character| to_bytes(character.into())).collect()
    }

    #[test]
    fn the_encoding_of_json_is_recognized() {
        let latin1: Vec<u8> = JSON.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
        let table = [
            (JSON.as_bytes().to_vec(), None),
            (utf16(JSON, false, u16::to_le_bytes), Some("UTF-16")),
            (utf16(JSON, true, u16::to_le_bytes), Some("UTF-16")),
            (utf16(JSON, false, u16::to_be_bytes), Some("UTF-16")),
            (utf16(JSON, true, u16::to_be_bytes), Some("UTF-16")),
            (utf32(JSON, u32::to_le_bytes), Some("UTF-32")),
            (utf32(JSON, u32::to_be_bytes), Some("UTF-32")),
            (latin1, Some("an encoding other than UTF-8")),
            (b"\x00\x01\x02".to_vec(), None),
            (b"hello".to_vec(), None),
        ];
        for (text, encoding) in table {
            assert_eq!(foreign(&text), encoding, "{text:?}");
            if encoding.is_some_and(|encoding| encoding.starts_with("UTF")) {
                assert_eq!(readable(&text).unwrap(), JSON.as_bytes(), "{text:?}");
            }
        }
    }

    #[test]
    fn bytes_that_may_be_a_text_in_an_unknown_encoding_are_not_readable() {
        // EBCDIC, and what another compression or cipher gives.
        for bytes in [b"\xc0\x7f\x97\x81\xa2\xa2".as_slice(), b"\x1f\x8b\x08\x00\x01", b"\xff\xfe\x00"] {
            assert_eq!(readable(bytes), None, "{bytes:?}");
        }
        assert_eq!(readable(b"hello").unwrap(), b"hello".as_slice());
    }
}
