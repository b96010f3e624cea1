//! Snapshots for readers: connections that cannot write, each used by one reader at a time, who sees one moment of the
//! store however much is committed meanwhile.
//!
//! A connection keeps its snapshot from one reader to the next, since taking one and letting it go costs more than a
//! look into the table: two locks on the file, in turn with every other connection of the process. While the writer
//! writes, none is kept: the write-ahead log can begin anew at each commit, as if every reader had let go by itself,
//! and nobody who begins to read after a commit sees what was before it.
//!
//! A read that is under way holds its snapshot, and an erasure has to wait for it: it is interrupted in the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::TopicId;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::connection::Interrupt;
use super::damage::Damage;
use super::erasure::READERS_WAIT;
use super::{Error, HeldBy, Indexes, LogNames, StoreReader};
use crate::start::RebuildReason;

/// How many idle connections are kept, each with its page cache.
const IDLE_MAX: usize = 16;
/// How long a read may let an erasure wait before it is interrupted. A page takes milliseconds, and a walk over the
/// whole table of a million users less than a second.
pub(super) const READ_MAX: Duration = Duration::from_secs(30);

/// The readers of one generation of the store, from [`super::Writer::readers`] alone: without the writer's word a
/// snapshot would be kept for ever.
#[derive(Debug)]
pub struct StoreReaders {
    path: PathBuf,
    names: RwLock<LogNames>,
    pool: Mutex<Pool>,
    damage: Damage,
    indexes: Arc<Indexes>,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<StoreReader>,
    /// How many writes there were. A snapshot is kept until the next.
    writes: u64,
    /// While a write is under way, and for ever once the writer is gone: no snapshot is kept then.
    writing: bool,
    /// The reads that are under way: few at a time.
    under_way: Vec<UnderWay>,
    /// How many reads there were.
    reads: u64,
}

#[derive(Debug)]
struct UnderWay {
    number: u64,
    began: Instant,
    interrupt: Arc<Interrupt>,
}

/// A read that is under way while this lives.
struct Reading<'r> {
    readers: &'r StoreReaders,
    number: u64,
}

/// No reader keeps a snapshot beyond what it reads while this lives.
#[derive(Debug)]
pub(super) struct Writing<'r>(&'r StoreReaders);

impl StoreReaders {
    /// Prepares to read the store at `path`, which the writer has opened; it announces each write.
    pub(super) fn new(path: &Path, names: LogNames, indexes: Indexes) -> Self {
        let (names, pool, damage) = (RwLock::new(names), Mutex::default(), Damage::none(path));
        Self { path: path.to_owned(), names, pool, damage, indexes: Arc::new(indexes) }
    }

    /// Returns how far the indexes are that look-ups and filters need.
    pub(crate) fn indexes(&self) -> &Arc<Indexes> {
        &self.indexes
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the topic that the store is of.
    pub fn topic(&self) -> TopicId {
        self.names.read().topic()
    }

    /// Returns the names of all positions that have been read from the store before this call.
    pub fn names(&self) -> LogNames {
        self.names.read().clone()
    }

    /// Sets the names, which are those of before and more.
    pub(super) fn name(&self, names: LogNames) {
        *self.names.write() = names;
    }

    /// Sorts an error of the library that the writer has met, and notes it if it says that the table is damaged.
    pub(super) fn fault(&self, source: rusqlite::Error) -> Error {
        let error = Error::of(&self.path, source);
        self.damage.note(&error);
        error
    }

    /// Waits until somebody has met damage of the table, a reader or the writer.
    ///
    /// Cancel-safe.
    pub(crate) async fn damage(&self) -> RebuildReason {
        self.damage.met().await
    }

    /// Returns whether the files of the table are still those that were opened.
    pub(crate) fn is_in_place(&self) -> bool {
        self.damage.is_in_place()
    }

    /// Calls `read` with a connection that nobody else uses meanwhile. A single look into the table takes microseconds;
    /// longer work belongs on a thread that may block.
    ///
    /// # Errors
    /// [`Error`], by what is wrong with the file.
    pub fn with<T>(&self, read: impl FnOnce(&StoreReader) -> Result<T, Error>) -> Result<T, Error> {
        self.read(read).inspect_err(|error| self.damage.note(error))
    }

    fn read<T>(&self, read: impl FnOnce(&StoreReader) -> Result<T, Error>) -> Result<T, Error> {
        let (idle, may_hold) = {
            let mut pool = self.pool.lock();
            let idle = pool.idle.pop().map(|reader| (self.begin(&mut pool, &reader), reader));
            (idle, (!pool.writing).then_some(pool.writes))
        };
        let (reading, reader) = match idle {
            Some(idle) => idle,
            None => {
                let reader = self.open()?;
                (self.begin(&mut self.pool.lock(), &reader), reader)
            }
        };
        if !reader.holds() {
            reader.hold().map_err(|source| Error::of(&self.path, source))?;
        }
        let answer = read(&reader)?;
        // First, so that no other read with this connection is interrupted for it.
        drop(reading);
        self.put_back(reader, may_hold);
        Ok(answer)
    }

    /// Opens a further connection, to the same file as the others.
    fn open(&self) -> Result<StoreReader, Error> {
        let opened = StoreReader::beside(&self.path, &self.indexes);
        if self.is_in_place() { opened } else { Err(Error::Removed { path: self.path.clone() }) }
    }

    fn begin(&self, pool: &mut Pool, reader: &StoreReader) -> Reading<'_> {
        pool.reads += 1;
        let number = pool.reads;
        pool.under_way.push(UnderWay { number, began: Instant::now(), interrupt: reader.interrupt() });
        Reading { readers: self, number }
    }

    /// Returns who holds a snapshot that the writer has just waited for in vain: the read of this process that lasts
    /// longest, if there is one. Such reads are interrupted once they have lasted for `read_max`.
    pub(super) fn held_by(&self, read_max: Duration) -> HeldBy {
        let pool = self.pool.lock();
        for read in pool.under_way.iter().filter(|read| read.began.elapsed() >= read_max) {
            read.interrupt.now();
        }
        let longest = pool.under_way.iter().map(|read| read.began.elapsed()).max();
        longest.filter(|lasts| *lasts >= READERS_WAIT).map_or(HeldBy::AnotherProcess, HeldBy::OwnRead)
    }

    /// Lets go of all snapshots, and has none kept until what is returned is dropped: to be called before each write.
    pub(super) fn writing(&self) -> Writing<'_> {
        let mut pool = self.pool.lock();
        pool.writes += 1;
        pool.writing = true;
        pool.idle.retain(|reader| reader.let_go().is_ok());
        Writing(self)
    }

    /// Lets go of all snapshots, and keeps none from now on: the writer that announced each write is gone.
    pub(super) fn retire(&self) {
        let mut pool = self.pool.lock();
        pool.writing = true;
        pool.idle.clear();
    }

    /// Keeps the connection, and its snapshot too unless something was written since.
    fn put_back(&self, reader: StoreReader, may_hold: Option<u64>) {
        let keep = |pool: &mut Pool, reader| {
            if pool.idle.len() < IDLE_MAX {
                pool.idle.push(reader);
            }
        };
        let mut pool = self.pool.lock();
        if !pool.writing && may_hold == Some(pool.writes) {
            return keep(&mut pool, reader);
        }
        drop(pool);
        if reader.let_go().is_ok() {
            keep(&mut self.pool.lock(), reader);
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.pool.lock();
        if let Some(place) = pool.under_way.iter().position(|read| read.number == self.number) {
            pool.under_way.swap_remove(place);
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.pool.lock().writing = false;
    }
}

#[cfg(test)]
mod tests {
    use domain::{Position, UnixMillis, User, UserId, headers, wire};
    use kafka::Record;
    use testkit::event;

    use crate::store::{LogBatch, Lookup, StoreMeta, StoreReader, Writer};

    const ID: i64 = 7;

    /// The user is there, or forgotten, by the record at that second and offset.
    fn record(second: i64, is_there: bool) -> LogBatch {
        let (user_id, at) = (event::user_id(ID), event::at(second));
        let changed = event::event(Some(User::new(user_id)), User::new(user_id), second);
        let value = is_there.then(|| wire::encode(&changed));
        let headers = if is_there { Vec::new() } else { headers::for_forgotten(user_id, at) };
        let record = Record {
            position: Position { partition: 0, offset: second },
            leader_epoch: None,
            timestamp: at,
            key: Some(ID.to_string().into_bytes()),
            value,
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
        };
        LogBatch { records: vec![record], ..LogBatch::default() }
    }

    #[test]
    fn a_read_that_begins_during_a_write_sees_one_moment() {
        let dir = tempfile::tempdir().unwrap();
        let now = UnixMillis::from_millis(0);
        let mut writer =
            Writer::create(&dir.path().join("users.1.db"), &StoreMeta::new("t", &testkit::event::log_id(), now))
                .unwrap();
        let readers = std::sync::Arc::clone(writer.readers());
        writer.commit(&record(1, false), now).unwrap();
        let user_id = UserId::new(ID).unwrap();
        let before = readers.with(StoreReader::checkpoint).unwrap();

        let writing = readers.writing();
        readers
            .with(|reader| {
                // The first and the next question of a look for the user.
                assert_eq!(reader.checkpoint()?, before);
                writer.commit(&record(2, true), now)?;
                assert!(matches!(reader.get(user_id)?, Lookup::Forgotten(_)), "as of the same moment");
                assert_eq!(reader.checkpoint()?, before);
                Ok(())
            })
            .unwrap();
        drop(writing);
        assert!(matches!(readers.with(|reader| reader.get(user_id)).unwrap(), Lookup::Found(_)));
    }
}
