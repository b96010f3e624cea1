//! The one writer: a batch of records becomes rows and a checkpoint, in one transaction.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::{Checkpoint, Position, UnixMillis};
use kafka::Record;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::history::Change;
use super::late;
use super::rows::signed;
use super::work::Work;
use super::{Error, Meta, Readers, create_indexes, create_tables, meta};
use crate::bookmark::TopicTag;

/// How many unreadable records are listed; all are counted.
pub const UNREADABLE_KEPT_MAX: usize = 1_000;
/// How long a lock of another process is waited for: as long as a person's `sqlite3` may hold one by mistake.
pub(crate) const BUSY_MAX: Duration = Duration::from_secs(5);
/// Page cache of the writer, in KiB, negative as SQLite wants it: the inner pages of every index for some million users.
const CACHE_KIB: i64 = -64 * 1024;

/// What one transaction takes in.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub records: Vec<Record>,
    /// Partitions of which everything below the offset was handed over: compaction leaves holes that no record fills.
    pub ends: Vec<(i32, i64)>,
}

impl Batch {
    /// Returns whether nothing in it goes beyond `checkpoint`.
    pub(crate) fn is_past(&self, checkpoint: &Checkpoint) -> bool {
        self.records.iter().all(|record| checkpoint.covers(record.position))
            && self.ends.iter().all(|(partition, next)| checkpoint.next(*partition) >= Some(*next))
    }

    /// Returns the time that the table is as of with this batch: that of its last record, which may be long ago while the
    /// projection catches up; `now` at the latest.
    pub(crate) fn as_of(&self, now: UnixMillis) -> UnixMillis {
        self.records.last().map_or(now, |record| record.timestamp.min(now))
    }
}

/// What one transaction did.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub checkpoint: Checkpoint,
    /// Every change of a user's state, in the order of the records.
    pub changes: Vec<Change>,
    pub newer: u64,
    pub duplicate: u64,
    pub stale: u64,
    pub forgotten: u64,
    pub gaps_found: u64,
    /// Gaps that late events have closed.
    pub gaps_closed: u64,
    pub unreadable: Vec<Unread>,
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub position: Position,
    pub reason: String,
}

/// The connection that writes.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    connection: Connection,
    checkpoint: Checkpoint,
    late_checkpoint: Checkpoint,
    meta: Meta,
    readers: Arc<Readers>,
}

impl Writer {
    /// Opens an existing store.
    ///
    /// # Errors
    /// [`Error`], by what is wrong with the file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::connect(path).map_err(|source| Error::of(path, source))
    }

    /// Makes an empty store at `path`.
    ///
    /// # Errors
    /// [`Error`] when it cannot be written.
    pub fn create(path: &Path, meta: &Meta) -> Result<Self, Error> {
        let create = || {
            let mut connection = Connection::open(path)?;
            let transaction = connection.transaction()?;
            create_tables(&transaction)?;
            create_indexes(&transaction)?;
            meta.write(&transaction)?;
            transaction.commit()
        };
        create().map_err(|source| Error::of(path, source))?;
        Self::open(path)
    }

    fn connect(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_MAX)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A crash of the machine may take back the last commits, whole and with their checkpoint: they are read again then.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", CACHE_KIB)?;
        let (checkpoint, meta) = (meta::read_checkpoint(&connection)?, Meta::read(&connection)?);
        let late_checkpoint = meta::read_late_checkpoint(&connection)?;
        let readers = Arc::new(Readers::new(path, TopicTag::of(&meta.topic_identity)));
        Ok(Self { path: path.to_owned(), connection, checkpoint, late_checkpoint, meta, readers })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns the readers of this store. They see a commit as soon as it is made.
    pub fn readers(&self) -> &Arc<Readers> {
        &self.readers
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Returns how many pages the store has.
    ///
    /// # Errors
    /// [`Error`] when it cannot be read.
    pub fn pages(&self) -> Result<u32, Error> {
        let pages = self.connection.pragma_query_value(None, "page_count", |row| row.get(0));
        pages.map_err(|source| Error::of(&self.path, source))
    }

    /// Lets the store grow to so many pages and no further; `None` takes the limit away.
    ///
    /// # Errors
    /// [`Error`] when it cannot be set.
    pub fn limit_pages(&self, pages: Option<u32>) -> Result<(), Error> {
        // SQLite's own limit (limits.html, "Maximum Number Of Pages In A Database File").
        let pages = pages.unwrap_or(u32::MAX - 1);
        let set = self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()));
        set.map_err(|source| Error::of(&self.path, source))
    }

    /// Folds the batch into the table and moves the checkpoint past it, in one transaction.
    ///
    /// Records below the checkpoint are passed over: they have been folded before.
    ///
    /// # Errors
    /// [`Error`]; nothing was changed then, and the same batch may be committed again.
    pub fn commit(&mut self, batch: &Batch, as_of: UnixMillis) -> Result<Commit, Error> {
        let _writing = self.readers.writing();
        let fault = |source| Error::of(&self.path, source);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        let mut work = Work::new(&transaction, self.checkpoint.clone());
        work.take(batch).map_err(fault)?;
        let as_of = as_of.max(self.meta.committed_at);
        let commit = work.finish(&self.meta, as_of).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        self.checkpoint = commit.checkpoint.clone();
        self.meta.committed_at = as_of;
        self.meta.records_unreadable += commit.unreadable.len() as u64;
        Ok(commit)
    }

    /// Returns how far the topic of late deliveries was read.
    pub fn late_checkpoint(&self) -> &Checkpoint {
        &self.late_checkpoint
    }

    /// Lets late deliveries close gaps, and moves past them, in one transaction. Returns how many gaps closed.
    ///
    /// # Errors
    /// [`Error`]; nothing was changed then, and the same records may be taken again.
    pub fn take_late(&mut self, records: &[Record]) -> Result<u64, Error> {
        let _writing = self.readers.writing();
        let fault = |source| Error::of(&self.path, source);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        let mut checkpoint = self.late_checkpoint.clone();
        let closed = late::take(&transaction, &mut checkpoint, records).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        self.late_checkpoint = checkpoint;
        Ok(closed)
    }

    /// Records that the store was up to date at `now`, though nothing was there to be committed.
    ///
    /// # Errors
    /// [`Error`] when it cannot be written.
    pub fn touch(&mut self, now: UnixMillis) -> Result<(), Error> {
        let _writing = self.readers.writing();
        meta::put(&self.connection, "committed_at", &now.millis().to_string())
            .map_err(|source| Error::of(&self.path, source))?;
        self.meta.committed_at = now;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.readers.retire();
    }
}

/// Lists the newest unreadable records and counts them all.
pub(crate) fn note_unreadable(connection: &Connection, unreadable: &[Unread], count: u64) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO unreadable VALUES (?1, ?2, ?3)")?;
    for Unread { position, reason } in unreadable.iter().rev().take(UNREADABLE_KEPT_MAX) {
        insert.execute(params![position.partition, position.offset, reason])?;
    }
    connection
        .prepare_cached(
            "DELETE FROM unreadable WHERE (partition, offset) NOT IN \
             (SELECT partition, offset FROM unreadable ORDER BY offset DESC LIMIT ?1)",
        )?
        .execute([signed(UNREADABLE_KEPT_MAX)])?;
    meta::put(connection, "records_unreadable", &count.to_string())
}
