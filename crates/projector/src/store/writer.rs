//! The one writer: a batch of records becomes rows and a checkpoint, in one transaction.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{Checkpoint, LeaderEpochs, LogId, UnixMillis};
use kafka::Record;
use rusqlite::{Connection, TransactionBehavior};

use super::checkpoints::LogMover;
use super::connection::{Interrupt, LOG_BYTES_MAX};
use super::erasure::{self, Erased, Erasures, HeldBy};
use super::positions::Sweep;
use super::readers::READ_MAX;
use super::work::Work;
use super::{
    Commit, Error, Indexes, LogBatch, LogNames, StoreMeta, StoreReaders, connection, create_indexes, create_secondary,
    create_tables, late, meta, unreadable,
};

/// The connection that writes.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    connection: Connection,
    checkpoint: Checkpoint,
    epochs: LeaderEpochs,
    late_checkpoint: Checkpoint,
    late_log: Option<LogId>,
    meta: StoreMeta,
    /// The forgotten users of whom something may be in free space of the file.
    erasures: Erasures,
    /// The same, of the write-ahead log alone: the file has been written anew since.
    erasures_in_log: Erasures,
    sweep: Sweep,
    log_mover: LogMover,
    log_bytes_max: u32,
    readers: Arc<StoreReaders>,
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
    pub fn create(path: &Path, meta: &StoreMeta) -> Result<Self, Error> {
        let create = || {
            let mut connection = connection::to_make(path)?;
            let transaction = connection.transaction()?;
            create_tables(&transaction)?;
            create_indexes(&transaction)?;
            create_secondary(&transaction)?;
            meta.write(&transaction)?;
            transaction.commit()
        };
        create().map_err(|source| Error::of(path, source))?;
        Self::open(path)
    }

    fn connect(path: &Path) -> rusqlite::Result<Self> {
        let mut connection = connection::to_write(path)?;
        let log_mover = LogMover::new(&mut connection, LOG_BYTES_MAX)?;
        let (checkpoint, meta) = (meta::read_checkpoint(&connection)?, StoreMeta::read(&connection)?);
        let (late_checkpoint, late_log) = (meta::read_late_checkpoint(&connection)?, meta::read_late_log(&connection)?);
        let epochs = meta::read_epochs(&connection)?;
        let names = LogNames::new(meta.log.topic, epochs.clone());
        let readers = Arc::new(StoreReaders::new(path, names, Indexes::read(&connection)?));
        let (path, erasures, erasures_in_log) = (path.to_owned(), Erasures::read(&connection)?, Erasures::default());
        Ok(Self {
            path,
            connection,
            checkpoint,
            epochs,
            late_checkpoint,
            late_log,
            meta,
            erasures,
            erasures_in_log,
            sweep: Sweep::default(),
            log_mover,
            log_bytes_max: LOG_BYTES_MAX,
            readers,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns the readers of this store. They see a commit as soon as it is made.
    pub fn readers(&self) -> &Arc<StoreReaders> {
        &self.readers
    }

    pub(crate) fn meta(&self) -> &StoreMeta {
        &self.meta
    }

    /// Returns the ids of schemas that records named and that nobody could name.
    ///
    /// # Errors
    /// [`Error`] when they cannot be read.
    pub(crate) fn unnamed_ids(&self) -> Result<Vec<u32>, Error> {
        unreadable::unnamed_ids(&self.connection).map_err(|source| self.readers.fault(source))
    }

    /// Checks that the file is a whole database, as far as SQLite can tell: every page is read.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is not; others when it cannot be read.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let found: rusqlite::Result<String> = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        let found = found.map_err(|source| self.readers.fault(source))?;
        if found == "ok" {
            return Ok(());
        }
        let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Err(self.readers.fault(rusqlite::Error::SqliteFailure(corrupt, Some(found))))
    }

    /// Returns how many pages the store has.
    ///
    /// # Errors
    /// [`Error`] when it cannot be read.
    pub fn pages(&self) -> Result<u32, Error> {
        let pages = self.connection.pragma_query_value(None, "page_count", |row| row.get(0));
        pages.map_err(|source| self.readers.fault(source))
    }

    /// Lets the store grow to so many pages and no further; `None` takes the limit away.
    ///
    /// # Errors
    /// [`Error`] when it cannot be set.
    pub fn limit_pages(&self, pages: Option<u32>) -> Result<(), Error> {
        // SQLite's own limit (limits.html, "Maximum Number Of Pages In A Database File").
        let pages = pages.unwrap_or(u32::MAX - 1);
        let set = self.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()));
        set.map_err(|source| self.readers.fault(source))
    }

    /// Lets the write-ahead log grow so far before it is moved into the file; it may stay as large.
    ///
    /// # Errors
    /// [`Error`] when it cannot be set.
    pub fn limit_log(&mut self, bytes_max: u32) -> Result<(), Error> {
        self.log_bytes_max = bytes_max;
        self.log_mover.limit(bytes_max);
        let set = self.connection.pragma_update(None, "journal_size_limit", bytes_max);
        set.map_err(|source| self.readers.fault(source))
    }

    /// Folds the batch into the table and moves the checkpoint past it, in one transaction.
    ///
    /// Records below the checkpoint are passed over: they have been folded before.
    ///
    /// # Errors
    /// [`Error`]; nothing was changed then, and the same batch may be committed again.
    pub fn commit(&mut self, batch: &LogBatch, as_of: UnixMillis) -> Result<Commit, Error> {
        let _writing = self.readers.writing();
        let fault = |source| self.readers.fault(source);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        let mut work = Work::new(&transaction, self.checkpoint.clone());
        work.take(batch).map_err(fault)?;
        let as_of = as_of.max(self.meta.committed_at);
        let commit = work.finish(&self.meta, &mut self.sweep, as_of).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        self.checkpoint = commit.checkpoint.clone();
        self.epochs.extend(&commit.epochs);
        self.readers.name(LogNames::new(self.meta.log.topic, self.epochs.clone()));
        self.erasures.join(&commit.erasures);
        self.meta.committed_at = as_of;
        self.meta.records_unreadable += commit.unreadable.len() as u64;
        if let Err(error) = self.log_mover.see(&self.connection, &self.path) {
            // It is committed; the log is moved later.
            let error = self.readers.fault(error);
            tracing::debug!(error = &error as &dyn std::error::Error, "the write-ahead log is not moved");
        }
        Ok(commit)
    }

    /// Makes the next index that look-ups and filters need, and returns its name; `None` when none is missing. Readers
    /// go on; nothing else is written meanwhile.
    ///
    /// # Errors
    /// [`Error`]; the index is still missing then, and may be made later.
    pub fn make_index(&mut self) -> Result<Option<&'static str>, Error> {
        let readers = Arc::clone(&self.readers);
        if readers.indexes().are_made() {
            return Ok(None);
        }
        let _writing = readers.writing();
        readers.indexes().make_next(&mut self.connection).map_err(|source| readers.fault(source))
    }

    /// Returns what ends an erasure or the making of an index that is under way, from any thread.
    pub(crate) fn interrupt(&self) -> Interrupt {
        Interrupt::of(&self.connection)
    }

    /// Returns the forgotten users of whom something may still be in the file or in its write-ahead log.
    pub fn erasures(&self) -> Erasures {
        let mut erasures = self.erasures.clone();
        erasures.join(&self.erasures_in_log);
        erasures
    }

    /// Erases what is left of those who were forgotten: writes the file anew, and empties the write-ahead log. Readers
    /// go on; nothing else is written meanwhile.
    ///
    /// # Errors
    /// [`Error`]; what was to be erased still is then, at the next call or by the next process.
    pub fn erase(&mut self) -> Result<Erased, Error> {
        let readers = Arc::clone(&self.readers);
        let _writing = readers.writing();
        self.erase_anew().map_err(|source| readers.fault(source))
    }

    fn erase_anew(&mut self) -> rusqlite::Result<Erased> {
        self.log_mover.wait().ok();
        let connection = &self.connection;
        if self.erasures_in_log.is_empty() && self.erasures.is_empty() {
            return Ok(Erased::Done);
        }
        // Whoever holds the log would let it grow by a whole file.
        if !erasure::truncate_log(connection)? {
            return Ok(Erased::HeldBack(self.readers.held_by(READ_MAX)));
        }
        if self.erasures_in_log.is_empty() {
            erasure::vacuum(connection, &self.path)?;
            self.erasures_in_log = std::mem::take(&mut self.erasures);
            if !erasure::truncate_log(connection)? {
                return Ok(Erased::HeldBack(self.readers.held_by(READ_MAX)));
            }
        }
        self.erasures.replace(connection)?;
        self.erasures_in_log = Erasures::default();
        Ok(if self.erasures.is_empty() { Erased::Done } else { Erased::InPart })
    }

    /// Cuts the write-ahead log if it is larger than it should be. Returns who holds it, and how large it is, if it
    /// cannot be cut: it grows with every commit then.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be read or written.
    pub fn trim_log(&mut self) -> Result<Option<(HeldBy, u64)>, Error> {
        let mut log = self.path.as_os_str().to_owned();
        log.push("-wal");
        let bytes = std::fs::metadata(&log).map_or(0, |found| found.len());
        if bytes <= 2 * u64::from(self.log_bytes_max) {
            return Ok(None);
        }
        let _writing = self.readers.writing();
        self.log_mover.wait().ok();
        let is_cut = erasure::truncate_log(&self.connection).map_err(|source| Error::of(&self.path, source))?;
        Ok((!is_cut).then(|| (self.readers.held_by(READ_MAX), bytes)))
    }

    /// Returns how far the topic of late deliveries was read, if it is still this log.
    pub(crate) fn late_checkpoint(&self) -> (Checkpoint, Option<LogId>) {
        (self.late_checkpoint.clone(), self.late_log.clone())
    }

    /// Lets late deliveries of this log close gaps, and moves past them, in one transaction. Returns how many gaps
    /// closed.
    ///
    /// # Errors
    /// [`Error`]; nothing was changed then, and the same records may be taken again.
    pub(crate) fn take_late(&mut self, log: &LogId, records: &[Record]) -> Result<u64, Error> {
        let _writing = self.readers.writing();
        let fault = |source| self.readers.fault(source);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        let is_same = self.late_log.as_ref() == Some(log);
        let mut checkpoint = if is_same { self.late_checkpoint.clone() } else { Checkpoint::default() };
        if !is_same {
            late::begin(&transaction, log).map_err(fault)?;
        }
        let closed = late::take(&transaction, &mut checkpoint, records, &self.meta).map_err(fault)?;
        transaction.commit().map_err(fault)?;
        self.late_checkpoint = checkpoint;
        self.late_log = Some(log.clone());
        Ok(closed)
    }

    /// Records that the store was up to date at `now`, though nothing was there to be committed.
    ///
    /// # Errors
    /// [`Error`] when it cannot be written.
    pub(crate) fn touch(&mut self, now: UnixMillis) -> Result<(), Error> {
        let _writing = self.readers.writing();
        meta::put(&self.connection, "committed_at", &now.millis().to_string())
            .map_err(|source| self.readers.fault(source))?;
        self.meta.committed_at = now;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.log_mover.wait().ok();
        self.readers.retire();
    }
}
