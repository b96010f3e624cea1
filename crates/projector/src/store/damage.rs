//! Damage of a table: the first that somebody has met, and whether its files are still those that were opened.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Error;
use crate::start::RebuildReason;

/// The files of a table: itself, its write-ahead log and the index of that.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// A device and the number of a file on it.
type FileId = (u64, u64);

/// What is known to be wrong with a table.
#[derive(Debug)]
pub(super) struct Damage {
    met: watch::Sender<Option<RebuildReason>>,
    /// Each file with its number when it was first seen.
    files: Mutex<Vec<(PathBuf, Option<FileId>)>>,
}

impl Damage {
    /// Returns that nothing is wrong with the table at `path`, which has just been opened.
    pub(super) fn none(path: &Path) -> Self {
        let named = |suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            (PathBuf::from(name), None)
        };
        let damage = Self { met: watch::Sender::new(None), files: Mutex::new(SUFFIXES.map(named).into()) };
        damage.is_in_place();
        damage
    }

    /// Notes an error, if it says that the table is damaged.
    pub(super) fn note(&self, error: &Error) {
        let Some(reason) = RebuildReason::of_damage(error) else { return };
        self.met.send_if_modified(|met| met.is_none() && met.insert(reason).is_damage());
    }

    /// Waits until damage was noted.
    ///
    /// Cancel-safe.
    pub(super) async fn met(&self) -> RebuildReason {
        let mut met = self.met.subscribe();
        let met = met.wait_for(Option::is_some).await;
        // The sender is in `self`, so it is there.
        met.ok().and_then(|met| met.clone()).unwrap_or(RebuildReason::Removed)
    }

    /// Returns whether every file that was seen is still the one at its path. SQLite reads on in a file that has lost
    /// its name, and a further connection would open another.
    pub(super) fn is_in_place(&self) -> bool {
        self.files.lock().iter_mut().all(|(path, seen)| match fs::metadata(path) {
            Ok(found) => {
                let id = (found.dev(), found.ino());
                *seen.get_or_insert(id) == id
            }
            Err(error) => seen.is_none() || error.kind() != ErrorKind::NotFound,
        })
    }
}
