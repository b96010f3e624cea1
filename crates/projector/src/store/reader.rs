//! One connection that reads: every question that the store answers, each as of one moment.

use std::path::{Path, PathBuf};

use domain::{Checkpoint, Position, UserId};
use rusqlite::{Connection, OpenFlags};

use super::history::{self, Change, Since};
use super::rows::{gap_row, signed};
use super::writer::BUSY_MAX;
use super::{Error, Filter, GapRow, Lookup, Meta, Page, Unread, meta, query};

/// Page cache of a reader, in KiB, negative as SQLite wants it: the inner pages of the table of some million users.
const CACHE_KIB: i64 = -4 * 1024;
/// Statements that a connection keeps prepared: all there are, for every set of conditions in use.
const STATEMENTS: usize = 64;

/// One connection that reads.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
}

/// How much there is in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub users: u64,
    pub forgotten: u64,
    pub gaps: u64,
}

impl Reader {
    /// Opens a store for reading alone.
    ///
    /// # Errors
    /// [`Error`], by what is wrong with the file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY_MAX)?;
            connection.pragma_update(None, "cache_size", CACHE_KIB)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            Ok(connection)
        };
        let connection = open().map_err(|source| Error::of(path, source))?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// Returns what is known of a user.
    ///
    /// # Errors
    /// [`Error`], as every method of this type, when the file cannot be read.
    pub fn get(&self, user_id: UserId) -> Result<Lookup, Error> {
        self.read(|connection| query::get(connection, user_id))
    }

    /// Returns up to `limit` users that the filter lets through, those after `after`, in the order of their identifiers.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn find(&self, filter: &Filter, after: Option<UserId>, limit: usize) -> Result<Page, Error> {
        self.read(|connection| query::find(connection, filter, after, limit))
    }

    /// Returns up to `limit` changes that `from` does not cover; see [`Since`].
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn since(&self, from: &Checkpoint, seq: i64, limit: usize) -> Result<Since, Error> {
        self.read(|connection| history::since(connection, from, seq, limit))
    }

    /// Returns the users whose winning record on `partition` is at `offset` or later, at most `limit`, and the checkpoint.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn latest(&self, partition: i32, offset: i64, limit: usize) -> Result<(Vec<Change>, Checkpoint), Error> {
        self.read(|connection| history::latest(connection, partition, offset, limit))
    }

    /// Returns the position that the table stands for.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        self.read(meta::read_checkpoint)
    }

    /// Returns what the store is of.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn meta(&self) -> Result<Meta, Error> {
        self.read(Meta::read)
    }

    /// Counts users, forgotten users and gaps: a walk over an index, some ten milliseconds for a million users.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn counts(&self) -> Result<Counts, Error> {
        self.read(|connection| {
            let count = |table: &str| -> rusqlite::Result<u64> {
                let count: i64 = connection
                    .prepare_cached(&format!("SELECT count(*) FROM {table}"))?
                    .query_row([], |row| row.get(0))?;
                Ok(count.try_into().unwrap_or_default())
            };
            Ok(Counts { users: count("users")?, forgotten: count("forgotten")?, gaps: count("gaps")? })
        })
    }

    /// Returns up to `limit` open gaps with their users.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn gaps(&self, limit: usize) -> Result<Vec<(UserId, GapRow)>, Error> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT partition, offset, held, missing, fields, user_id FROM gaps LIMIT ?1")?;
            let rows = statement.query_map([signed(limit)], |row| {
                let user_id = UserId::new(row.get(5)?).map_err(|error| {
                    rusqlite::Error::FromSqlConversionFailure(5, rusqlite::types::Type::Integer, Box::new(error))
                })?;
                Ok((user_id, gap_row(row)?))
            })?;
            rows.collect()
        })
    }

    /// Returns up to `limit` records that could not be read.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn unreadable(&self, limit: usize) -> Result<Vec<Unread>, Error> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT partition, offset, reason FROM unreadable ORDER BY 1, 2 LIMIT ?1")?;
            let rows = statement.query_map([signed(limit)], |row| {
                let position = Position { partition: row.get(0)?, offset: row.get(1)? };
                Ok(Unread { position, reason: row.get(2)? })
            })?;
            rows.collect()
        })
    }

    /// Keeps what is read next as it is at that moment, until [`Reader::let_go`].
    pub(super) fn hold(&self) -> rusqlite::Result<()> {
        self.execute("BEGIN")
    }

    /// Lets go of what was kept, if anything was.
    pub(super) fn let_go(&self) -> rusqlite::Result<()> {
        if self.holds() { self.execute("COMMIT") } else { Ok(()) }
    }

    pub(super) fn holds(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn execute(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute([]).map(drop)
    }

    /// Reads several rows and tables as of one moment: within what is held, or in a snapshot of its own.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let read = || {
            if self.holds() {
                return read(&self.connection);
            }
            let transaction = self.connection.unchecked_transaction()?;
            let answer = read(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        };
        read().map_err(|source| Error::of(&self.path, source))
    }
}
