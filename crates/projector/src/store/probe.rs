//! Tries in the folder of the store what a table needs there, so that a volume that cannot do it is refused at start,
//! and not after a rebuild.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::{Error, connection};

/// The names of the files begin so. One that is found was left by a crash.
pub(super) const PREFIX: &str = "probe.";
/// How much a file must have room for: less than any table with users.
const ROOM_BYTES: i32 = 1 << 20;

/// Makes a small table and moves a link to it.
///
/// # Errors
/// [`Error::Unfit`], by what the folder cannot do; [`Error::DiskFull`].
pub(super) fn probe(dir: &Path) -> Result<(), Error> {
    let path = dir.join(format!("{PREFIX}db"));
    let tried = hold_table(&path).and_then(|()| {
        let link = |source: io::Error| unfit(dir, "hold and rename symbolic links", source);
        hold_link(dir, &path).map_err(link)
    });
    let removed = remove(dir);
    tried?;
    removed.map_err(|source| unfit(dir, "remove files", source))
}

/// Removes what a probe has made, this one or one that a crash has ended.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// One connection writes, another one reads beside it: locks, shared memory and room.
fn hold_table(path: &Path) -> Result<(), Error> {
    let write_and_read = || -> rusqlite::Result<String> {
        drop(connection::to_make(path)?);
        let writer = connection::to_write(path)?;
        writer.execute_batch("CREATE TABLE room (bytes BLOB) STRICT")?;
        writer.execute("INSERT INTO room VALUES (zeroblob(?1))", [ROOM_BYTES])?;
        let reader = connection::to_read(path)?;
        let _length: i32 = reader.query_row("SELECT length(bytes) FROM room", [], |row| row.get(0))?;
        writer.pragma_query_value(None, "journal_mode", |row| row.get(0))
    };
    let dir = path.parent().unwrap_or(path);
    match write_and_read() {
        Ok(mode) if mode.eq_ignore_ascii_case("wal") => Ok(()),
        Ok(mode) => Err(unfit(dir, "share memory between processes", format!("SQLite's journal mode is {mode}"))),
        Err(source) if source.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            Err(Error::DiskFull { path: dir.to_owned(), source })
        }
        Err(source) => Err(unfit(dir, "hold a table of SQLite", source)),
    }
}

fn hold_link(dir: &Path, target: &Path) -> io::Result<()> {
    let [fresh, link]: [PathBuf; 2] = ["next", "link"].map(|name| dir.join(format!("{PREFIX}{name}")));
    symlink(target.file_name().unwrap_or(target.as_os_str()), &fresh)?;
    fs::rename(&fresh, &link)?;
    fs::metadata(&link).map(drop)
}

pub(super) fn unfit(
    dir: &Path,
    need: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Unfit { path: dir.to_owned(), need, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_do_it_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        probe(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_refusal_names_what_the_folder_cannot_do() {
        let dir = tempfile::tempdir().unwrap();
        // A link cannot take the place of a folder.
        fs::create_dir(dir.path().join("probe.link")).unwrap();
        let error = probe(dir.path()).unwrap_err();
        assert!(error.to_string().contains("must be able to hold and rename symbolic links"), "{error}");
        let error = probe(&dir.path().join("nowhere")).unwrap_err();
        assert!(error.to_string().contains("must be able to hold a table of SQLite"), "{error}");
    }
}
