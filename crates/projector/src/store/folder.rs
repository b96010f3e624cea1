//! The folder of the store: which generation of the table is in use, and that one process only writes.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Error;

/// The link to the generation in use, which is the name that people and tools open.
const LINK: &str = "users.db";
/// Held locked while a process uses the folder.
const LOCK: &str = "lock";

/// A folder that this process alone writes to, until this is dropped.
#[derive(Debug)]
pub(crate) struct StoreFolder {
    dir: PathBuf,
    _lock: File,
}

impl StoreFolder {
    /// Takes the folder, making it if need be, and removes what an unfinished rebuild left there.
    ///
    /// # Errors
    /// [`Error::InUse`] when another process has it; [`Error::Folder`] when it cannot be made or written.
    pub(crate) fn take(dir: &Path) -> Result<Self, Error> {
        let fault = |source| Error::Folder { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(fault)?;
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)).map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: dir.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
        let folder = Self { dir: dir.to_owned(), _lock: lock };
        folder.remove_others(folder.current().as_deref()).map_err(fault)?;
        Ok(folder)
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

    /// Returns an unused name for the next generation.
    ///
    /// # Errors
    /// [`Error::Folder`] when a leftover cannot be removed.
    pub(crate) fn next(&self) -> Result<PathBuf, Error> {
        let current = self.current();
        self.remove_others(current.as_deref()).map_err(|source| self.fault(source))?;
        let number = current.as_deref().and_then(generation).map_or(1, |number| number + 1);
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

    /// Makes `path` the generation in use. It is on the disk before the link names it; at every instant the link names
    /// a whole one.
    ///
    /// # Errors
    /// [`Error::Folder`] when the link cannot be moved; the former generation is in use then.
    pub(crate) fn install(&self, path: &Path) -> Result<(), Error> {
        let install = || -> io::Result<()> {
            File::open(path)?.sync_all()?;
            let fresh = self.dir.join("users.db.next");
            if fresh.symlink_metadata().is_ok() {
                fs::remove_file(&fresh)?;
            }
            symlink(path.file_name().unwrap_or(path.as_os_str()), &fresh)?;
            fs::rename(&fresh, self.link())?;
            File::open(&self.dir)?.sync_all()?;
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
            if generation(Path::new(&name)).is_some() && !of_kept {
                fs::remove_file(self.dir.join(name))?;
            }
        }
        Ok(())
    }

    fn fault(&self, source: io::Error) -> Error {
        Error::Folder { path: self.dir.clone(), source }
    }
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

    #[test]
    fn generations_follow_each_other_and_leftovers_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = StoreFolder::take(dir.path()).unwrap();
        assert_eq!(folder.current(), None);
        let first = folder.next().unwrap();
        fs::write(&first, "1").unwrap();
        folder.install(&first).unwrap();
        let second = folder.next().unwrap();
        fs::write(&second, "2").unwrap();
        fs::write(dir.path().join("users.2.db-wal"), "").unwrap();
        drop(folder);

        let folder = StoreFolder::take(dir.path()).unwrap();
        assert_eq!(folder.current().as_deref(), Some(first.as_path()), "an unfinished generation is never in use");
        assert!(!second.exists() && !dir.path().join("users.2.db-wal").exists());
        fs::write(&second, "2").unwrap();
        folder.install(&second).unwrap();
        assert_eq!(fs::read_to_string(folder.link()).unwrap(), "2");
        assert!(!first.exists());
    }
}
