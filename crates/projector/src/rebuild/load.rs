//! The one sorted load: rows in the order of their keys.

use std::fs::File;
use std::hint::black_box;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use domain::wire::Facets;
use domain::{Checkpoint, LeaderEpochs, Position, UserId};
use rusqlite::{Connection, ffi, params};

use super::progress::{Meter, Stage};
use super::slot::KeySlot;
use super::table::Table;
use crate::store::{
    Error, GatherSearch, PutUser, SearchRow, StoreMeta, Texts, Unread, append_search, create_indexes, create_tables,
    facets_of, note_unreadable, put_forgotten, seal, to_make, write_counts, write_epochs, write_gaps, write_late,
    write_positions, write_seconds, write_unknown,
};

/// How many rows one thread hands to the other at once.
const ROWS_PER_HAND: usize = 512;
/// How many such hands may wait.
const HANDS_WAITING: usize = 8;
/// Page cache of the load, in KiB, negative as SQLite wants it: rows come in order, so that few pages are in use, and
/// these stay in the processor's cache.
const CACHE_KIB: i64 = -1024;
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

/// Users on the way from one thread to the other, with the rows of the search that they complete.
#[derive(Default)]
struct Hand<'t> {
    rows: Vec<Row<'t>>,
    /// The events, each with its checksum.
    events: Vec<u8>,
    search: Vec<SearchRow>,
}

/// A user of a hand: the event that wins, with its facets.
struct Row<'t> {
    user_id: UserId,
    position: Position,
    facets: Facets<'t>,
    sort_name: String,
    event: Range<usize>,
    /// Where there is more to be written than the user.
    more: Option<(&'t Table, &'t KeySlot)>,
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
            thread::scope(|scope| {
                // The disk has something to do meanwhile. Whether all is written is asked when it is put into place.
                let sync = || File::open(&self.path).and_then(|file| file.sync_data());
                drop(thread::Builder::new().spawn_scoped(scope, sync));
                insert_places(&transaction, tables, &places)
            })?;
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

/// Prepares rows on one thread and inserts them on this one.
fn insert_all(connection: &Connection, tables: &[Table], places: &[Place], meter: &Meter) -> rusqlite::Result<()> {
    let found = |(_, table, place): &Place| {
        let table = &tables[*table as usize];
        (table, table.slot(*place))
    };
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(HANDS_WAITING);
        let prepare = move || {
            let mut search = GatherSearch::default();
            for places in places.chunks(ROWS_PER_HAND) {
                let hand = Hand::of(places.iter().map(found), &mut search);
                if meter.is_stopped() || sender.send(hand).is_err() {
                    return;
                }
            }
            // Nobody waits for it if the load has failed.
            let last = search.take().into_iter().collect();
            drop(sender.send(Hand { search: last, ..Hand::default() }));
        };
        thread::Builder::new().spawn_scoped(scope, prepare).map_err(|error| no_thread(&error))?;
        let mut put = PutUser::new(connection)?;
        for hand in receiver {
            meter.load(hand.rows.len() as u64);
            hand.insert(connection, &mut put)?;
        }
        Ok(())
    })
}

/// Inserts what there is beside the users: where each is in the log, who is forgotten, and who ends in unknown records.
fn insert_places(connection: &Connection, tables: &[Table], places: &[Place]) -> rusqlite::Result<()> {
    let mut positions = Vec::with_capacity(places.len());
    for (_, table, place) in places {
        let slot = tables[*table as usize].slot(*place);
        let (rank, position) = (slot.roll.rank(), slot.roll.position());
        if rank.is_forgotten() {
            put_forgotten(connection, slot.user_id, position, rank.time())?;
        } else {
            positions.push((position, slot.user_id));
        }
    }
    write_positions(connection, positions)?;
    for (user_id, tail) in tables.iter().flat_map(Table::unknown) {
        write_unknown(connection, user_id, tail)?;
    }
    Ok(())
}

impl<'t> Hand<'t> {
    /// Prepares the users among these keys.
    fn of(keys: impl Iterator<Item = (&'t Table, &'t KeySlot)>, search: &mut GatherSearch) -> Self {
        let found = keys.filter_map(|(table, slot)| Some((table, slot, table.winner(slot)?)));
        let found: Vec<_> = found.collect();
        // All of them are on their way into the cache at once, as in a batch of the fold.
        black_box(found.iter().fold(0, |all, (.., event)| all ^ event.last().copied().unwrap_or_default()));
        let mut hand = Self::default();
        for (table, slot, event) in found {
            let facets = facets_of(event);
            let texts = Texts::of(&facets);
            hand.search.extend(search.put(slot.user_id, &texts));
            let begin = hand.events.len();
            seal(event, &mut hand.events);
            hand.rows.push(Row {
                user_id: slot.user_id,
                position: slot.roll.position(),
                facets,
                sort_name: texts.sort_name().into_owned(),
                event: begin..hand.events.len(),
                more: (slot.lineage.is_some() || slot.roll.members().len() > 1).then_some((table, slot)),
            });
        }
        hand
    }

    fn insert(&self, connection: &Connection, put: &mut PutUser<'_>) -> rusqlite::Result<()> {
        for Row { user_id, position, facets, sort_name, event, more } in &self.rows {
            let lineage = more.and_then(|(_, slot)| slot.lineage.as_deref());
            let gaps = lineage.map_or(0, |lineage| lineage.gaps.len());
            put.put(*user_id, *position, gaps, facets, sort_name, &self.events[event.clone()])?;
            if let Some(lineage) = lineage {
                write_gaps(connection, *user_id, &lineage.gaps)?;
                write_late(connection, *user_id, &lineage.late)?;
            }
            if let Some((table, slot)) = more
                && slot.roll.members().len() > 1
            {
                write_seconds(connection, *user_id, &slot.roll, |member| table.event(slot, member))?;
            }
        }
        self.search.iter().try_for_each(|row| append_search(connection, row))
    }
}

/// A thread that cannot be had, as a failure that passes: mostly there is no memory for its stack.
fn no_thread(error: &std::io::Error) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOMEM), Some(error.to_string()))
}

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
