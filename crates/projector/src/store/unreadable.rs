//! The list of unreadable records: the newest of them; all are counted.

use domain::Position;
use rusqlite::{Connection, params};

use super::meta;
use super::rows::signed;

/// How many unreadable records are listed; all are counted.
const LISTED_MAX: usize = 1_000;

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub position: Position,
    pub reason: String,
}

/// Lists the newest of these records, if there are any, and sets the count of all.
pub(crate) fn note_unreadable(connection: &Connection, unreadable: &[Unread], count: u64) -> rusqlite::Result<()> {
    if unreadable.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO unreadable VALUES (?1, ?2, ?3)")?;
    for Unread { position, reason } in unreadable.iter().rev().take(LISTED_MAX) {
        insert.execute(params![position.partition, position.offset, reason])?;
    }
    connection
        .prepare_cached(
            "DELETE FROM unreadable WHERE (partition, offset) NOT IN \
             (SELECT partition, offset FROM unreadable ORDER BY offset DESC LIMIT ?1)",
        )?
        .execute([signed(LISTED_MAX)])?;
    meta::put(connection, "records_unreadable", &count.to_string())
}

/// Returns up to `limit` of the listed records, in the order of their positions.
pub(super) fn listed(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Unread>> {
    let mut statement =
        connection.prepare_cached("SELECT partition, offset, reason FROM unreadable ORDER BY 1, 2 LIMIT ?1")?;
    let rows = statement.query_map([signed(limit)], |row| {
        let position = Position { partition: row.get(0)?, offset: row.get(1)? };
        Ok(Unread { position, reason: row.get(2)? })
    })?;
    rows.collect()
}
