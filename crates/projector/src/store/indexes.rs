//! The indexes that look-ups and filters need, which of them each needs, and how far each is made.
//!
//! A rebuild loads the users without them, and the table is answered from at once. The writer then makes them, one at a
//! time, between its commits. An index is in the file as a whole or not at all: a process that ended in between goes on
//! with those that are missing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;

use super::connection::WRITER_CACHE_KIB;
use super::{TempFolder, counts};

/// An index of the table of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecondaryIndex {
    pub(crate) name: &'static str,
    sql: &'static str,
}

/// In the order in which they are made: those of single look-ups first.
pub(crate) const SECONDARY: [SecondaryIndex; 6] = [
    SecondaryIndex {
        name: "users_by_username",
        sql: "CREATE INDEX users_by_username ON users (username) WHERE username IS NOT NULL",
    },
    SecondaryIndex {
        name: "users_by_email",
        sql: "CREATE INDEX users_by_email ON users (email) WHERE email IS NOT NULL",
    },
    SecondaryIndex {
        name: "users_by_extension",
        sql: "CREATE INDEX users_by_extension ON users (extension) WHERE extension IS NOT NULL",
    },
    SecondaryIndex { name: "users_by_state", sql: "CREATE INDEX users_by_state ON users (state, is_agent)" },
    SecondaryIndex {
        name: "users_by_priv_group",
        sql: "CREATE INDEX users_by_priv_group ON users (priv_group, state, is_agent) WHERE priv_group IS NOT NULL",
    },
    SecondaryIndex { name: "users_by_name", sql: "CREATE INDEX users_by_name ON users (sort_name)" },
];

/// Page cache while an index is made, in KiB, negative as SQLite wants it. The index is sorted in parts of this size,
/// each by a thread of its own while the next is read: parts that hold all of it would be sorted afterwards, by one
/// thread.
const CACHE_KIB: i64 = -8 * 1024;
/// How many threads may sort beside the one that reads.
const SORT_THREADS: i64 = 2;
/// How far an index is that is made.
const MADE: u32 = 1_000;
/// After how many steps of SQLite's machine the progress is noted: every few milliseconds.
const STEPS_PER_LOOK: i32 = 100_000;
/// About how many steps the machine takes for a row: some to read it, some to write its entry.
const STEPS_PER_ROW: u64 = 12;

/// How far each index is, in thousandths: what the writer shares with readers.
#[derive(Debug)]
pub(crate) struct Indexes([AtomicU32; SECONDARY.len()]);

/// How far an index is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexState {
    pub name: &'static str,
    /// From 0, where it is not begun, to 1, where it is in use.
    pub share: f64,
}

/// A look-up or a filter needs an index that is still to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Unindexed {
    name: &'static str,
    thousandths: u32,
    made: usize,
}

impl fmt::Display for Unindexed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, thousandths, made } = self;
        let (percent, all) = (thousandths / 10, SECONDARY.len());
        write!(f, "the index {name} is still to be made: {percent} % of it is, and {made} of {all} indexes are")
    }
}

impl Indexes {
    /// Returns which indexes a file has.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'index'")?;
        let found: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let share = |index: SecondaryIndex| found.iter().any(|name| name == index.name).then_some(MADE);
        Ok(Self(SECONDARY.map(|index| AtomicU32::new(share(index).unwrap_or(0)))))
    }

    fn thousandths(&self) -> impl Iterator<Item = (&'static str, u32)> {
        SECONDARY.iter().zip(&self.0).map(|(index, share)| (index.name, share.load(Ordering::Acquire)))
    }

    /// Returns how far each is, in the order in which they are made.
    pub(crate) fn states(&self) -> Vec<IndexState> {
        self.thousandths().map(|(name, share)| IndexState { name, share: f64::from(share) / f64::from(MADE) }).collect()
    }

    pub(crate) fn made(&self) -> usize {
        self.thousandths().filter(|(_, share)| *share == MADE).count()
    }

    /// Returns how many are still to be made.
    pub(crate) fn missing(&self) -> usize {
        SECONDARY.len() - self.made()
    }

    pub(crate) fn are_made(&self) -> bool {
        self.missing() == 0
    }

    /// Checks that these are made.
    ///
    /// # Errors
    /// With the first that is not.
    pub(crate) fn need(&self, names: &[&str]) -> Result<(), Unindexed> {
        let unmade = self.thousandths().find(|(name, share)| *share < MADE && names.contains(name));
        match unmade {
            Some((name, thousandths)) => Err(Unindexed { name, thousandths, made: self.made() }),
            None => Ok(()),
        }
    }

    /// Makes the next index that is missing, in one transaction; `None` when there is none.
    pub(super) fn make_next(self: &Arc<Self>, connection: &mut Connection) -> rusqlite::Result<Option<&'static str>> {
        let Some(number) = self.0.iter().position(|share| share.load(Ordering::Acquire) < MADE) else {
            return Ok(None);
        };
        let SecondaryIndex { name, sql } = SECONDARY[number];
        let steps_all = counts::read(connection)?.users.saturating_mul(STEPS_PER_ROW).max(1);
        let (shares, mut steps) = (Arc::clone(self), 0_u64);
        let note = move || {
            steps += u64::from(STEPS_PER_LOOK.unsigned_abs());
            let share = steps.saturating_mul(u64::from(MADE)) / steps_all;
            shares.0[number].store(u32::try_from(share).unwrap_or(MADE).min(MADE - 1), Ordering::Release);
            false
        };
        connection.progress_handler(STEPS_PER_LOOK, Some(note))?;
        let made = make(connection, sql);
        connection.progress_handler(0, None::<fn() -> bool>)?;
        self.0[number].store(if made.is_ok() { MADE } else { 0 }, Ordering::Release);
        made.map(|()| Some(name))
    }
}

/// Makes an index. The files of the sort are put beside the table, where there must be room for its like anyway and
/// which may be written where nothing else may; a file of a sort has no name any more once it is open. With the parts
/// of a sort in memory, SQLite would sort on one thread (vdbesort.c).
fn make(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    let path = connection.path().unwrap_or_default().to_owned();
    let _folder = TempFolder::beside(connection, path.as_ref());
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    connection.pragma_update(None, "threads", SORT_THREADS)?;
    let made = connection.execute_batch(sql);
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
    made
}

/// Makes all of them at once: the table is empty.
pub(crate) fn create_secondary(connection: &Connection) -> rusqlite::Result<()> {
    SECONDARY.iter().try_for_each(|index| connection.execute_batch(index.sql))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::{connection, create_tables};

    #[test]
    fn a_statement_is_prepared_once_whatever_is_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.1.db");
        let made = connection::to_make(&path).unwrap();
        create_tables(&made).unwrap();
        SECONDARY.iter().for_each(|index| made.execute_batch(index.sql).unwrap());
        let reader = connection::to_read(&path).unwrap();
        let text = "SELECT user_id, partition, winner_offset, gaps, event, \
         (SELECT min(since) FROM unknown WHERE unknown.user_id = ?1) FROM users WHERE user_id = ?1";
        for user_id in 0..10 {
            let mut statement = reader.prepare_cached(text).unwrap();
            assert!(statement.query([user_id]).unwrap().next().unwrap().is_none());
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
    }

    #[test]
    fn indexes_are_made_one_by_one_and_those_in_the_file_are_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.1.db");
        let mut connection = Connection::open(&path).unwrap();
        create_tables(&connection).unwrap();
        let indexes = Arc::new(Indexes::read(&connection).unwrap());
        let unmade = indexes.need(&["users_by_email"]).unwrap_err();
        assert_eq!(
            unmade.to_string(),
            "the index users_by_email is still to be made: 0 % of it is, and 0 of 6 indexes are"
        );
        assert_eq!(indexes.need(&[]), Ok(()));
        for (number, index) in SECONDARY.iter().enumerate().take(2) {
            assert_eq!(indexes.make_next(&mut connection).unwrap(), Some(index.name));
            assert_eq!((indexes.made(), indexes.are_made()), (number + 1, false));
        }
        assert_eq!(indexes.need(&["users_by_username", "users_by_email"]), Ok(()));
        drop(connection);

        let mut connection = Connection::open(&path).unwrap();
        let indexes = Arc::new(Indexes::read(&connection).unwrap());
        assert_eq!(indexes.made(), 2);
        assert!(indexes.states()[..2].iter().all(|index| index.share >= 1.0));
        while indexes.make_next(&mut connection).unwrap().is_some() {}
        assert!(indexes.are_made());
    }
}
