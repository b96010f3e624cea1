//! One connection that reads: every question that the store answers, each as of one moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::gap::OpenGap;
use domain::{Checkpoint, UnixMillis, UserId};
use rusqlite::Connection;

use super::connection::Interrupt;
use super::history::{self, Change, Kept, KeptPlaces, UserHistory, Which};
use super::{
    Counts, Erasures, Error, Indexes, Lookup, Place, StoreMeta, Tally, Unread, UserFilter, UserRows, connection,
    counts, meta, query, rows, tally, unknown, unreadable,
};

/// One connection that reads.
#[derive(Debug)]
pub struct StoreReader {
    path: PathBuf,
    interrupt: Arc<Interrupt>,
    connection: Connection,
    indexes: Arc<Indexes>,
}

/// What there is in the table, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) counts: Counts,
    /// The records that could not be read or are unknown.
    pub(crate) records_unreadable: u64,
    /// The receipt of the newest event.
    pub(crate) last_event: Option<UnixMillis>,
}

impl StoreReader {
    /// Opens a store for reading alone.
    ///
    /// # Errors
    /// [`Error`], by what is wrong with the file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connect = || {
            let connection = connection::to_read(path)?;
            let indexes = Indexes::read(&connection)?;
            Ok((connection, Arc::new(indexes)))
        };
        let (connection, indexes) = connect().map_err(|source| Error::of(path, source))?;
        Ok(Self { path: path.to_owned(), interrupt: Arc::new(Interrupt::of(&connection)), connection, indexes })
    }

    /// Opens it beside its writer, who makes these indexes.
    pub(super) fn beside(path: &Path, indexes: &Arc<Indexes>) -> Result<Self, Error> {
        let connection = connection::to_read(path).map_err(|source| Error::of(path, source))?;
        let (interrupt, indexes) = (Arc::new(Interrupt::of(&connection)), Arc::clone(indexes));
        Ok(Self { path: path.to_owned(), interrupt, connection, indexes })
    }

    /// Returns what is known of a user.
    ///
    /// # Errors
    /// [`Error`], as every method of this type, when the file cannot be read.
    pub fn get(&self, user_id: UserId) -> Result<Lookup, Error> {
        self.read(|connection| query::get(connection, user_id))
    }

    /// Returns up to `limit` users that the filter lets through, those after `after`, in the order of the filter.
    ///
    /// # Errors
    /// As [`StoreReader::get`]; [`Error::Unindexed`] while an index that the filter needs is still to be made.
    pub fn find(&self, filter: &UserFilter, after: Option<&Place>, limit: usize) -> Result<UserRows, Error> {
        self.indexes.need(&filter.needs())?;
        self.read(|connection| query::find(connection, filter, after, limit))
    }

    /// Returns how many of the indexes that look-ups and filters need are made.
    #[cfg(test)]
    pub(crate) fn indexes_made(&self) -> usize {
        self.indexes.made()
    }

    /// Returns the changes that are kept with numbers from `begin` up to `end`, this one excluded, and fewer when they
    /// are large.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn kept(&self, begin: i64, end: i64) -> Result<Kept, Error> {
        self.read(|connection| history::kept(connection, begin, Which::Below(end), usize::MAX))
    }

    /// Returns up to `limit` changes of these users that are kept, with numbers from `begin` on.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn kept_of(&self, users: &[UserId], begin: i64, limit: usize) -> Result<Kept, Error> {
        self.read(|connection| history::kept(connection, begin, Which::Of(users), limit))
    }

    /// Returns the positions of the changes that are kept, with numbers from `begin` on.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn kept_places(&self, begin: i64) -> Result<KeptPlaces, Error> {
        self.read(|connection| history::places(connection, begin))
    }

    /// Returns what is known of a user, and the newest of what this table has seen of it.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn history(&self, user_id: UserId) -> Result<(Lookup, UserHistory), Error> {
        self.read(|connection| Ok((query::get(connection, user_id)?, history::of_user(connection, user_id)?)))
    }

    /// Returns the users whose winning record on `partition` is at `offset` or later, at most `limit`, and the
    /// checkpoint; of `users` alone, where they are named.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub(crate) fn latest(
        &self,
        users: Option<&[UserId]>,
        partition: i32,
        offset: i64,
        limit: usize,
    ) -> Result<(Vec<Change>, Checkpoint), Error> {
        self.read(|connection| history::latest(connection, users, partition, offset, limit))
    }

    /// Returns the position that the table stands for.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        self.read(meta::read_checkpoint)
    }

    /// Returns what the store is of.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn meta(&self) -> Result<StoreMeta, Error> {
        self.read(StoreMeta::read)
    }

    /// Returns how many users and forgotten users there are.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn counts(&self) -> Result<Counts, Error> {
        self.read(counts::read)
    }

    /// Returns what there is in the table.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub(crate) fn contents(&self) -> Result<Contents, Error> {
        let (counts, records_unreadable) = (self.counts()?, self.meta()?.records_unreadable);
        let last_event = self.read(query::last_event)?;
        Ok(Contents { counts, records_unreadable, last_event })
    }

    /// Counts what is amiss at `now`.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn tally(&self, now: UnixMillis) -> Result<Tally, Error> {
        self.read(|connection| tally::tally(connection, now))
    }

    /// Returns up to `limit` open gaps with their users.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn gaps(&self, limit: usize) -> Result<Vec<(UserId, OpenGap)>, Error> {
        self.read(|connection| rows::all_gaps(connection, limit))
    }

    /// Returns the name of a user, if the user is known and has one.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub(crate) fn name(&self, user_id: UserId) -> Result<Option<String>, Error> {
        self.read(|connection| rows::name(connection, user_id))
    }

    /// Returns up to `limit` users whose last records are unknown to this build, and since when.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn unknown(&self, limit: usize) -> Result<Vec<(UserId, UnixMillis)>, Error> {
        self.read(|connection| unknown::listed(connection, limit))
    }

    /// Returns up to `limit` records that could not be read.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn unreadable(&self, limit: usize) -> Result<Vec<Unread>, Error> {
        self.read(|connection| unreadable::listed(connection, limit))
    }

    /// Returns the forgotten users of whom something may still be in the file.
    ///
    /// # Errors
    /// As [`StoreReader::get`].
    pub fn erasures(&self) -> Result<Erasures, Error> {
        self.read(Erasures::read)
    }

    /// Keeps what is read next as it is at that moment, until [`StoreReader::let_go`].
    pub(super) fn hold(&self) -> rusqlite::Result<()> {
        self.execute("BEGIN")
    }

    pub(super) fn interrupt(&self) -> Arc<Interrupt> {
        Arc::clone(&self.interrupt)
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use domain::UnixMillis;

    use super::super::{HeldBy, Writer};
    use super::*;

    #[test]
    fn a_read_without_an_end_is_interrupted_when_it_holds_somebody_up() {
        const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        let dir = tempfile::tempdir().unwrap();
        let meta = StoreMeta::new("t", &testkit::event::log_id(), UnixMillis::from_millis(0));
        let writer = Writer::create(&dir.path().join("users.1.db"), &meta).unwrap();
        let readers = Arc::clone(writer.readers());
        let (begun, begins) = channel();
        let reading = thread::spawn(move || {
            readers.with(|reader| {
                reader.checkpoint()?;
                begun.send(()).unwrap();
                reader.read(|connection| connection.query_row(ENDLESS, [], |row| row.get::<_, i64>(0)))
            })
        });
        begins.recv().unwrap();
        while !reading.is_finished() {
            // In the first moments it may not have begun to execute anything.
            assert!(matches!(writer.readers().held_by(Duration::ZERO), HeldBy::OwnRead(_) | HeldBy::AnotherProcess));
            thread::yield_now();
        }
        let error = reading.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. }) && error.is_transient(), "{error}");
        assert!(writer.readers().with(StoreReader::checkpoint).is_ok(), "others read on");
    }
}
