//! The failures of a file, in sentences for the operator of the service.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

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
    #[error("the store at {} failed", path.display())]
    Other { path: PathBuf, source: rusqlite::Error },
}

impl Error {
    /// Sorts an error of the library.
    pub(crate) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path, source },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path, source },
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
            Self::DiskFull { .. } | Self::Locked { .. } | Self::Interrupted { .. } => true,
            Self::Folder { source, .. } => matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded),
            Self::Damaged { .. }
            | Self::InUse { .. }
            | Self::NotWritable { .. }
            | Self::NotOpened { .. }
            | Self::Other { .. } => false,
        }
    }
}
