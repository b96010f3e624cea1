//! The rows that readers are given, and the gaps of a user.

use domain::gap::Gap;
use domain::{Position, UserId, Version};
use rusqlite::types::Type;
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

/// Returns the gaps of a user, oldest first.
pub(super) fn read_gaps(connection: &Connection, user_id: UserId) -> rusqlite::Result<Vec<GapRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT partition, offset, held, missing, fields FROM gaps WHERE user_id = ?1 ORDER BY partition, offset",
    )?;
    let rows = statement.query_map([user_id.get()], gap_row)?;
    rows.collect()
}

/// Returns up to `limit` gaps with their users.
pub(super) fn all_gaps(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<(UserId, GapRow)>> {
    let mut statement =
        connection.prepare_cached("SELECT partition, offset, held, missing, fields, user_id FROM gaps LIMIT ?1")?;
    let rows = statement.query_map([signed(limit)], |row| Ok((user_id(row, 5)?, gap_row(row)?)))?;
    rows.collect()
}

/// Reads the identifier of a user from a column.
pub(super) fn user_id(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    UserId::new(row.get(column)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error)))
}

fn gap_row(row: &Row<'_>) -> rusqlite::Result<GapRow> {
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
