//! The list of unreadable records: the newest of them; all are counted.

use std::collections::BTreeSet;

use domain::Position;
use domain::roll::Unread as Fault;
use domain::wire::Ids;
use rusqlite::{Connection, params};
use service::telemetry::chain;

use super::meta;
use super::rows::signed;

/// How many unreadable records are listed; all are counted.
const LISTED_MAX: usize = 1_000;
/// How many ids of schemas are remembered: a registry has few for one topic.
const UNNAMED_MAX: usize = 1_000;

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub position: Position,
    pub reason: String,
    /// The id of a schema that the record names and that nobody could name. Kept apart from the list.
    pub unnamed_id: Option<u32>,
}

impl Unread {
    /// Returns the record at `position` with its fault, as found by one who knows `ids`.
    pub(crate) fn new(position: Position, fault: &Fault, ids: &Ids) -> Self {
        let unnamed_id = fault.schema_id().filter(|id| !ids.is_of_events(*id));
        Self { position, reason: chain(fault), unnamed_id }
    }
}

/// Lists the newest of these records, if there are any, and sets the count of all.
pub(crate) fn note_unreadable(connection: &Connection, unreadable: &[Unread], count: u64) -> rusqlite::Result<()> {
    if unreadable.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO unreadable VALUES (?1, ?2, ?3)")?;
    for Unread { position, reason, .. } in unreadable.iter().rev().take(LISTED_MAX) {
        insert.execute(params![position.partition, position.offset, reason])?;
    }
    connection
        .prepare_cached(
            "DELETE FROM unreadable WHERE (partition, offset) NOT IN \
             (SELECT partition, offset FROM unreadable ORDER BY offset DESC LIMIT ?1)",
        )?
        .execute([signed(LISTED_MAX)])?;
    let mut insert = connection
        .prepare_cached("INSERT OR IGNORE INTO unnamed_ids SELECT ?1 WHERE (SELECT count(*) FROM unnamed_ids) < ?2")?;
    for id in unreadable.iter().filter_map(|unread| unread.unnamed_id).collect::<BTreeSet<u32>>() {
        insert.execute(params![id, signed(UNNAMED_MAX)])?;
    }
    meta::put(connection, "records_unreadable", &count.to_string())
}

/// Returns the ids of schemas that records named and that nobody could name.
pub(super) fn unnamed_ids(connection: &Connection) -> rusqlite::Result<Vec<u32>> {
    connection.prepare_cached("SELECT id FROM unnamed_ids")?.query_map([], |row| row.get(0))?.collect()
}

/// Returns up to `limit` of the listed records, in the order of their positions.
pub(super) fn listed(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Unread>> {
    let mut statement =
        connection.prepare_cached("SELECT partition, offset, reason FROM unreadable ORDER BY 1, 2 LIMIT ?1")?;
    let rows = statement.query_map([signed(limit)], |row| {
        let position = Position { partition: row.get(0)?, offset: row.get(1)? };
        Ok(Unread { position, reason: row.get(2)?, unnamed_id: None })
    })?;
    rows.collect()
}
