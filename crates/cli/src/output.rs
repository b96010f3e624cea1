//! Writes to standard output. A closed pipe or a full disk must not cause a panic.

use std::io::{self, ErrorKind, Write as _};

use anyhow::Context as _;

/// Writes `text` unchanged.
///
/// # Errors
/// If standard output cannot be written; [`is_reader_gone`] detects the harmless case.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("the output cannot be written")
}

/// Returns whether the reader of the output has gone, as in `rollcall dead-letter list | head -1`.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    error.root_cause().downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_pipe_is_a_reader_that_has_gone() {
        let caused_by = |kind| anyhow::Error::from(io::Error::from(kind)).context("the output cannot be written");
        assert!(is_reader_gone(&caused_by(ErrorKind::BrokenPipe)));
        assert!(!is_reader_gone(&caused_by(ErrorKind::StorageFull)));
        assert!(!is_reader_gone(&anyhow::anyhow!("something else")));
    }
}
