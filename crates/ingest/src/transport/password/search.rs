//! Searches a text for the name of a password, also behind escapes.

use super::NAME;

/// The text has a quotation mark, or a byte that one may be behind. Other texts have no member.
pub(super) const QUOTING: u8 = 1;
/// The text has a byte that is neither of base64, also as in URLs and in lines, nor a hexadecimal digit.
pub(super) const OF_NO_CODING: u8 = 2;

/// The kinds of each byte.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte: u8 = 0;
    loop {
        if matches!(byte, b'"' | b'\\' | b'%') {
            kinds[byte as usize] |= QUOTING;
        }
        if !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\r' | b'\n') {
            kinds[byte as usize] |= OF_NO_CODING;
        }
        if byte == u8::MAX {
            break kinds;
        }
        byte += 1;
    }
};

/// Returns the kinds of bytes that the text has, [`QUOTING`] and [`OF_NO_CODING`].
pub(super) fn kinds(text: &[u8]) -> u8 {
    text.iter().fold(0, |kinds, byte| kinds | KINDS[usize::from(*byte)])
}

/// Returns the runs of letters of base64, also as in URLs and in lines, and of hexadecimal digits, each with its place.
/// Shorter ones are left out.
pub(super) fn coded_runs(text: &[u8], length_min: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let mut next = 0;
    let runs = text.split(|byte| *byte == b'=' || KINDS[usize::from(*byte)] & OF_NO_CODING != 0);
    let placed = runs.map(move |run| {
        let at = next;
        next += run.len() + 1;
        (at, run)
    });
    placed.filter(move |(_, run)| run.len() >= length_min)
}

/// Returns whether `text` contains the name of a password as a member's name: followed by a quotation mark, possibly
/// escaped, and a colon.
pub(super) fn has_password_member(text: &[u8]) -> bool {
    let lower = unescaped(text).to_ascii_lowercase();
    let mut rest = lower.as_slice();
    while let Some(at) = find(rest, NAME.as_bytes()) {
        rest = &rest[at + NAME.len()..];
        let unquoted = rest[rest.iter().take_while(|byte| **byte == b'\\').count()..].strip_prefix(b"\"");
        if unquoted.is_some_and(|after| after.trim_ascii_start().starts_with(b":")) {
            return true;
        }
    }
    false
}

pub(super) fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// Returns the text with JSON's `\u00xx` (after any number of backslashes) and the `%xx` of forms decoded, and
/// otherwise unchanged. Every byte is looked at a bounded number of times: a run of backslashes is taken as a whole.
pub(super) fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(byte) = rest.first() {
        // The escapes of JSON in a string within JSON are escaped again at each level.
        let backslashes = rest.iter().take_while(|byte| **byte == b'\\').count();
        let (introducer, digits) = match byte {
            b'\\' => (backslashes, rest[backslashes..].strip_prefix(b"u00")),
            b'%' => (1, rest.get(1..)),
            _ => (1, None),
        };
        let digits = digits.and_then(|digits| digits.split_at_checked(2));
        let character = digits.and_then(|(digits, after)| Some((hex::decode(digits).ok()?, after)));
        match character {
            Some((character, after)) => {
                decoded.extend(character);
                rest = after;
            }
            None => {
                decoded.extend(&rest[..introducer]);
                rest = &rest[introducer..];
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part() -> impl Strategy<Value = &'static str> {
        let parts = ["password", "PassW", "ord", "\\u00", "22", "\"", "%22", "%70", ":", " ", "\\", "é"];
        prop::sample::select(parts.to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_text_with_a_member_has_a_byte_that_quotes(parts in prop::collection::vec(part(), 0..7)) {
            let text = parts.concat();
            prop_assert!(!has_password_member(text.as_bytes()) || kinds(text.as_bytes()) & QUOTING != 0, "{text}");
        }
    }
}
