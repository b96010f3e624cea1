//! Text that must not be shown.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{PasswordError, PasswordSource};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::config::Faults;

/// The replacement of a secret in output.
pub const REDACTED: &str = "[redacted]";

/// A secret. It can be compared, and exposed by an explicit call. It prints and serializes as [`REDACTED`], and its
/// memory is wiped when it is dropped. Not wiped: what the parser of the configuration has read, and what OpenSSL and
/// librdkafka copy.
#[derive(Clone, Deserialize, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Secret(String);

/// The length under which a secret can be guessed soon.
pub const SECRET_BYTES_MIN: usize = 8;
/// The length under which a secret is warned of.
pub const SECRET_BYTES_ADVISED: usize = 16;
/// The permissions of all users: of them, none may be set for a file with a secret. Those of the group may: that is how
/// a process without privileges is given a file of another owner (`fsGroup` of Kubernetes, credentials of systemd).
const OTHERS: u32 = 0o007;

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
        let not_text = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidData => io::Error::new(error.kind(), "it is not a text in UTF-8"),
            _ => error,
        };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(not_text)?);
        let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        let fault = match line {
            _ if line.starts_with('\u{feff}') => "it begins with a byte order mark",
            _ if line.contains(['\r', '\n']) => "it has several lines",
            _ if line.contains('\0') => "it contains a zero byte",
            _ => return Ok(Self(line.to_owned())),
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, fault))
    }

    /// Adds a fault of `key` if the secret is too short to protect anything, and a caution if it is short. Each names
    /// the file that the secret is from, if any.
    pub fn check_length(&self, key: &str, file: Option<&Path>, faults: &mut Faults) {
        let said = |reason: String| file.map_or(reason.clone(), |path| format!("{}: {reason}", path.display()));
        match self.0.len() {
            0 => faults.push(key, said("expected a secret, found an empty text".to_owned())),
            length if length < SECRET_BYTES_MIN => {
                let expected = format!("expected at least {SECRET_BYTES_MIN} bytes, better {SECRET_BYTES_ADVISED}");
                faults.push(key, said(expected));
            }
            length if length < SECRET_BYTES_ADVISED => {
                faults.caution(key, said(format!("is short: {SECRET_BYTES_ADVISED} random bytes cannot be guessed")));
            }
            _ => {}
        }
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
        openssl::memcmp::eq(&Sha256::digest(self.0.as_bytes()), &Sha256::digest(candidate))
    }
}

/// Adds a caution of `key` if every user of the machine may use the file, which has a secret. A file that is not there
/// is the fault of others.
pub fn check_permissions(key: &str, path: &Path, faults: &mut Faults) {
    let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & OTHERS != 0) {
        let advice = "may be used by every user of this machine: chmod o= (Kubernetes: defaultMode 0440)";
        faults.caution(key, format!("{} {advice}", path.display()));
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
    /// As [`Secret::from_file`].
    pub fn read(&self) -> io::Result<Secret> {
        match self {
            Self::Text(secret) => Ok(secret.clone()),
            Self::File(path) => Secret::from_file(path),
        }
    }
}

impl PasswordSource for SecretSource {
    fn password(&self) -> Result<String, PasswordError> {
        match self.read() {
            // A file that is being written can be empty.
            Ok(secret) if secret.is_empty() => Err(Arc::new(io::Error::new(io::ErrorKind::InvalidData, "it is empty"))),
            Ok(secret) => Ok(secret.expose().to_owned()),
            Err(error) => Err(Arc::new(error)),
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
    fn a_short_secret_is_a_caution_and_a_very_short_one_a_fault() {
        for (length, is_fault, is_caution) in
            [(0, true, false), (7, true, false), (8, false, true), (15, false, true), (16, false, false)]
        {
            let mut faults = Faults::default();
            Secret::new("x".repeat(length)).check_length("k", None, &mut faults);
            let found = (!faults.is_empty(), !faults.take_cautions().is_empty());
            assert_eq!(found, (is_fault, is_caution), "{length} bytes");
        }
    }

    #[test]
    fn a_file_that_every_user_may_read_is_a_caution() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, is_caution) in [(0o600, false), (0o440, false), (0o640, false), (0o644, true), (0o602, true)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let mut faults = Faults::default();
            check_permissions("k", file.path(), &mut faults);
            assert_eq!(!faults.take_cautions().is_empty(), is_caution, "{mode:o}");
        }
        check_permissions("k", Path::new("/no/such/file"), &mut Faults::default());
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
        std::fs::write(&path, b"\xff\xfes\x003\0").unwrap();
        assert_eq!(Secret::from_file(&path).unwrap_err().to_string(), "it is not a text in UTF-8");
    }
}
