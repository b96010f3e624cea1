//! What is done to a body that is kept although it may hold a readable password.

use std::borrow::Cow;

/// What stands in a kept body where a password stood.
const BLANK: &str = r#""[redacted]""#;
/// What is left of a body in which a password cannot be told from the rest.
const BLANK_REST: &str = "[redacted from here]";
/// The name of the member, in lower case.
const NAME: &str = "password";

/// Returns whether a member of that name holds a password.
pub(super) fn is_password_name(name: &str) -> bool {
    name.eq_ignore_ascii_case(NAME)
}

/// Returns a clear-text body with every password in it blanked, and all else as it was received.
///
/// JSON is gone through token by token. In what is not JSON, all from the first word "password" on is cut off; and when the word
/// appears before that behind escapes, all of the body.
pub fn blank(body: &[u8]) -> Vec<u8> {
    if is_json(body) {
        return blank_json(body);
    }
    let lower = body.to_ascii_lowercase();
    let end = find(&lower, NAME.as_bytes()).unwrap_or(body.len());
    if find(&unescaped(&lower[..end]), NAME.as_bytes()).is_some() {
        return BLANK_REST.as_bytes().to_vec();
    }
    let rest = if end < body.len() { BLANK_REST } else { "" };
    [&body[..end], rest.as_bytes()].concat()
}

/// Duplicate keys are JSON here, and so is any depth that the strict reader would get to.
fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

fn blank_json(body: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
        let (before, string) = rest.split_at(quote);
        let (string, after) = string.split_at(string_length(string));
        kept.extend(before);
        kept.extend(string);
        rest = after;
        let Some(value) = member_value(after).filter(|_| is_password_string(string)) else { continue };
        kept.extend(&after[..after.len() - value.len()]);
        kept.extend(BLANK.as_bytes());
        rest = &value[value_length(value)..];
    }
    kept.extend(rest);
    kept
}

fn is_password_string(string: &[u8]) -> bool {
    serde_json::from_slice::<Cow<'_, str>>(string).is_ok_and(|name| is_password_name(&name))
}

/// Returns what follows the colon, when `after` a string comes one: then the string was a member's name.
fn member_value(after: &[u8]) -> Option<&[u8]> {
    after.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start)
}

/// Returns the length of the string token, quotes included, that `json` begins with.
fn string_length(json: &[u8]) -> usize {
    let mut escaped = false;
    let end = json.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(json.len(), |at| at + 2)
}

/// Returns the length of the value that `json`, which is valid, begins with.
fn value_length(json: &[u8]) -> usize {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<serde::de::IgnoredAny>();
    let valid = values.next().is_some_and(|value| value.is_ok());
    if valid { values.byte_offset() } else { json.len() }
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// Returns `lower` with JSON's `\u00xx` and the `%xx` of forms decoded, and all else as it is.
fn unescaped(lower: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(lower.len());
    let mut rest = lower;
    while let Some((byte, after)) = rest.split_first() {
        let digits = match byte {
            b'\\' => after.strip_prefix(b"u00").and_then(|digits| digits.get(..2)).map(|digits| (digits, 5)),
            b'%' => after.get(..2).map(|digits| (digits, 2)),
            _ => None,
        };
        let character = digits.and_then(|(digits, length)| Some((hex::decode(digits).ok()?, length)));
        match character {
            Some((character, length)) => {
                decoded.extend(character.to_ascii_lowercase());
                rest = &after[length..];
            }
            None => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        /// Wherever a password stands in JSON, and wherever the JSON is cut, it is gone.
        #[test]
        fn no_cut_leaves_the_password(depth in 0..5_usize, cut in any::<prop::sample::Index>(), noise in "[a-z\"{}:, ]{0,8}") {
            let open = r#"{"user":[{"x":1},"#.repeat(depth);
            let close = "]}".repeat(depth);
            let whole = format!(r#"{open}{{"password":"hunter2","name":"Rachel"}}{close}"#);
            let end = cut.index(whole.len() + 1);
            let body = format!("{}{noise}", whole.get(..end).unwrap());
            prop_assert!(!blanked(&body).contains("hunter2"), "{} became {}", body, blanked(&body));
        }
    }
}
