//! The rows that go in and out.

use std::borrow::Cow;

use domain::gap::Gap;
use domain::wire::Facets;
use domain::{Position, UserId, Version};
use rusqlite::{Connection, Row, params};

/// A user as stored: the value of the winning record, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    pub user_id: UserId,
    pub position: Position,
    /// The record's value as it was received; `domain::wire::decode` reads it.
    pub event: Vec<u8>,
    pub gaps: Vec<GapRow>,
}

/// A break in a user's lineage: a delivery that never came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRow {
    /// The event that was built on a state never seen.
    pub position: Position,
    pub gap: Gap,
    /// The fields in which the state known and the state never seen differ.
    pub fields: Vec<String>,
}

/// The columns that queries can ask for, in the order of [`read_facets`].
pub(super) const FACET_COLUMNS: &str = "username, name, email, extension, state, is_agent, priv_group";

/// Returns what the user that `event`, a record's value, describes is searched by; nothing when its head alone can be read.
pub(crate) fn facets_of(event: &[u8]) -> Facets<'_> {
    domain::wire::facets(event).unwrap_or_default()
}

pub(super) fn read_facets(row: &Row<'_>, first: usize) -> rusqlite::Result<Facets<'static>> {
    let text = |index: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(first + index)?.map(Cow::Owned));
    Ok(Facets {
        username: text(0)?,
        name: text(1)?,
        email: text(2)?,
        extension: text(3)?,
        state: text(4)?,
        is_agent: row.get(first + 5)?,
        priv_group: row.get(first + 6)?,
    })
}

/// Returns the gaps of a user, oldest first.
pub(super) fn read_gaps(connection: &Connection, user_id: UserId) -> rusqlite::Result<Vec<GapRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT partition, offset, held, missing, fields FROM gaps WHERE user_id = ?1 ORDER BY partition, offset",
    )?;
    let rows = statement.query_map([user_id.get()], gap_row)?;
    rows.collect()
}

pub(super) fn gap_row(row: &Row<'_>) -> rusqlite::Result<GapRow> {
    let fields: String = row.get(4)?;
    Ok(GapRow {
        position: Position { partition: row.get(0)?, offset: row.get(1)? },
        gap: Gap { held: Version::from_bytes(row.get(2)?), missing: Version::from_bytes(row.get(3)?) },
        fields: serde_json::from_str(&fields).unwrap_or_default(),
    })
}

pub(crate) fn write_gaps(connection: &Connection, user_id: UserId, gaps: &[GapRow]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT INTO gaps VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for GapRow { position, gap, fields } in gaps {
        let fields = serde_json::to_string(fields).expect("texts are JSON");
        statement.execute(params![
            user_id.get(),
            position.partition,
            position.offset,
            gap.held.as_bytes(),
            gap.missing.as_bytes(),
            fields
        ])?;
    }
    Ok(())
}

pub(super) fn replace_gaps(connection: &Connection, user_id: UserId, gaps: &[GapRow]) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM gaps WHERE user_id = ?1")?.execute([user_id.get()])?;
    write_gaps(connection, user_id, gaps)
}

/// Returns a count as SQLite counts.
pub(crate) fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
