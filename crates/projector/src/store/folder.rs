//! The folder of the store: which generation of the table is in use, and that one process only writes.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use domain::UnixMillis;

use super::{Error, kept, private, probe};

/// The link to the generation in use, which is the name that people and tools open.
const LINK: &str = "users.db";
/// Held locked while a process uses the folder, and not empty until it has ended well.
const LOCK: &str = "lock";
/// How long a table that is to be replaced is kept while its replacement cannot be made: nobody is forgotten in it.
const KEPT_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The names of SQLite's temporary files begin so. They have no name once they are open: one that is found was left by
/// a crash.
const TEMPORARY: &str = "etilqs_";

/// A folder that this process alone writes to, until this is dropped.
#[derive(Debug)]
pub(crate) struct StoreFolder {
    dir: PathBuf,
    lock: File,
    /// Whether the last process that had the folder was killed, or failed, and its table has not been checked since.
    was_left: AtomicBool,
    /// The highest number of a generation so far. None is given twice: whoever has a table open that lost its name may
    /// remove that table's write-ahead log, by its name, when it closes.
    last: AtomicU64,
}

impl StoreFolder {
    /// Takes the folder, making it if need be, removes what an unfinished rebuild left there, and tries what a table
    /// needs of it.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it; [`Error::Folder`] when it cannot be made or written;
    /// [`Error::Unfit`] when it cannot do what a table needs; [`Error::DiskFull`], unless there is a table already.
    pub(crate) fn take(dir: &Path) -> Result<Self, Error> {
        let fault = |source| Error::Folder { path: dir.to_owned(), source };
        private::make_folder(dir).map_err(fault)?;
        let lock = private::make_file(&dir.join(LOCK)).map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: dir.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(probe::unfit(dir, "lock files", source)),
        }
        let was_left = AtomicBool::new(lock.metadata().map_err(fault)?.len() > 0);
        let folder = Self { dir: dir.to_owned(), lock, was_left, last: AtomicU64::new(0) };
        let current = folder.current();
        folder.remove_others(current.as_deref()).map_err(fault)?;
        match probe::probe(dir).and_then(|()| folder.mark().map_err(fault)) {
            Err(error) if error.is_transient() && current.is_some() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the table cannot grow now");
            }
            tried => tried?,
        }
        Ok(folder)
    }

    /// Returns whether the last process that had the folder was killed, or failed: its table may be damaged.
    pub(crate) fn was_left(&self) -> bool {
        self.was_left.load(Ordering::Relaxed)
    }

    /// Notes that the table was checked, or needs no check.
    pub(crate) fn is_checked(&self) {
        self.was_left.store(false, Ordering::Relaxed);
    }

    /// Marks the folder as in use, on the disk before anything else is written.
    fn mark(&self) -> io::Result<()> {
        (&self.lock).write_all(b"in use\n")?;
        self.lock.sync_all()
    }

    /// Marks the folder as left well: its table is closed.
    pub(crate) fn leave(&self) {
        if let Err(error) = self.lock.set_len(0) {
            tracing::warn!(%error, "the store cannot be marked as closed: the next start checks it");
        }
    }

    /// Returns the stable name, for messages.
    pub(crate) fn link(&self) -> PathBuf {
        self.dir.join(LINK)
    }

    /// Returns the file of the generation in use, if there is one.
    pub(crate) fn current(&self) -> Option<PathBuf> {
        let target = fs::read_link(self.link()).ok()?;
        let path = self.dir.join(target);
        path.exists().then_some(path)
    }

    /// Returns an unused name for the next generation. One that was last written too long ago is removed first.
    ///
    /// # Errors
    /// [`Error::Folder`] when a leftover cannot be removed.
    pub(crate) fn next(&self, now: UnixMillis) -> Result<PathBuf, Error> {
        let current = self.current();
        let remove = || -> io::Result<()> {
            let kept = current.as_deref().filter(|current| !is_over_age(current, now));
            if current.is_some() && kept.is_none() {
                tracing::warn!("the former table is removed: it was last written more than 7 days ago");
                fs::remove_file(self.link())?;
            }
            self.remove_others(kept)
        };
        remove().map_err(|source| self.fault(source))?;
        let last = current.as_deref().and_then(generation).unwrap_or(0).max(self.last.load(Ordering::Relaxed));
        let number = last + 1;
        self.last.store(number, Ordering::Relaxed);
        Ok(self.dir.join(format!("users.{number}.db")))
    }

    /// Removes a generation that was not finished, so that it takes no room while the next attempt is waited for.
    pub(crate) fn discard(&self, path: &Path) {
        if self.current().as_deref() != Some(path)
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(%error, path = %path.display(), "an unfinished table cannot be removed");
        }
    }

    /// Makes `path` the generation in use, and keeps the former one beside it if `keeps_former`. The new one is on the
    /// disk before the link names it; at every instant the link names a whole one.
    ///
    /// # Errors
    /// [`Error::Folder`] when the link cannot be moved; the former generation is in use then.
    pub(crate) fn install(&self, path: &Path, keeps_former: bool) -> Result<(), Error> {
        let former = self.current().filter(|former| keeps_former && former != path);
        let install = || -> io::Result<()> {
            File::open(path)?.sync_all()?;
            let fresh = self.dir.join("users.db.next");
            if fresh.symlink_metadata().is_ok() {
                fs::remove_file(&fresh)?;
            }
            symlink(path.file_name().unwrap_or(path.as_os_str()), &fresh)?;
            fs::rename(&fresh, self.link())?;
            File::open(&self.dir)?.sync_all()?;
            if let Some(former) = former {
                let kept = kept::keep(&self.dir, &former)?;
                tracing::warn!(path = %kept.display(), "most users are not on this log: its former table is kept");
            }
            self.remove_others(Some(path))
        };
        install().map_err(|source| self.fault(source))
    }

    /// Removes every generation but `keep`, their write-ahead logs included.
    fn remove_others(&self, keep: Option<&Path>) -> io::Result<()> {
        let keep = keep.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let of_kept = keep.as_ref().is_some_and(|keep| name.starts_with(keep.as_str()));
            let is_left = [TEMPORARY, probe::PREFIX].iter().any(|prefix| name.starts_with(prefix));
            if (generation(Path::new(&name)).is_some() && !of_kept) || is_left {
                fs::remove_file(self.dir.join(name))?;
            } else if of_kept {
                private::restrict_file(&self.dir.join(name));
            }
        }
        Ok(())
    }

    fn fault(&self, source: io::Error) -> Error {
        Error::Folder { path: self.dir.clone(), source }
    }
}

/// Returns whether a table, its write-ahead log included, was last written too long ago to be kept.
pub(super) fn is_over_age(path: &Path, now: UnixMillis) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let written =
        |path: &Path| path.metadata().and_then(|found| found.modified()).ok()?.duration_since(UNIX_EPOCH).ok();
    let written = written(path).max(written(Path::new(&log))).unwrap_or_default();
    let now = Duration::from_millis(u64::try_from(now.millis()).unwrap_or_default());
    now.saturating_sub(written) > KEPT_MAX
}

/// Returns `7` for `users.7.db`, `users.7.db-wal` and the like.
fn generation(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let (number, rest) = name.strip_prefix("users.")?.split_once('.')?;
    matches!(rest, "db" | "db-wal" | "db-shm" | "db-journal").then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_generations() {
        for (name, number) in [
            ("users.7.db", Some(7)),
            ("users.12.db-wal", Some(12)),
            ("users.db", None),
            ("users.x.db", None),
            ("users.7.db.bak", None),
            ("lock", None),
        ] {
            assert_eq!(generation(Path::new(name)), number, "{name}");
        }
    }

    #[test]
    fn a_folder_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = StoreFolder::take(dir.path()).unwrap();
        assert!(matches!(StoreFolder::take(dir.path()), Err(Error::InUse { .. })));
        drop(first);
        assert!(StoreFolder::take(dir.path()).is_ok());
    }

    /// Long before the files of the test are written.
    const NOW: UnixMillis = UnixMillis::from_millis(0);

    #[test]
    fn nothing_is_kept_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let folder = StoreFolder::take(dir.path()).unwrap();
        let first = folder.next(NOW).unwrap();
        let log = dir.path().join("users.1.db-wal");
        fs::write(&first, "1").unwrap();
        folder.install(&first, false).unwrap();
        fs::write(&log, "").unwrap();
        let written = File::open(&log).unwrap().metadata().unwrap().modified().unwrap();
        let written = i64::try_from(written.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let after = |age: Duration| UnixMillis::from_millis(written + i64::try_from(age.as_millis()).unwrap());

        // Its replacement cannot be made, again and again.
        let second = folder.next(after(KEPT_MAX)).unwrap();
        assert_eq!(second, dir.path().join("users.2.db"));
        assert_eq!(folder.current(), Some(first.clone()));
        let third = folder.next(after(KEPT_MAX + Duration::from_secs(1))).unwrap();
        assert_eq!(third, dir.path().join("users.3.db"), "no number is given twice");
        assert_eq!((folder.current(), first.exists(), log.exists()), (None, false, false));

        drop(folder);
        fs::write(dir.path().join("etilqs_0123"), "of a crash").unwrap();
        fs::write(&second, "of a crash").unwrap();
        drop(StoreFolder::take(dir.path()).unwrap());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [LOCK]);
    }

    #[test]
    fn generations_follow_each_other_and_leftovers_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = StoreFolder::take(dir.path()).unwrap();
        assert_eq!(folder.current(), None);
        let first = folder.next(NOW).unwrap();
        fs::write(&first, "1").unwrap();
        folder.install(&first, false).unwrap();
        let second = folder.next(NOW).unwrap();
        fs::write(&second, "2").unwrap();
        fs::write(dir.path().join("users.2.db-wal"), "").unwrap();
        drop(folder);

        let folder = StoreFolder::take(dir.path()).unwrap();
        assert_eq!(folder.current().as_deref(), Some(first.as_path()), "an unfinished generation is never in use");
        assert!(!second.exists() && !dir.path().join("users.2.db-wal").exists());
        fs::write(&second, "2").unwrap();
        folder.install(&second, false).unwrap();
        assert_eq!(fs::read_to_string(folder.link()).unwrap(), "2");
        assert!(!first.exists());
    }
}
