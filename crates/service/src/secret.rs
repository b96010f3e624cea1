//! Text that must not be shown.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use openssl::sha::sha256;
use serde::{Deserialize, Serialize, Serializer};

/// The replacement of a secret in output.
pub const REDACTED: &str = "[redacted]";

/// A secret. It can be compared, and exposed by an explicit call. It prints and serializes as [`REDACTED`].
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret in the file `path`: its only line.
    ///
    /// # Errors
    /// When the file cannot be read, is not UTF-8, or has what an editor or a tool left in it: a byte order mark,
    /// further lines, a zero byte.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        let fault = match line {
            _ if line.starts_with('\u{feff}') => "it begins with a byte order mark",
            _ if line.contains(['\r', '\n']) => "it has several lines",
            _ if line.contains('\0') => "it contains a zero byte",
            _ => return Ok(Self(line.to_owned())),
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, fault))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether `candidate` equals the secret. Digests are compared, so the time depends only on the length of
    /// `candidate`, and reveals neither a common prefix nor the secret's length.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        openssl::memcmp::eq(&sha256(self.0.as_bytes()), &sha256(candidate))
    }
}

/// A secret, or the file that has it.
#[derive(Clone, Debug)]
pub enum SecretSource {
    Text(Secret),
    /// Read at each use, so that a secret can be renewed while the process runs.
    File(PathBuf),
}

impl SecretSource {
    /// Returns the secret as it is now.
    ///
    /// # Errors
    /// When the file cannot be read or is not UTF-8.
    pub fn read(&self) -> io::Result<Secret> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(path) => Secret::from_file(path),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = Secret::new("hunter2");
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn only_the_whole_text_matches() {
        let secret = Secret::new("hunter2");
        assert!(secret.matches(b"hunter2"));
        for wrong in ["", "hunter", "hunter22", "Hunter2", "hunter2\n"] {
            assert!(!secret.matches(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn a_file_has_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for text in ["s3cret ", "s3cret \n", "s3cret \r\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Secret::from_file(&path).unwrap().expose(), "s3cret ");
        }
        for (text, fault) in [
            ("\u{feff}s3cret", "byte order mark"),
            ("s3cret\nother\n", "several lines"),
            ("s3cret\n\n", "several lines"),
            ("s3\0cret", "zero byte"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(Secret::from_file(&path).unwrap_err().to_string().contains(fault), "{text:?}");
        }
    }
}
