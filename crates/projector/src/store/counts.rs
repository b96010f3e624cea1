//! How many users there are, kept with each commit: without an index of all of them, a count would read every page.

use rusqlite::{Connection, OptionalExtension as _};

use super::meta;

const USERS: &str = "users";
const FORGOTTEN: &str = "forgotten";

/// How much there is in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub users: u64,
    pub forgotten: u64,
}

/// By how much a commit changes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) users: i64,
    pub(super) forgotten: i64,
}

pub(super) fn read(connection: &Connection) -> rusqlite::Result<Counts> {
    let mut statement = connection.prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE name = ?1")?;
    let mut count = |name: &str| -> rusqlite::Result<u64> {
        let found: Option<i64> = statement.query_row([name], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or_default().try_into().unwrap_or_default())
    };
    Ok(Counts { users: count(USERS)?, forgotten: count(FORGOTTEN)? })
}

/// Writes the counts of a table that was loaded. Each user has a position then.
pub(crate) fn write_counts(connection: &Connection) -> rusqlite::Result<()> {
    let count = |table: &str| -> rusqlite::Result<i64> {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
    };
    meta::put(connection, USERS, &count("positions")?.to_string())?;
    meta::put(connection, FORGOTTEN, &count("forgotten")?.to_string())
}

pub(super) fn add(connection: &Connection, moved: Moved) -> rusqlite::Result<()> {
    if moved == Moved::default() {
        return Ok(());
    }
    let Counts { users, forgotten } = read(connection)?;
    meta::put(connection, USERS, &users.saturating_add_signed(moved.users).to_string())?;
    meta::put(connection, FORGOTTEN, &forgotten.saturating_add_signed(moved.forgotten).to_string())
}
