//! Blanks readable passwords in a body that is kept.

mod search;

use std::fmt;

use domain::User;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, Visitor};

use super::decrypt::decode_base64;
use super::encoding::{is_json, readable, without_mark};
use search::{OF_NO_CODING, QUOTING, find, has_password_member, kinds, unescaped};

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
/// The name of the member, in lower case.
const NAME: &str = "password";
/// The most levels of JSON in strings within JSON that are searched. Each level at least doubles the backslashes, so
/// the largest body reaches about twice as many levels. Deeper strings are blanked as a whole.
const ENCODINGS_MAX: usize = 8;

/// Returns whether a member of that name holds a password.
pub(super) fn is_password_name(name: &str) -> bool {
    name.eq_ignore_ascii_case(NAME)
}

/// Returns a body with every readable password blanked, and otherwise unchanged.
///
/// JSON is searched token by token, including strings that are JSON themselves, and also behind base64 and hexadecimal
/// digits. A body that is not JSON is cut off from the first word "password" on. If the word appears before that behind
/// escapes, the whole body is cut. UTF-16 and UTF-32 become UTF-8. Of bytes that may be a text in another encoding, and
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
    decoded(&text).find_map(|decoded| blank_decoded(&decoded, encodings)).unwrap_or_else(|| cut(&text))
}

fn digest(body: &[u8]) -> Vec<u8> {
    let digest = hex::encode(openssl::sha::sha256(body));
    format!("[{} {NOT_UTF_8} {digest}]", body.len()).into_bytes()
}

/// Returns what the text may stand for: the bytes behind hexadecimal digits, and those behind base64.
fn decoded(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let digits = hex::decode(text.trim_ascii()).ok();
    digits.into_iter().chain(std::iter::once_with(|| decode_base64(text)))
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
    let Some(encodings) = encodings.checked_sub(1) else { return Some(digest(decoded)) };
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

fn cut(body: &[u8]) -> Vec<u8> {
    let lower = body.to_ascii_lowercase();
    let end = find(&lower, NAME.as_bytes()).unwrap_or(body.len());
    if find(&unescaped(&lower[..end]), NAME.as_bytes()).is_some() {
        return BLANK_REST.as_bytes().to_vec();
    }
    let rest = if end < body.len() { BLANK_REST } else { "" };
    [&body[..end], rest.as_bytes()].concat()
}

fn blank_json(body: &[u8], encodings: usize) -> Vec<u8> {
    let mut kept = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
        let (before, string) = rest.split_at(quote);
        let (string, after) = string.split_at(string_length(string));
        let text = serde_json::from_slice(string).map_or_else(|_| Vec::new(), |Text(text)| text);
        kept.extend(before);
        match blank_within(&text, encodings) {
            Some(blanked) => kept.extend(as_string(&blanked)),
            None => kept.extend(string),
        }
        rest = after;
        let Some(value) = member_value(after).filter(|_| text.eq_ignore_ascii_case(NAME.as_bytes())) else { continue };
        kept.extend(&after[..after.len() - value.len()]);
        kept.extend(BLANK.as_bytes());
        rest = &value[value_length(value)..];
    }
    kept.extend(rest);
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
        cut(text)
    } else if found & OF_NO_CODING == 0 && text.len() > JSON_MIN && !is_field(text) {
        decoded(text).find_map(|decoded| blank_decoded(&decoded, encodings)).map(|_| BLANK_TEXT.into())?
    } else {
        return None;
    };
    (blanked != text).then_some(blanked)
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn blanked(body: &str) -> String {
        String::from_utf8(blank(body.as_bytes())).unwrap()
    }

    #[test]
    fn json_keeps_everything_but_passwords() {
        let table = [
            (r#"{"new":{"userId":1}}"#, r#"{"new":{"userId":1}}"#),
            (r#"{"password":"hunter2"}"#, r#"{"password":"[redacted]"}"#),
            (r#"{ "PassWord" : "hun\"ter2\\" , "a":1}"#, r#"{ "PassWord" : "[redacted]" , "a":1}"#),
            (r#"{"password":"hunter2","password":"hunter2"}"#, r#"{"password":"[redacted]","password":"[redacted]"}"#),
            (r#"{"p\u0061ssword":"hunter2"}"#, r#"{"p\u0061ssword":"[redacted]"}"#),
            (r#"{"password":{"a":["hunter2"]},"b":[]}"#, r#"{"password":"[redacted]","b":[]}"#),
            (r#"{"password":12345}"#, r#"{"password":"[redacted]"}"#),
            (r#"["password","hunter"]"#, r#"["password","hunter"]"#),
            (r#"{"passwordChanged":true}"#, r#"{"passwordChanged":true}"#),
            // JSON within JSON: a string in a member, the body encoded twice, and a name.
            (r#"{"new":"{\"password\":\"hunter2\"}"}"#, r#"{"new":"{\"password\":\"[redacted]\"}"}"#),
            (r#""{\"a\":[{\"password\":\"hunter2\"}]}""#, r#""{\"a\":[{\"password\":\"[redacted]\"}]}""#),
            (r#"{"{\"password\":\"hunter2\"}":1}"#, r#"{"{\"password\":\"[redacted]\"}":1}"#),
            (r#"{"a":" [\u007b\"p\\u0061ssword\":1}]"}"#, r#"{"a":" [{\"p\\u0061ssword\":\"[redacted]\"}]"}"#),
            (r#"{"log":"sent {\"password\": \"hunter2"}"#, r#"{"log":"sent {\"[redacted from here]"}"#),
            (r#"{"a":"{\"name\":\"Rachel\", \"id\":\u0031}"}"#, r#"{"a":"{\"name\":\"Rachel\", \"id\":\u0031}"}"#),
            (r#"{"note":"forgot the password: help"}"#, r#"{"note":"forgot the password: help"}"#),
            (r#"{"note":"[vip] says \"password\" a lot"}"#, r#"{"note":"[vip] says \"password\" a lot"}"#),
        ];
        for (body, kept) in table {
            assert_eq!(blanked(body), kept, "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_cut_off_at_the_word() {
        let table = [
            (r#"{"new":{"password":"hunter2"#, r#"{"new":{"[redacted from here]"#),
            ("user=1&Password=hunter2", "user=1&[redacted from here]"),
            (r#"{"new":{"p\u0061ssword":"hunter2""#, "[redacted from here]"),
            ("p%61ssword=hunter2", "[redacted from here]"),
            ("p%61ssword=hunter2&password=", "[redacted from here]"),
            ("hello", "hello"),
            ("", ""),
        ];
        for (body, kept) in table {
            assert_eq!(blanked(body), kept, "{body}");
        }
    }

    #[test]
    fn no_encoding_of_characters_hides_the_password() {
        let json = r#"{"new":{"password":"hunter2","name":"Zoë"}}"#;
        let kept = r#"{"new":{"password":"[redacted]","name":"Zoë"}}"#;
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        assert_eq!(blank(&utf16(json)), kept.as_bytes());
        assert_eq!(blank(&[b"\xef\xbb\xbf", json.as_bytes()].concat()), [b"\xef\xbb\xbf", kept.as_bytes()].concat());
        assert_eq!(blank(&utf16(json)[..40]), br#"{"new":{"[redacted from here]"#);
        let base64 = openssl::base64::encode_block(json.as_bytes());
        assert_eq!(blanked(&base64), kept);
        let without = openssl::base64::encode_block(br#"{"new":{}}"#);
        assert_eq!(blanked(&without), without);
        // The same in EBCDIC (code page 037).
        let ebcdic = b"\xc0\x7f\x97\x81\xa2\xa2\xa6\x96\x99\x84\x7f\x7a\x7f\x88\xa4\x95\xa3\x85\x99\xf2\x7f\xd0";
        assert!(blanked_bytes(ebcdic).starts_with("[22 bytes that are not UTF-8, with SHA-256 "));
        // A text of one byte a character is cut like UTF-8 only if it is JSON.
        assert_eq!(blank(b"{\"a\":\"\xff\",\"password\":1}"), b"{\"a\":\"\xff\",\"password\":\"[redacted]\"}");
    }

    #[test]
    fn no_coding_hides_the_password() {
        let json = r#"{"new":{"password":"hunter2","name":"Zo"}}"#;
        let kept = r#"{"new":{"password":"[redacted]","name":"Zo"}}"#;
        let base64 = |bytes: &[u8]| openssl::base64::encode_block(bytes);
        let utf16: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for body in [base64(&utf16), base64(base64(json.as_bytes()).as_bytes()), hex::encode(json)] {
            assert_eq!(blanked(&body), kept, "{body}");
        }
        let several = [json, json].join("\n");
        assert_eq!(blanked(&base64(several.as_bytes())), r#"{"new":{"[redacted from here]"#);
        let packed = base64(&[GZIP, b"hunter2 hunter2"].concat());
        assert!(blanked(&packed).starts_with("[18 bytes that are not UTF-8, with SHA-256 "));
        let often = (0..=ENCODINGS_MAX + 1).fold(json.to_owned(), |text, _| base64(text.as_bytes()));
        assert!(blanked(&often).contains(NOT_UTF_8));
        // As a text within JSON.
        let member = |text: &str| json!({ "a": text }).to_string();
        assert_eq!(blanked(&member(&base64(json.as_bytes()))), member(BLANK_TEXT));
        for other in
            ["AdministratorsOfThisAccount", "0123456789abcdef0123456789abcdef", &base64(b"{\"name\":\"Rachel\"}")]
        {
            assert_eq!((blanked(other), blanked(&member(other))), (other.to_owned(), member(other)));
        }
    }

    fn blanked_bytes(body: &[u8]) -> String {
        String::from_utf8(blank(body)).unwrap()
    }

    #[test]
    fn json_within_json_need_not_be_utf_8() {
        let kept = blanked_bytes(b"{\"new\":\"{\\\"password\\\":\\\"hunter2\xff\\\"}\"}");
        assert_eq!(kept, r#"{"new":"{\"password\":\"[redacted]\"}"}"#);
    }

    /// Encodes `json` as a string within JSON, `times` times.
    fn encoded(json: &str, times: usize) -> String {
        (0..times).fold(json.to_owned(), |json, _| Value::from(json).to_string())
    }

    #[test]
    fn what_is_encoded_too_often_is_blanked_as_a_whole() {
        let json = r#"{"name":"Rachel"}"#;
        assert_eq!(blanked(&encoded(json, ENCODINGS_MAX)), encoded(json, ENCODINGS_MAX));
        assert_eq!(blanked(&encoded(json, ENCODINGS_MAX + 1)), encoded(BLANK_TEXT, ENCODINGS_MAX + 1));
    }

    proptest! {
        /// At any level of JSON within JSON, as itself or as a member, and with any cut, the password is removed.
        /// Blanking is idempotent.
        #[test]
        fn no_encoding_hides_the_password(
            within in prop::collection::vec(any::<bool>(), 0..=ENCODINGS_MAX + 2),
            name in prop::sample::select(vec!["password", "PassWord", r"p\u0061ssword"]),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let innermost = format!(r#"{{"{name}":"hunter2","name":"Rachel"}}"#);
            let body = within.iter().fold(innermost, |json, member| {
                if *member { json!({"note": json, "id": 1}).to_string() } else { encoded(&json, 1) }
            });
            let end = cut.map_or(body.len(), |cut| cut.index(body.len() + 1));
            let kept = blanked(body.get(..end).unwrap());
            prop_assert!(!kept.contains("hunter2"), "{} became {}", body, kept);
            prop_assert_eq!(&blanked(&kept), &kept);
            // The same as the value of an unknown member, which may be incomplete.
            let kept = blank_text(body.get(..end).unwrap()).unwrap_or_default();
            prop_assert!(!kept.contains("hunter2"), "{} became {}", body, kept);
        }

        /// At any place in JSON, and with any cut, the password is removed.
        #[test]
        fn no_cut_leaves_the_password(
            depth in 0..5_usize,
            cut in any::<prop::sample::Index>(),
            noise in "[a-z\"{}:, ]{0,8}",
        ) {
            let open = r#"{"user":[{"x":1},"#.repeat(depth);
            let close = "]}".repeat(depth);
            let whole = format!(r#"{open}{{"password":"hunter2","name":"Rachel"}}{close}"#);
            let end = cut.index(whole.len() + 1);
            let body = format!("{}{noise}", whole.get(..end).unwrap());
            prop_assert!(!blanked(&body).contains("hunter2"), "{} became {}", body, blanked(&body));
        }
    }
}
