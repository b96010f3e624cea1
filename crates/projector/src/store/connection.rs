//! Opens the database, to write and to read.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, InterruptHandle, OpenFlags};

use super::{private, temp};

/// How long a lock of another process is waited for: as long as a person's `sqlite3` may hold one by mistake.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(5);
/// How large the write-ahead log grows before it is moved into the file, and may stay after that. A page that several
/// commits write is moved once, and the commit that ends the moving waits for the disk: with half of this, one event in
/// a hundred would at 500 a second.
pub(super) const LOG_BYTES_MAX: u32 = 128 << 20;
/// Page cache of the writer, in KiB, negative as SQLite wants it: the inner pages of every index for some million
/// users.
pub(super) const WRITER_CACHE_KIB: i64 = -64 * 1024;
/// The same of a reader: the inner pages of the table of some million users.
const READER_CACHE_KIB: i64 = -4 * 1024;
/// Statements that a reader keeps prepared: all there are, for every set of conditions in use.
const STATEMENTS: usize = 64;

/// Interrupts the statements that a connection is executing, from any thread.
pub(crate) struct Interrupt(InterruptHandle);

/// Makes an empty database, which its owner alone can read.
pub(crate) fn to_make(path: &Path) -> rusqlite::Result<Connection> {
    // SQLite takes an empty file for an empty database, and says itself why one cannot be made.
    private::make_file(path).ok();
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
}

pub(super) fn to_write(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A crash of the machine may take back the last commits, whole and with their checkpoint: they are read again then.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    // What is deleted is overwritten. The moving of rows between pages leaves copies all the same: `erasure` sees to
    // those.
    connection.pragma_update(None, "secure_delete", "ON")?;
    Ok(connection)
}

pub(super) fn to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "cache_size", READER_CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn open(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_MAX)?;
    // A plan does not depend on what is bound: otherwise a statement on a table with partial indexes is prepared anew
    // each time that something else is bound, which takes longer than most of them.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    temp::keep_in_memory(&connection)?;
    Ok(connection)
}

impl Interrupt {
    pub(super) fn of(connection: &Connection) -> Self {
        Self(connection.get_interrupt_handle())
    }

    pub(crate) fn now(&self) {
        self.0.interrupt();
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}
