//! A file that is read again when its content changes. What cannot be used leaves in force what was read before.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openssl::sha::sha256;
use service::Shutdown;
use service::telemetry::chain;
use tokio::sync::watch;

use super::denied::Denials;

/// How often a file is looked at. It is small, and its content decides: the time of a mounted secret need not change.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What is read of a file.
pub(super) trait Followed: Sized + Send + Sync + 'static {
    type Fault: std::error::Error + Send + Sync + 'static;
    /// The label in metrics, and the option that names the file.
    const SOURCE: &'static str;
    const BYTES_MAX: usize;

    /// # Errors
    /// Why the content cannot be used.
    fn of(bytes: &[u8]) -> Result<Self, Self::Fault>;

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or not used.
    fn read(path: &Path) -> Result<Self, FileFault<Self::Fault>> {
        Self::of(&content(path, Self::BYTES_MAX)?).map_err(FileFault::Content)
    }
}

/// The byte order mark that some editors write before UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileFault<F: std::error::Error + 'static> {
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Content(F),
}

fn content(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    let unusable = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    if bytes.len() > bytes_max {
        return unusable(format!("it has more than {bytes_max} bytes"));
    }
    if bytes.starts_with(MARK) {
        return unusable("it begins with a byte order mark".to_owned());
    }
    Ok(bytes)
}

/// What the file was at the last look: the digest of its content, or why it could not be read.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Content([u8; 32]),
    Unreadable(io::ErrorKind),
}

/// Reads `path` again whenever it changes, until `stop`. `held` has what it was at first.
pub(super) async fn follow<T: Followed>(path: PathBuf, held: watch::Sender<Arc<T>>, denials: Denials, stop: Shutdown) {
    let mut seen = None;
    loop {
        let looked_at = path.clone();
        let look = tokio::task::spawn_blocking(move || content(&looked_at, T::BYTES_MAX));
        let look = look.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let now = match &look {
            Ok(bytes) => Seen::Content(sha256(bytes)),
            Err(error) => Seen::Unreadable(error.kind()),
        };
        if seen.as_ref() != Some(&now) {
            match look.map_err(FileFault::Read).and_then(|bytes| T::of(&bytes).map_err(FileFault::Content)) {
                Ok(read) => {
                    if seen.is_some() {
                        tracing::info!(file = %path.display(), source = T::SOURCE, "read again");
                    }
                    held.send_replace(Arc::new(read));
                }
                Err(fault) => {
                    denials.failed_read(T::SOURCE);
                    tracing::warn!(
                        file = %path.display(),
                        error = chain(&fault),
                        "{} cannot be used; what was read before stays in force", T::SOURCE
                    );
                }
            }
            seen = Some(now);
        }
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}
