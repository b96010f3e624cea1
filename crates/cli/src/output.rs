//! Writes to standard output. A closed pipe or a full disk must not cause a panic.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use anyhow::Context as _;

/// Writes `text` unchanged.
///
/// # Errors
/// If standard output cannot be written; [`is_reader_gone`] detects the harmless case.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes bytes unchanged.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).context("the output cannot be written")
}

/// Writes JSON as a line. On a terminal, control characters that JSON lets pass are escaped.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_json(json: &str) -> anyhow::Result<()> {
    let json = json.trim_end();
    if io::stdout().is_terminal() { print(&format!("{}\n", escaped(json))) } else { print(&format!("{json}\n")) }
}

/// Returns whether the reader of the output has gone, as in `rollcall dead-letter list | head -1`.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    error.root_cause().downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Returns a text with its control characters escaped, but line breaks and tabs: a stranger's text must not steer the
/// terminal.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if (character.is_control() && !matches!(character, '\n' | '\t')) || is_invisible(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Characters that change the order or the look of the others: U+200B to U+200F, U+202A to U+202E, U+2066 to U+2069.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_does_not_steer_the_terminal() {
        assert_eq!(escaped("a\u{1b}[2Jb\r\u{9b}c\n\td\u{202e}é"), "a\\u{1b}[2Jb\\u{d}\\u{9b}c\n\td\\u{202e}é");
    }

    #[test]
    fn only_a_broken_pipe_is_a_reader_that_has_gone() {
        let caused_by = |kind| anyhow::Error::from(io::Error::from(kind)).context("the output cannot be written");
        assert!(is_reader_gone(&caused_by(ErrorKind::BrokenPipe)));
        assert!(!is_reader_gone(&caused_by(ErrorKind::StorageFull)));
        assert!(!is_reader_gone(&anyhow::anyhow!("something else")));
    }
}
