//! Where SQLite puts its temporary files: in memory, but for the work that needs more room, which has them in the
//! folder of the store. That folder is one setting for the whole process, taken in turn and given back.

use std::path::Path;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OptionalExtension as _};

const PRAGMA: &str = "temp_store_directory";
const STORE: &str = "temp_store";

/// Held by whoever has set it: several projections may be in one process, each with its own folder.
static TURN: Mutex<()> = Mutex::new(());

/// While this lives, a connection has its temporary files in a folder of the caller's choice; then in memory again. The
/// folder is then what it was before, which the host of the library may have chosen.
pub(crate) struct TempFolder<'c> {
    connection: &'c Connection,
    /// The folder to set again; `None` when nothing was changed.
    before: Option<String>,
    _turn: MutexGuard<'static, ()>,
}

/// Keeps the temporary files of a connection in memory: anywhere else they would be copies outside of the store.
pub(super) fn keep_in_memory(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, STORE, "MEMORY")
}

impl<'c> TempFolder<'c> {
    /// Waits for its turn and sets the folder of the file at `path`. Where that cannot be set, a line says so, and the
    /// files stay in memory.
    pub(crate) fn beside(connection: &'c Connection, path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self::set(connection, folder.unwrap_or(Path::new(".")))
    }

    fn set(connection: &'c Connection, folder: &Path) -> Self {
        let turn = TURN.lock();
        let set = || -> rusqlite::Result<String> {
            let name = folder.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(folder.to_owned()))?;
            let before = current(connection)?;
            connection.pragma_update(None, PRAGMA, name)?;
            connection.pragma_update(None, STORE, "FILE")?;
            Ok(before)
        };
        let before = set().inspect_err(warn).ok();
        Self { connection, before, _turn: turn }
    }
}

impl Drop for TempFolder<'_> {
    fn drop(&mut self) {
        let Some(before) = &self.before else { return };
        let given_back = || {
            keep_in_memory(self.connection)?;
            self.connection.pragma_update(None, PRAGMA, before)
        };
        if let Err(error) = given_back() {
            warn(&error);
        }
    }
}

/// Returns what is set; nothing when SQLite decides.
fn current(connection: &Connection) -> rusqlite::Result<String> {
    Ok(connection.pragma_query_value(None, PRAGMA, |row| row.get(0)).optional()?.unwrap_or_default())
}

fn warn(error: &rusqlite::Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "the folder of temporary files cannot be set");
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn set(connection: &Connection, folder: &str) {
        connection.pragma_update(None, PRAGMA, folder).unwrap();
    }

    #[test]
    fn several_at_once_have_each_its_own_folder_and_leave_the_host_s() {
        const TIMES: usize = 50;
        let (host, one, two) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let text = |dir: &tempfile::TempDir| dir.path().to_str().unwrap().to_owned();
        let connection = Connection::open_in_memory().unwrap();
        {
            let _turn = TURN.lock();
            set(&connection, &text(&host));
        }
        thread::scope(|scope| {
            for dir in [&one, &two] {
                scope.spawn(move || {
                    let connection = Connection::open_in_memory().unwrap();
                    for _ in 0..TIMES {
                        let _folder = TempFolder::set(&connection, dir.path());
                        thread::yield_now();
                        assert_eq!(current(&connection).unwrap(), text(dir));
                    }
                });
            }
        });
        let _turn = TURN.lock();
        assert_eq!(current(&connection).unwrap(), text(&host));
        set(&connection, "");
    }

    #[test]
    fn a_folder_that_cannot_be_set_changes_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        let folder = TempFolder::set(&connection, Path::new("/nowhere/at/all"));
        assert_eq!(folder.before, None);
    }
}
