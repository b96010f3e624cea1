//! The one writer: a batch of records becomes rows and a checkpoint, in one transaction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::fold::{self, Effect, KeyState, RecordHead};
use domain::wire::Facets;
use domain::{Checkpoint, Position, UnixMillis, UserId, record};
use log::Record;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use super::history::{self, Change};
use super::late;
use super::rows::{FACET_COLUMNS, facets_of, read_facets, read_gaps, signed, write_gaps};
use super::{Error, GapRow, Meta, create_indexes, create_tables, meta};
use crate::lineage;

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
        Ok(Self { path: path.to_owned(), connection, checkpoint, late_checkpoint, meta })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
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
        meta::put(&self.connection, "committed_at", &now.millis().to_string())
            .map_err(|source| Error::of(&self.path, source))?;
        self.meta.committed_at = now;
        Ok(())
    }
}

/// A transaction on its way.
struct Work<'c> {
    connection: &'c Connection,
    keys: BTreeMap<UserId, Key>,
    commit: Commit,
}

/// One user during a transaction: as it was, and as it is now.
struct Key {
    partition: i32,
    state: Option<KeyState>,
    /// The value of the winning record; `None` when forgotten or unknown.
    value: Option<Vec<u8>>,
    gaps: Vec<GapRow>,
    facets_stored: Option<Facets<'static>>,
    value_changed: bool,
    gaps_changed: bool,
}

impl<'c> Work<'c> {
    fn new(connection: &'c Connection, checkpoint: Checkpoint) -> Self {
        Self { connection, keys: BTreeMap::new(), commit: Commit { checkpoint, ..Commit::default() } }
    }

    fn take(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        for record in &batch.records {
            if self.commit.checkpoint.advance(record.position).is_ok() {
                self.apply(record)?;
            }
        }
        for (partition, next) in &batch.ends {
            self.commit.checkpoint.reach(*partition, *next);
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record) -> rusqlite::Result<()> {
        let ce_time = record.header(domain::headers::CE_TIME);
        let read = record::read(record.key.as_deref(), record.value.as_deref(), ce_time, record.timestamp);
        let (user_id, head) = match read {
            Ok(read) => read,
            Err(error) => {
                self.commit.unreadable.push(Unread { position: record.position, reason: error.to_string() });
                return Ok(());
            }
        };
        if !self.keys.contains_key(&user_id) {
            let key = load(self.connection, user_id)?;
            self.keys.insert(user_id, key);
        }
        let key = self.keys.get_mut(&user_id).expect("it was put there a line above");
        let effect = key.apply(record, head);
        match effect {
            Effect::Newer { .. } => self.commit.newer += 1,
            Effect::Duplicate => self.commit.duplicate += 1,
            Effect::Stale => self.commit.stale += 1,
            Effect::Forgotten => self.commit.forgotten += 1,
        }
        if let Effect::Newer { .. } | Effect::Forgotten = effect {
            let found = key.gaps.last().is_some_and(|gap| gap.position == record.position);
            self.commit.gaps_found += u64::from(found);
            let change = Change::new(record.position, user_id, head, record.value.clone(), key.gaps.clone());
            self.commit.changes.push(change);
        }
        Ok(())
    }

    fn finish(mut self, meta: &Meta, as_of: UnixMillis) -> rusqlite::Result<Commit> {
        let connection = self.connection;
        for (user_id, key) in &self.keys {
            store(connection, *user_id, key)?;
        }
        history::append(connection, &self.commit.changes)?;
        let mut statement = connection.prepare_cached(
            "INSERT INTO checkpoint VALUES (?1, ?2, 0) ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
        )?;
        for (partition, next) in self.commit.checkpoint.iter() {
            statement.execute(params![partition, next])?;
        }
        if !self.commit.unreadable.is_empty() {
            let count = meta.records_unreadable + self.commit.unreadable.len() as u64;
            note_unreadable(connection, &self.commit.unreadable, count)?;
        }
        meta::put(connection, "committed_at", &as_of.millis().to_string())?;
        self.keys.clear();
        Ok(self.commit)
    }
}

impl Key {
    fn apply(&mut self, record: &Record, head: RecordHead) -> Effect {
        let position = record.position;
        let (state, effect) = apply_at(self.state, self.partition, position, head);
        let value = record.value.as_deref();
        self.gaps_changed |= lineage::follow(&mut self.gaps, effect, position, &head, self.value.as_deref(), value);
        self.state = Some(state);
        if effect.replaces_payload() {
            self.partition = position.partition;
            self.value = value.map(<[u8]>::to_vec);
            self.value_changed = true;
        }
        effect
    }
}

/// Applies a record to a state that may be of another partition: after a topic was given more partitions, the key's records
/// go on elsewhere, and offsets of two partitions cannot be compared.
pub(crate) fn apply_at(
    state: Option<KeyState>,
    partition: i32,
    position: Position,
    head: RecordHead,
) -> (KeyState, Effect) {
    match state {
        Some(held) if partition != position.partition => {
            let unplaced = KeyState { winner_offset: -1, last_offset: -1, ..held };
            match fold::apply(Some(unplaced), position.offset, head) {
                (_, Effect::Stale) => (held, Effect::Stale),
                won => won,
            }
        }
        state => fold::apply(state, position.offset, head),
    }
}

fn load(connection: &Connection, user_id: UserId) -> rusqlite::Result<Key> {
    let unknown = Key {
        partition: 0,
        state: None,
        value: None,
        gaps: Vec::new(),
        facets_stored: None,
        value_changed: false,
        gaps_changed: false,
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT partition, winner_offset, last_offset, gaps, event, {} FROM users WHERE user_id = ?1",
        FACET_COLUMNS
    ))?;
    let user = statement
        .query_row([user_id.get()], |row| {
            let event: Vec<u8> = row.get(4)?;
            let gaps: i64 = row.get(3)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, gaps, event, read_facets(row, 5)?))
        })
        .optional()?;
    if let Some((partition, winner_offset, last_offset, gaps, event, facets)) = user {
        let head = domain::wire::decode_head(&event).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Blob, Box::new(error))
        })?;
        let winner = RecordHead::Event(head);
        return Ok(Key {
            partition,
            state: Some(KeyState { winner, winner_offset, last_offset }),
            value: Some(event),
            gaps: if gaps > 0 { read_gaps(connection, user_id)? } else { Vec::new() },
            facets_stored: Some(facets),
            ..unknown
        });
    }
    let mut statement = connection.prepare_cached(
        "SELECT partition, winner_offset, last_offset, forgotten_at FROM forgotten WHERE user_id = ?1",
    )?;
    let forgotten = statement
        .query_row([user_id.get()], |row| {
            let winner = RecordHead::Forgotten { at: UnixMillis::from_millis(row.get(3)?) };
            Ok((row.get(0)?, KeyState { winner, winner_offset: row.get(1)?, last_offset: row.get(2)? }))
        })
        .optional()?;
    Ok(match forgotten {
        Some((partition, state)) => Key { partition, state: Some(state), ..unknown },
        None => unknown,
    })
}

fn store(connection: &Connection, user_id: UserId, key: &Key) -> rusqlite::Result<()> {
    let Some(state) = key.state else { return Ok(()) };
    let id = user_id.get();
    if key.gaps_changed {
        connection.prepare_cached("DELETE FROM gaps WHERE user_id = ?1")?.execute([id])?;
        write_gaps(connection, user_id, &key.gaps)?;
    }
    match (&state.winner, &key.value) {
        (RecordHead::Forgotten { at }, _) => {
            connection.prepare_cached("DELETE FROM users WHERE user_id = ?1")?.execute([id])?;
            connection
                .prepare_cached("INSERT OR REPLACE INTO forgotten VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![id, key.partition, state.winner_offset, state.last_offset, at.millis()])?;
        }
        (RecordHead::Event(_), Some(value)) => {
            let facets = if key.value_changed { facets_of(value) } else { Facets::default() };
            if !key.value_changed || key.facets_stored.as_ref() == Some(&facets) {
                update_user(connection, id, key, state, value)?;
            } else {
                connection.prepare_cached("DELETE FROM forgotten WHERE user_id = ?1")?.execute([id])?;
                put_user(connection, id, key, state, value, &facets)?;
            }
        }
        (RecordHead::Event(_), None) => unreachable!("an event that won has brought its value"),
    }
    Ok(())
}

/// Replaces what changes with every record, and spares the indexes of the columns that did not.
fn update_user(connection: &Connection, id: i64, key: &Key, state: KeyState, value: &[u8]) -> rusqlite::Result<()> {
    let gaps = signed(key.gaps.len());
    if key.value_changed {
        connection
            .prepare_cached(
                "UPDATE users SET partition = ?2, winner_offset = ?3, last_offset = ?4, gaps = ?5, event = ?6 \
                 WHERE user_id = ?1",
            )?
            .execute(params![id, key.partition, state.winner_offset, state.last_offset, gaps, value])?;
    } else {
        connection
            .prepare_cached("UPDATE users SET last_offset = ?2, gaps = ?3 WHERE user_id = ?1")?
            .execute(params![id, state.last_offset, gaps])?;
    }
    Ok(())
}

fn put_user(
    connection: &Connection,
    id: i64,
    key: &Key,
    state: KeyState,
    value: &[u8],
    facets: &Facets<'_>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO users VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)")?
        .execute(params![
            id,
            key.partition,
            state.winner_offset,
            state.last_offset,
            signed(key.gaps.len()),
            facets.username,
            facets.name,
            facets.email,
            facets.extension,
            facets.state,
            facets.is_agent,
            facets.priv_group,
            value
        ])?;
    Ok(())
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
