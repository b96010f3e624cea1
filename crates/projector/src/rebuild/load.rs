//! The one sorted load: rows in the order of their keys.

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use domain::wire::Facets;
use domain::{Checkpoint, LeaderEpochs};
use rusqlite::{Connection, ffi, params};

use super::progress::{Meter, Stage};
use super::slot::KeySlot;
use super::table::Table;
use crate::store::{
    Error, FillSearch, PutUser, StoreMeta, Texts, Unread, create_indexes, create_tables, facets_of, fill_positions,
    note_unreadable, put_forgotten, to_make, write_counts, write_epochs, write_gaps, write_late, write_seconds,
    write_unknown,
};

/// How many rows one thread hands to the other at once.
const ROWS_PER_HAND: usize = 512;
/// How many such hands may wait.
const HANDS_WAITING: usize = 8;
/// Page cache of the load, in KiB, negative as SQLite wants it: rows come in order, so that few pages are in use.
const CACHE_KIB: i64 = -8 * 1024;
/// A page of the file, as large as one that the disk writes: a commit of the live path writes one or two for each
/// event. Pages of twice the size would spare the load some writes, and double those.
const PAGE_BYTES: i64 = 4 * 1024;

/// A store that is being loaded; nobody else sees it.
#[derive(Debug)]
pub(super) struct Loader {
    path: PathBuf,
    connection: Connection,
}

/// A key and where it is: the number of its table, and the slot.
type Place = (i64, u32, u32);

/// A user on the way from one thread to the other: the event that wins, with its facets and their folded texts.
struct Row<'t> {
    table: &'t Table,
    slot: &'t KeySlot,
    event: &'t [u8],
    facets: Facets<'t>,
    texts: Texts,
}

impl Loader {
    /// Makes an empty store. It is synced as a whole when it is finished, so that it needs no journal before.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let create = || {
            let connection = to_make(path)?;
            connection.pragma_update(None, "page_size", PAGE_BYTES)?;
            connection.pragma_update(None, "journal_mode", "OFF")?;
            connection.pragma_update(None, "synchronous", "OFF")?;
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.pragma_update(None, "cache_size", CACHE_KIB)?;
            create_tables(&connection)?;
            #[cfg(test)]
            full_disk::limit(&connection)?;
            Ok(connection)
        };
        let connection = create().map_err(|source| Error::of(path, source))?;
        Ok(Self { path: path.to_owned(), connection })
    }

    /// Loads the keys of all tables, which are above those loaded before.
    pub(super) fn load(&mut self, tables: &mut [Table], meter: &Meter) -> Result<(), Error> {
        meter.begin(Stage::Loading);
        let places = sorted(tables);
        let path = self.path.clone();
        let mut load = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            insert_all(&transaction, tables, &places, meter)?;
            transaction.commit()
        };
        load().map_err(|source| Error::of(&path, source))
    }

    /// Writes what the store is of, at which position. Then it can be answered from; its writer makes the indexes that
    /// look-ups need.
    pub(super) fn finish(
        self,
        meta: &StoreMeta,
        checkpoint: &Checkpoint,
        epochs: &LeaderEpochs,
        unreadable: &[Unread],
    ) -> Result<(), Error> {
        let finish = || -> rusqlite::Result<()> {
            create_indexes(&self.connection)?;
            fill_positions(&self.connection)?;
            let transaction = self.connection.unchecked_transaction()?;
            meta.write(&transaction)?;
            write_counts(&transaction)?;
            note_unreadable(&transaction, unreadable, unreadable.len() as u64)?;
            // Single changes before this position are not known.
            for (partition, next, epoch) in checkpoint.entries() {
                let row = params![partition, next, epoch];
                transaction.execute("INSERT INTO checkpoint VALUES (?1, ?2, ?2, ?3)", row)?;
            }
            write_epochs(&transaction, epochs)?;
            transaction.commit()
        };
        finish().map_err(|source| Error::of(&self.path, source))?;
        self.connection.close().map_err(|(_, source)| Error::of(&self.path, source))
    }
}

/// Returns every key once, in order. One that has records on partitions of two threads, because the topic was given
/// more of them, is joined into the first table that has it.
fn sorted(tables: &mut [Table]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(tables.iter().map(Table::len).sum());
    for (number, table) in (0..).zip(&mut *tables) {
        places.extend(table.take_keys().map(|(key, place)| (key, number, place)));
    }
    places.sort_unstable();
    places.dedup_by(|(key, table, place), (kept_key, kept_table, kept_place)| {
        if key != kept_key {
            return false;
        }
        let pair = [*kept_table as usize, *table as usize];
        let [kept, other] = tables.get_disjoint_mut(pair).expect("a table has a key once");
        kept.join(*kept_place, other, *place);
        true
    });
    places
}

/// Decodes on one thread and inserts on this one.
fn insert_all(connection: &Connection, tables: &[Table], places: &[Place], meter: &Meter) -> rusqlite::Result<()> {
    let found = |(_, table, place): &Place| {
        let table = &tables[*table as usize];
        (table, table.slot(*place))
    };
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Vec<Row<'_>>>(HANDS_WAITING);
        let decode = move || {
            for places in places.chunks(ROWS_PER_HAND) {
                let rows = places.iter().map(found).filter_map(|(table, slot)| {
                    let event = table.winner(slot)?;
                    let facets = facets_of(event);
                    Some(Row { table, slot, event, texts: Texts::of(&facets), facets })
                });
                if meter.is_stopped() || sender.send(rows.collect()).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().spawn_scoped(scope, decode).map_err(|error| no_thread(&error))?;
        let (mut put, mut search) = (PutUser::new(connection)?, FillSearch::new(connection));
        for rows in receiver {
            meter.load(rows.len() as u64);
            for row in rows {
                insert(connection, &mut put, &row)?;
                search.put(row.slot.user_id, &row.texts)?;
            }
        }
        search.finish()?;
        for (user_id, tail) in tables.iter().flat_map(Table::unknown) {
            write_unknown(connection, user_id, tail)?;
        }
        for (_, slot) in places.iter().map(found) {
            let rank = slot.roll.rank();
            if rank.is_forgotten() {
                put_forgotten(connection, slot.user_id, slot.roll.position(), rank.time())?;
            }
        }
        Ok(())
    })
}

/// A thread that cannot be had, as a failure that passes: mostly there is no memory for its stack.
fn no_thread(error: &std::io::Error) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOMEM), Some(error.to_string()))
}

fn insert(connection: &Connection, put: &mut PutUser<'_>, row: &Row<'_>) -> rusqlite::Result<()> {
    let Row { table, slot, event, facets, texts } = row;
    let lineage = slot.lineage.as_deref();
    put.put(slot.user_id, slot.roll.position(), lineage.map_or(0, |lineage| lineage.gaps.len()), facets, texts, event)?;
    if let Some(lineage) = lineage {
        write_gaps(connection, slot.user_id, &lineage.gaps)?;
        write_late(connection, slot.user_id, &lineage.late)?;
    }
    if slot.roll.members().len() > 1 {
        write_seconds(connection, slot.user_id, &slot.roll, |member| table.event(slot, member))?;
    }
    Ok(())
}

/// SQLite's own limit of pages stands for the disk's end: it fails with the same code.
#[cfg(test)]
pub(crate) mod full_disk {
    use std::sync::atomic::{AtomicU32, Ordering};

    use rusqlite::Connection;

    /// How many pages a table that is made has room for; 0 for as many as it likes.
    pub(crate) static PAGES_MAX: AtomicU32 = AtomicU32::new(0);

    pub(super) fn limit(connection: &Connection) -> rusqlite::Result<()> {
        match PAGES_MAX.load(Ordering::Relaxed) {
            0 => Ok(()),
            pages => connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())),
        }
    }
}
