//! Erasure: what is left of forgotten users in the file once their rows are gone, and when it is gone too.
//!
//! Deleted content is overwritten (`secure_delete`), but a row that was moved to another page leaves its copy in the
//! free space of the former one, and the write-ahead log keeps pages as they were. So after the rows, the file is
//! written anew (`VACUUM`), once for all tombstones that wait, and the log is emptied. Measured, 300,000 users with
//! 100,000 changes, 330 MB: 1.4 s for the file, in which readers go on and the writer waits, 0.1 s for the log. A copy
//! beside it, moved into place (`VACUUM INTO`, 0.7 s), would spare the writer half of that, and leave whoever has the
//! file open with the former one, for ever.
//!
//! The tombstones that wait are rows of the table `erasures`, written with the transaction that forgets and removed
//! after the log is empty: a process that ends in between leaves them to the next.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use domain::{Position, UnixMillis};
use rusqlite::{Connection, params};

use super::TempFolder;
use super::connection::BUSY_MAX;

/// How long the emptying of the log waits for readers, and the writer with it: longer than nearly every read.
pub(super) const READERS_WAIT: Duration = Duration::from_millis(250);

/// Tombstones whose users may still be in the file, by partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erasures(BTreeMap<i32, PendingErasure>);

/// The tombstones of a partition whose users may still be in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingErasure {
    /// The offset of the first one.
    pub first: i64,
    pub tombstones: u64,
    /// The time of the first one.
    pub since: UnixMillis,
}

/// The result of an attempt to erase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erased {
    /// Nothing waits any more.
    Done,
    /// Those who waited at first; others were forgotten meanwhile.
    InPart,
    HeldBack(HeldBy),
}

/// Whoever holds the write-ahead log, so that it cannot be emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// A read of this process, which has lasted for so long.
    OwnRead(Duration),
    AnotherProcess,
}

impl Erasures {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the offset below which every tombstone's user is gone from the file, on a partition that has been read
    /// to `next_offset`.
    pub fn erased_up_to(&self, partition: i32, next_offset: i64) -> i64 {
        self.0.get(&partition).map_or(next_offset, |pending| pending.first.min(next_offset))
    }

    /// Returns how many tombstones wait.
    pub fn tombstones(&self) -> u64 {
        self.0.values().map(|pending| pending.tombstones).sum()
    }

    /// Returns the time of the first tombstone that waits.
    pub fn since(&self) -> Option<UnixMillis> {
        self.0.values().map(|pending| pending.since).min()
    }

    pub(super) fn add(&mut self, tombstone: Position, since: UnixMillis) {
        let one = PendingErasure { first: tombstone.offset, tombstones: 1, since };
        self.join(&Self(BTreeMap::from([(tombstone.partition, one)])));
    }

    pub(super) fn join(&mut self, others: &Self) {
        for (partition, other) in &others.0 {
            let first = PendingErasure { tombstones: 0, ..*other };
            let pending = self.0.entry(*partition).or_insert(first);
            pending.first = pending.first.min(other.first);
            pending.tombstones += other.tombstones;
            pending.since = pending.since.min(other.since);
        }
    }

    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement =
            connection.prepare_cached("SELECT partition, first_offset, tombstones, since FROM erasures")?;
        let rows = statement.query_map([], |row| {
            let tombstones = row.get::<_, i64>(2)?.try_into().unwrap_or_default();
            let since = UnixMillis::from_millis(row.get(3)?);
            Ok((row.get(0)?, PendingErasure { first: row.get(1)?, tombstones, since }))
        })?;
        rows.collect::<rusqlite::Result<_>>().map(Self)
    }

    /// Adds these to the table.
    pub(super) fn note(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let mut all = Self::read(connection)?;
        all.join(self);
        all.write(connection)
    }

    /// Makes these all that the table has.
    pub(super) fn replace(&self, connection: &Connection) -> rusqlite::Result<()> {
        let transaction = connection.unchecked_transaction()?;
        transaction.execute("DELETE FROM erasures", [])?;
        self.write(&transaction)?;
        transaction.commit()
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut put = connection.prepare_cached("INSERT OR REPLACE INTO erasures VALUES (?1, ?2, ?3, ?4)")?;
        for (partition, PendingErasure { first, tombstones, since }) in &self.0 {
            let tombstones = i64::try_from(*tombstones).unwrap_or(i64::MAX);
            put.execute(params![partition, first, tombstones, since.millis()])?;
        }
        Ok(())
    }
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnRead(lasts) => write!(f, "a read of this process has lasted for {} s", lasts.as_secs()),
            Self::AnotherProcess => f.write_str("another process reads users.db and holds its write-ahead log"),
        }
    }
}

/// Writes the whole file anew, which leaves nothing in it but the rows. The temporary file is in the folder of the
/// store, has no name once it is open, and holds the same rows.
pub(super) fn vacuum(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let _folder = TempFolder::beside(connection, path);
    connection.execute_batch("VACUUM")
}

/// Moves the write-ahead log into the file and cuts it to nothing. Returns whether it could: not while somebody reads
/// as of a moment before.
pub(super) fn truncate_log(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(READERS_WAIT)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    connection.busy_timeout(BUSY_MAX)?;
    busy.map(|busy| busy == 0)
}
