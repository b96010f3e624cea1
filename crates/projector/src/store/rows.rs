//! The rows that readers are given, and the gaps of a user.

use domain::gap::{self, Difference, Gap, OpenGap};
use domain::{Position, UnixMillis, UserEvent, UserId, Version, wire};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// A user as stored: the event that wins, and where it is.
///
/// The event is a function of the join of the user's records alone. Position and gaps depend on the log that was read:
/// a record that is appended again moves the position, and what compaction has removed shows no gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    pub user_id: UserId,
    /// The newest record that carries the event.
    pub position: Position,
    /// The event as framed on the log; `domain::wire::decode` reads it.
    pub event: Vec<u8>,
    pub gaps: Vec<OpenGap>,
    /// Since when the user's last records are unknown to this build: the state may be outdated.
    pub unknown_since: Option<UnixMillis>,
}

/// Returns the gaps of a user, oldest first.
pub(super) fn read_gaps(connection: &Connection, user_id: UserId) -> rusqlite::Result<Vec<OpenGap>> {
    let mut statement = connection.prepare_cached(
        "SELECT partition, offset, received_at, held, missing, fields FROM gaps WHERE user_id = ?1 \
         ORDER BY partition, offset",
    )?;
    let rows = statement.query_map([user_id.get()], gap_row)?;
    rows.collect()
}

/// Returns up to `limit` gaps with their users.
pub(super) fn all_gaps(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<(UserId, OpenGap)>> {
    let mut statement = connection
        .prepare_cached("SELECT partition, offset, received_at, held, missing, fields, user_id FROM gaps LIMIT ?1")?;
    let rows = statement.query_map([signed(limit)], |row| Ok((user_id(row, 6)?, gap_row(row)?)))?;
    rows.collect()
}

pub(super) fn name(connection: &Connection, user_id: UserId) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT name FROM users WHERE user_id = ?1")?;
    Ok(statement.query_row([user_id.get()], |row| row.get(0)).optional()?.flatten())
}

/// Reads the identifier of a user from a column.
pub(super) fn user_id(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    UserId::new(row.get(column)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error)))
}

fn gap_row(row: &Row<'_>) -> rusqlite::Result<OpenGap> {
    let fields: String = row.get(5)?;
    Ok(OpenGap {
        position: Position { partition: row.get(0)?, offset: row.get(1)? },
        received_at: UnixMillis::from_millis(row.get(2)?),
        gap: Gap { held: Version::from_bytes(row.get(3)?), missing: Version::from_bytes(row.get(4)?) },
        fields: serde_json::from_str(&fields).unwrap_or_default(),
    })
}

pub(crate) fn write_gaps(connection: &Connection, user_id: UserId, gaps: &[OpenGap]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT INTO gaps VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for OpenGap { position, received_at, gap, fields } in gaps {
        let fields = serde_json::to_string(fields).expect("texts are JSON");
        statement.execute(params![
            user_id.get(),
            position.partition,
            position.offset,
            received_at.millis(),
            gap.held.as_bytes(),
            gap.missing.as_bytes(),
            fields
        ])?;
    }
    Ok(())
}

pub(super) fn replace_gaps(connection: &Connection, user_id: UserId, gaps: &[OpenGap]) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM gaps WHERE user_id = ?1")?.execute([user_id.get()])?;
    write_gaps(connection, user_id, gaps)
}

/// Compares the states after the events `held`, the former winner first, with the state that `next` was built on. Finds
/// no difference when the head alone of `next` or of all others can be read.
pub(crate) fn differing<'e>(held: impl IntoIterator<Item = &'e [u8]>, next: Option<&[u8]>) -> Option<Difference> {
    let next = wire::decode(next?).ok()?;
    let held: Vec<UserEvent> = held.into_iter().filter_map(|event| wire::decode(event).ok()).collect();
    gap::difference(&held, &next)
}

/// Returns a count as SQLite counts.
pub(crate) fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
