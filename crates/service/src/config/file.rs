//! The configuration file.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::Secret;

/// A configuration file. It is read once, however often a configuration is loaded from it: a pipe (`--config <(…)`,
/// `/dev/stdin`) has its text only the first time.
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
    /// The text, or why there is none.
    text: OnceLock<Result<Secret, String>>,
}

impl File {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the text.
    ///
    /// # Errors
    /// Why the file could not be read.
    pub(super) fn text(&self) -> Result<&str, &str> {
        let read = || std::fs::read_to_string(&self.path).map(Secret::new).map_err(|error| error.to_string());
        self.text.get_or_init(read).as_ref().map(Secret::expose).map_err(String::as_str)
    }
}

impl<P: Into<PathBuf>> From<P> for File {
    fn from(path: P) -> Self {
        Self { path: path.into(), text: OnceLock::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_and_does_not_print_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rollcall.toml");
        std::fs::write(&path, "name = 'hunter2'").unwrap();
        let file = File::from(&path);
        assert_eq!(file.text(), Ok("name = 'hunter2'"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.text(), Ok("name = 'hunter2'"));
        assert_eq!(file.clone().text(), Ok("name = 'hunter2'"), "a copy has it too");
        assert!(!format!("{file:?}").contains("hunter2"));
        assert!(File::from(path).text().unwrap_err().contains("No such file"));
    }
}
