//! The failures of a file, in sentences for the operator of the service.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};

use super::Unindexed;

/// The limits of open files, of the process and of the system, on Linux.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Why the store cannot be read or written. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the disk that holds {} is full", path.display())]
    DiskFull { path: PathBuf, source: rusqlite::Error },
    #[error(
        "{} is damaged: delete it, or start with --rebuild, and the table is made again from the log",
        path.display()
    )]
    Damaged { path: PathBuf, source: rusqlite::Error },
    #[error("{} was removed or replaced", path.display())]
    Removed { path: PathBuf },
    #[error("{} is locked by another process", path.display())]
    Locked { path: PathBuf, source: rusqlite::Error },
    #[error("a read of {} was interrupted: it lasted too long, and an erasure waited for it", path.display())]
    Interrupted { path: PathBuf, source: rusqlite::Error },
    #[error("{} is in use by another projector", path.display())]
    InUse { path: PathBuf },
    #[error("{} cannot be written: it is read-only or belongs to another user", path.display())]
    NotWritable { path: PathBuf, source: rusqlite::Error },
    #[error("{} cannot be opened", path.display())]
    NotOpened { path: PathBuf, source: rusqlite::Error },
    #[error("the folder of the store, {}, cannot be used", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("the folder of the store, {}, cannot be used: it must be able to {need}", path.display())]
    Unfit { path: PathBuf, need: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{} cannot be used now: the process has no more {resource}", path.display())]
    Exhausted { path: PathBuf, resource: Resource, source: rusqlite::Error },
    #[error(transparent)]
    Unindexed(#[from] Unindexed),
    #[error("the store at {} failed", path.display())]
    Other { path: PathBuf, source: rusqlite::Error },
}

impl Error {
    /// Sorts an error of the library.
    pub(crate) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        if is_conversion(&source) {
            return Self::Damaged { path, source };
        }
        if let Some(resource) = exhausted(&path, &source) {
            return Self::Exhausted { path, resource, source };
        }
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path, source },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path, source },
            Some(ErrorCode::ReadOnly) if is_moved(&source) => Self::Removed { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                Self::Locked { path, source }
            }
            Some(ErrorCode::OperationInterrupted) => Self::Interrupted { path, source },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::NotWritable { path, source },
            Some(ErrorCode::CannotOpen) => Self::NotOpened { path, source },
            _ => Self::Other { path, source },
        }
    }

    /// Returns whether the same call may succeed later: the disk was given room, the lock was let go.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::DiskFull { .. }
            | Self::Locked { .. }
            | Self::Interrupted { .. }
            | Self::Exhausted { .. }
            | Self::Unindexed(_) => true,
            Self::Folder { source, .. } => resource_of(source).is_some(),
            Self::Damaged { .. }
            | Self::Removed { .. }
            | Self::InUse { .. }
            | Self::Unfit { .. }
            | Self::NotWritable { .. }
            | Self::NotOpened { .. }
            | Self::Other { .. } => false,
        }
    }

    /// Returns which resource is used up, if that is why.
    pub fn resource(&self) -> Option<Resource> {
        match self {
            Self::DiskFull { .. } => Some(Resource::Disk),
            Self::Exhausted { resource, .. } => Some(*resource),
            Self::Folder { source, .. } => resource_of(source),
            Self::Damaged { .. }
            | Self::Removed { .. }
            | Self::Locked { .. }
            | Self::Interrupted { .. }
            | Self::InUse { .. }
            | Self::Unfit { .. }
            | Self::NotWritable { .. }
            | Self::NotOpened { .. }
            | Self::Unindexed(_)
            | Self::Other { .. } => None,
        }
    }

    /// Returns whether the table is worth nothing any more: it must be made again from the log.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Removed { .. })
    }

    /// Returns the text for those who ask over HTTP: without the path, which is for the operator alone.
    pub(crate) fn told(&self) -> &'static str {
        match self {
            Self::DiskFull { .. } => "the disk of the store is full",
            Self::Damaged { .. } => "the table is damaged",
            Self::Removed { .. } => "the file of the table was removed or replaced",
            Self::Locked { .. } => "the table is locked by another process",
            Self::Interrupted { .. } => "the read took too long",
            Self::InUse { .. } => "the store is in use by another projector",
            Self::NotWritable { .. } => "the store cannot be written",
            Self::NotOpened { .. } => "the table cannot be opened",
            Self::Exhausted { .. } => "the service has no more files or memory",
            Self::Folder { .. } | Self::Unfit { .. } => "the folder of the store cannot be used",
            Self::Unindexed(_) => "an index is still to be made",
            Self::Other { .. } => "the store failed",
        }
    }
}

/// What a process can run out of, and be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    Disk,
    Files,
    Memory,
    Threads,
}

impl Resource {
    pub(crate) const EACH: [Self; 4] = [Self::Disk, Self::Files, Self::Memory, Self::Threads];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Files => "files",
            Self::Memory => "memory",
            Self::Threads => "threads",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the resource that a call of the system lacked (errno(3)).
fn resource_of(error: &io::Error) -> Option<Resource> {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(Resource::Disk),
        ErrorKind::OutOfMemory => Some(Resource::Memory),
        _ => matches!(error.raw_os_error(), Some(EMFILE | ENFILE)).then_some(Resource::Files),
    }
}

/// Returns the resource that SQLite lacked. Why a file cannot be opened it does not say: it is tried once more.
fn exhausted(path: &Path, source: &rusqlite::Error) -> Option<Resource> {
    let error = source.sqlite_error()?;
    match (error.code, error.extended_code) {
        (ErrorCode::OutOfMemory, _) | (_, ffi::SQLITE_IOERR_NOMEM) => Some(Resource::Memory),
        (_, ffi::SQLITE_IOERR_SHMSIZE) => Some(Resource::Disk),
        (ErrorCode::CannotOpen, _) | (_, ffi::SQLITE_IOERR_SHMOPEN | ffi::SQLITE_IOERR_SHMMAP) => {
            match File::open(path) {
                // Files were closed meanwhile, or it is another file of the store that needed one.
                Ok(_) => Some(Resource::Files),
                Err(error) => resource_of(&error),
            }
        }
        _ => None,
    }
}

/// Returns whether a value is not of its column, or is damaged: the tables are of this build, and nobody else writes.
fn is_conversion(source: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    matches!(source, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) | Utf8Error(..))
}

/// Returns whether SQLite has noticed that its file is not at its path any more.
fn is_moved(source: &rusqlite::Error) -> bool {
    source.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_READONLY_DBMOVED)
}
