//! Searches texts for a number: encodings, escapes, and the spellings of numbers.

use std::borrow::Cow;

use domain::UserId;
use domain::json::Json;

use crate::transport::{wide, without_mark};

/// Returns whether a body consists of letters of base64, possibly within quotation marks: any bytes could be in it.
pub(super) fn is_base64(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let body = body.strip_prefix(b"\"").and_then(|body| body.strip_suffix(b"\"")).unwrap_or(body);
    let letters = body.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'\r' | b'\n');
    let has_letter = body[..letters].iter().any(u8::is_ascii_alphabetic);
    has_letter && body[..letters].iter().all(is_letter)
}

/// Returns the text of `bytes`: UTF-16 or UTF-32, UTF-8, or else Latin-1. Returns `None` for bytes that are no text.
pub(super) fn decoded(bytes: &[u8]) -> Option<String> {
    if bytes.contains(&0)
        && let Some((_, text)) = wide(bytes)
    {
        return Some(text);
    }
    let bytes = without_mark(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.to_owned()),
        Err(_) => as_text(bytes.iter().copied().map(char::from).collect()),
    }
}

/// Arbitrary bytes nearly always have control characters.
fn as_text(text: String) -> Option<String> {
    let is_control = |letter: char| letter.is_ascii_control() && !letter.is_ascii_whitespace();
    (!text.contains(is_control)).then_some(text)
}

/// Returns whether the identifier stands in `text` as a whole number, as it is or behind the escapes of JSON and forms.
pub(super) fn stands_anywhere(text: &str, user_id: UserId) -> bool {
    let decoded = percent_decoded(text);
    let views = [Cow::Borrowed(text), unescaped(text), unescaped(&decoded), Cow::Borrowed(&*decoded)];
    views.iter().enumerate().any(|(at, view)| !views[..at].contains(view) && stands(view.as_bytes(), user_id))
}

/// Returns whether the identifier is one of the numbers of a text, whatever letters are around it.
pub(super) fn stands_between_letters(text: &str, user_id: UserId) -> bool {
    let numbers = text.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    numbers.into_iter().any(|number| is_number(number.trim_matches('.'), user_id))
}

/// Returns whether `token` is the identifier as a decimal number, leading zeros allowed.
fn is_number(token: &str, user_id: UserId) -> bool {
    let digits = token.trim_start_matches('0');
    let token = if digits.starts_with(|first: char| first.is_ascii_digit()) { digits } else { token };
    match Json::read(token.as_bytes(), 0) {
        Ok(Json::Number(number)) => number.integer() == Some(user_id.get().into()),
        _ => false,
    }
}

/// A word is a run of letters, digits, underscores and points; a number with an exponent includes its sign.
fn stands(text: &[u8], user_id: UserId) -> bool {
    let text = without_times(text);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let mut at = 0;
    while at < text.len() {
        if !is_word(text[at]) {
            at += 1;
            continue;
        }
        let start = at;
        let is_sign = |at: usize| {
            matches!(text[at], b'+' | b'-')
                && text[start].is_ascii_digit()
                && matches!(text[at - 1], b'e' | b'E')
                && text.get(at + 1).is_some_and(u8::is_ascii_digit)
        };
        while at < text.len() && (is_word(text[at]) || is_sign(at)) {
            at += 1;
        }
        let negative = start > 0 && text[start - 1] == b'-' && !(start > 1 && is_word(text[start - 2]));
        let word = std::str::from_utf8(&text[start..at]).unwrap_or_default().trim_end_matches('.');
        if !negative && is_number(word, user_id) {
            return true;
        }
    }
    false
}

/// Returns `text` with the dates and times of ISO 8601 replaced by spaces.
fn without_times(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    let mut at = 0;
    while at < text.len() {
        let length = if at > 0 && text[at - 1].is_ascii_digit() { 0 } else { time_length(&text[at..]) };
        text[at..at + length].fill(b' ');
        at += length.max(1);
    }
    text
}

/// Returns the length of the date at the start of `text`, with the time and the offset that follow it.
fn time_length(text: &[u8]) -> usize {
    let follows = |at: usize, pattern: &str| {
        let Some(found) = text.get(at..at + pattern.len()) else { return 0 };
        let fits = found.iter().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't' | b' ' | b'+'),
            b'+' => matches!(byte, b'+' | b'-' | b' '),
            wanted => *byte == wanted,
        });
        if fits { pattern.len() } else { 0 }
    };
    let mut length = follows(0, "0000-00-00");
    if length == 0 || text.get(length).is_some_and(u8::is_ascii_digit) {
        return 0;
    }
    for part in ["T00:00", ":00", ".0"] {
        length += follows(length, part);
    }
    length += text.get(length..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
    length + follows(length, "+00:00").max(follows(length, "+0000"))
}

/// Returns `text` with the escapes of JSON resolved, whatever number of backslashes precedes them.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let escape = escape.trim_start_matches('\\');
        let code = escape.strip_prefix('u').and_then(|code| code.get(..4));
        let letter = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        rest = match letter {
            Some(letter) => {
                plain.push(letter);
                escape.get(5..).unwrap_or_default()
            }
            None => match escape.strip_prefix(['n', 'r', 't', 'b', 'f']) {
                Some(after) => {
                    plain.push(' ');
                    after
                }
                None => escape,
            },
        };
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match code.and_then(|code| hex::decode(code).ok()) {
            Some(decoded) => {
                plain.extend(decoded);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}
