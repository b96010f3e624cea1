//! Blanks readable passwords in a body that is kept.

mod pair;

mod search;

use std::fmt;

use domain::User;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, Visitor};

use super::decrypt::decode_base64;
use super::encoding::{is_json, readable, without_mark};
use pair::Open;
use search::{OF_NO_CODING, QUOTING, coded_runs, find, has_password_member, kinds, unescaped};

pub(super) use pair::Seen;

/// Replaces a password in a kept body.
const BLANK: &str = r#""[redacted]""#;
/// Replaces a text that is JSON within JSON at too many levels to be searched.
pub(super) const BLANK_TEXT: &str = "[redacted]";
/// Replaces the part of a body in which a password cannot be distinguished from the rest.
const BLANK_REST: &str = "[redacted from here]";
/// Replaces a body of bytes that are no text: their number, and their digest.
const NOT_UTF_8: &str = "bytes that are not UTF-8, with SHA-256";
/// The beginning of what gzip has packed by its only method (RFC 1952, section 2.3).
const GZIP: &[u8] = b"\x1f\x8b\x08";
/// The length of the shortest JSON with a password: shorter texts behind a coding are not looked at.
const JSON_MIN: usize = r#"{"password":1}"#.len();
/// The length of its base64, the shorter of the codings.
const CODED_MIN: usize = (JSON_MIN * 4).div_ceil(3);
/// The name of the member, in lower case.
const NAME: &str = "password";
/// The most levels of JSON in strings within JSON that are searched. Each level at least doubles the backslashes, so
/// the largest body reaches about twice as many levels. Deeper strings are blanked as a whole.
const ENCODINGS_MAX: usize = 8;
/// The levels that base64 or hexadecimal digits count for. A text behind them is looked at as a whole and in parts, so
/// the work grows with each as a power.
const CODING_LEVELS: usize = 3;

/// Returns whether a member of that name holds a password.
pub(super) fn is_password_name(name: &str) -> bool {
    name.eq_ignore_ascii_case(NAME)
}

/// Returns a body with every readable password blanked, and otherwise unchanged.
///
/// JSON is searched token by token, including strings that are JSON themselves. A body that is not JSON is cut off from
/// the first word "password" on, or from the first run of base64 or hexadecimal digits that codes a text with a
/// password. If either appears before that behind escapes, the whole body is cut. A body that is one such run becomes
/// the blanked text. UTF-16 and UTF-32 become UTF-8. Of bytes that may be a text in another encoding, and
/// of what is packed behind base64, only the length and the digest are kept.
pub fn blank(body: &[u8]) -> Vec<u8> {
    blank_coded(body, ENCODINGS_MAX)
}

fn blank_coded(body: &[u8], encodings: usize) -> Vec<u8> {
    let Some(text) = readable(body) else { return digest(body) };
    let json = without_mark(&text);
    if is_json(json) {
        return [&text[..text.len() - json.len()], &blank_json(json, encodings)].concat();
    }
    decoded(&text).find_map(|decoded| blank_decoded(&decoded, encodings)).unwrap_or_else(|| cut(&text, encodings))
}

fn digest(body: &[u8]) -> Vec<u8> {
    let digest = hex::encode(openssl::sha::sha256(body));
    format!("[{} {NOT_UTF_8} {digest}]", body.len()).into_bytes()
}

/// Returns what the text may stand for: the bytes behind hexadecimal digits, and those behind base64, also as in URLs.
fn decoded(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let digits = text.trim_ascii();
    let digits = hex::decode(digits.strip_prefix(b"0x").unwrap_or(digits)).ok();
    digits.into_iter().chain(std::iter::once_with(|| {
        let standard = |byte: &u8| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        };
        decode_base64(&text.iter().map(standard).collect::<Vec<u8>>())
    }))
}

/// Blanks what was behind a coding. Returns `None` when nothing changes, and for bytes that are no text: nearly every
/// text is base64 of something, and what was encrypted must be kept.
fn blank_decoded(decoded: &[u8], encodings: usize) -> Option<Vec<u8>> {
    if decoded.len() < JSON_MIN {
        return None;
    }
    if decoded.starts_with(GZIP) {
        return Some(digest(decoded));
    }
    let text = readable(decoded)?;
    let Some(encodings) = encodings.checked_sub(CODING_LEVELS) else { return Some(digest(decoded)) };
    let blanked = blank_coded(&text, encodings);
    (blanked != *text).then_some(blanked)
}

/// Returns whether a part of a kept body was left out, so that it does not tell everything that the body did.
pub(crate) fn is_incomplete(kept: &str) -> bool {
    kept.contains(BLANK_REST) || kept.contains(NOT_UTF_8)
}

/// Returns a text from within JSON with its passwords blanked, or `None` when it needs no change. A text that merely
/// mentions the word is neither JSON nor a piece of it.
pub(super) fn blank_text(text: &str) -> Option<String> {
    blank_within(text.as_bytes(), ENCODINGS_MAX).map(|blanked| String::from_utf8_lossy(&blanked).into_owned())
}

fn cut(body: &[u8], encodings: usize) -> Vec<u8> {
    let end = password_at(body, encodings).unwrap_or(body.len());
    let rest = if end < body.len() { BLANK_REST } else { "" };
    let before = &body[..end];
    let plain = unescaped(before);
    if plain != before && password_at(&plain, encodings).is_some() {
        return BLANK_REST.as_bytes().to_vec();
    }
    [before, rest.as_bytes()].concat()
}

/// Returns where a text has the word, or before it a run that codes a text with a password.
fn password_at(text: &[u8], encodings: usize) -> Option<usize> {
    let word = find(&text.to_ascii_lowercase(), NAME.as_bytes());
    coded_at(&text[..word.unwrap_or(text.len())], encodings).or(word)
}

/// Returns where a text has a run of letters that codes a text with a password.
fn coded_at(text: &[u8], encodings: usize) -> Option<usize> {
    coded_runs(text, CODED_MIN).find(|(_, run)| codes_password(run, encodings)).map(|(at, _)| at)
}

fn codes_password(run: &[u8], encodings: usize) -> bool {
    decoded(run).any(|decoded| blank_decoded(&decoded, encodings).is_some())
}

fn blank_json(body: &[u8], encodings: usize) -> Vec<u8> {
    let mut kept = Vec::with_capacity(body.len());
    let mut open = Open::default();
    let mut rest = body;
    while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
        let (before, string) = rest.split_at(quote);
        let (string, after) = string.split_at(string_length(string));
        let text = serde_json::from_slice(string).map_or_else(|_| Vec::new(), |Text(text)| text);
        open.copy(before, &mut kept);
        let value = member_value(after);
        open.note(&text, value.is_some());
        match blank_within(&text, encodings) {
            Some(blanked) => kept.extend(as_string(&blanked)),
            None => kept.extend(string),
        }
        rest = after;
        let Some(value) = value.filter(|_| text.eq_ignore_ascii_case(NAME.as_bytes())) else { continue };
        kept.extend(&after[..after.len() - value.len()]);
        kept.extend(BLANK.as_bytes());
        rest = &value[value_length(value)..];
    }
    open.copy(rest, &mut kept);
    kept
}

/// Blanks a text that is JSON itself, within the remaining levels, or a piece of JSON. Returns `None` when nothing
/// changes.
fn blank_within(text: &[u8], encodings: usize) -> Option<Vec<u8>> {
    let found = kinds(text);
    let blanked = if matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) && is_json(text) {
        match encodings.checked_sub(1) {
            Some(encodings) => blank_json(text, encodings),
            None => BLANK_TEXT.into(),
        }
    } else if found & QUOTING != 0 && has_password_member(text) {
        cut(text, encodings)
    } else if text.len() > JSON_MIN && !is_field(text) && is_coded(text, found, encodings) {
        BLANK_TEXT.into()
    } else {
        return None;
    };
    (blanked != text).then_some(blanked)
}

/// Returns whether a text codes one with a password, as a whole or in part. It has bytes of these kinds.
fn is_coded(text: &[u8], found: u8, encodings: usize) -> bool {
    (found & OF_NO_CODING == 0 && codes_password(text, encodings))
        || coded_at(text, encodings).is_some()
        || (found & QUOTING != 0 && coded_at(&unescaped(text), encodings).is_some())
}

/// Returns whether a text is the name of a field, which codes nothing: most texts behind no other character are.
fn is_field(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(User::is_field)
}

/// The bytes of a string token, which need not be UTF-8.
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Text, E> {
                Ok(Text(text.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

fn as_string(text: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&String::from_utf8_lossy(text)).expect("a text is JSON")
}

/// Returns the value of a member if `after`, the bytes after a string, begins with a colon: the string was its name.
fn member_value(after: &[u8]) -> Option<&[u8]> {
    after.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start)
}

/// Returns the length of the string token at the start of `json`, including quotation marks.
fn string_length(json: &[u8]) -> usize {
    let mut escaped = false;
    let end = json.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(json.len(), |at| at + 2)
}

/// Returns the length of the value at the start of `json`, which is valid JSON.
fn value_length(json: &[u8]) -> usize {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<IgnoredAny>();
    let valid = values.next().is_some_and(|value| value.is_ok());
    if valid { values.byte_offset() } else { json.len() }
}

#[cfg(test)]
mod tests;
