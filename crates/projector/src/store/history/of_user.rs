//! The history of one user, as far as this table has seen it.

use domain::{LogId, Position, UnixMillis, UserId};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::sealed::Sealed;
use super::super::{STEP_BYTES_MAX, StoreMeta, meta, unknown};
use super::passed::PassedKind;

/// The most entries that the history of a user has. Their events have at most as many bytes as a step may have, and one
/// event more.
pub const HISTORY_MAX: usize = 100;

/// How many changes are found by their users without an index: a walk over them takes less than a millisecond. An index
/// that each commit wrote to would cost it a page for each change.
const UNINDEXED_MAX: i64 = 2_048;
/// The fact that says up to which change they are indexed.
const INDEXED: &str = "changes_indexed";

/// The history of one user: changes, and deliveries that changed nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserHistory {
    /// Newest first.
    pub rows: Vec<HistoryRow>,
    /// The state before the oldest of them, where the history has it: an event as framed on the log.
    pub held: Option<Vec<u8>>,
    /// There are older ones.
    pub has_more: bool,
    /// The history has everything that this table has seen since.
    pub since: UnixMillis,
    /// What was seen before is no longer kept; otherwise the table was made then, and had seen nothing.
    pub is_trimmed: bool,
    /// The topic of late deliveries, whose positions some rows have.
    pub late_log: Option<LogId>,
}

/// One record in the history of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    pub position: Position,
    /// `None` for a change.
    pub passed: Option<PassedKind>,
    /// The event that wins since, or the one that changed nobody; `None` when the user was forgotten.
    pub event: Option<Vec<u8>>,
    pub forgotten_at: Option<UnixMillis>,
    /// Since when the user's last records were unknown, with this record.
    pub unknown_since: Option<UnixMillis>,
    /// The fields of the gap that the record showed.
    pub gap_fields: Option<Vec<String>>,
    pub gaps_closed: Vec<Position>,
}

/// Returns the newest entries of a user's history.
pub(crate) fn of_user(connection: &Connection, user_id: UserId) -> rusqlite::Result<UserHistory> {
    let mut statement = connection.prepare_cached(
        "SELECT partition, offset, kind, event, forgotten_at, unknown_since, gap_fields, gaps_closed, seq \
         FROM changes WHERE seq IN (SELECT seq FROM user_changes WHERE user_id = ?1) ORDER BY seq DESC",
    )?;
    let mut found = statement.query([user_id.get()])?;
    let (mut rows, mut bytes, mut oldest, mut has_more) = (Vec::new(), 0, i64::MAX, false);
    while let Some(row) = found.next()? {
        if rows.len() == HISTORY_MAX || bytes >= STEP_BYTES_MAX {
            has_more = true;
            break;
        }
        let read = history_row(row)?;
        (bytes, oldest) = (bytes + read.event.as_ref().map_or(0, Vec::len), row.get(8)?);
        rows.push(read);
    }
    let held: Option<Option<Sealed<Vec<u8>>>> = connection
        .prepare_cached(
            "SELECT event FROM changes WHERE seq IN (SELECT seq FROM user_changes WHERE user_id = ?1 AND seq < ?2) \
               AND kind = 0 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![user_id.get(), oldest], |row| row.get(0))
        .optional()?;
    let trimmed = meta::read_history_since(connection)?;
    Ok(UserHistory {
        rows,
        held: held.flatten().map(|Sealed(event)| event),
        has_more,
        since: match trimmed {
            Some(since) => since,
            None => StoreMeta::read(connection)?.created_at,
        },
        is_trimmed: trimmed.is_some(),
        late_log: meta::read_late_log(connection)?,
    })
}

/// Returns the number of the last change that is indexed by its user; 0 without one.
pub(super) fn indexed(connection: &Connection) -> rusqlite::Result<i64> {
    let indexed: Option<String> = connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([INDEXED], |row| row.get(0))
        .optional()?;
    Ok(indexed.and_then(|number| number.parse().ok()).unwrap_or_default())
}

/// Indexes the changes up to `last` by their users, once there are many: so a page of the index is written for many.
pub(super) fn index(connection: &Connection, last: i64) -> rusqlite::Result<()> {
    let indexed = indexed(connection)?;
    if last - indexed < UNINDEXED_MAX {
        return Ok(());
    }
    connection.execute(
        "INSERT INTO changes_of SELECT user_id, seq FROM changes WHERE seq > ?1 AND seq <= ?2 ORDER BY user_id, seq",
        [indexed, last],
    )?;
    meta::put(connection, INDEXED, &last.to_string())
}

fn history_row(row: &Row<'_>) -> rusqlite::Result<HistoryRow> {
    let event: Option<Sealed<Vec<u8>>> = row.get(3)?;
    let json = |column: usize| row.get::<_, Option<String>>(column);
    let gaps_closed: Vec<(i32, i64)> =
        json(7)?.and_then(|places| serde_json::from_str(&places).ok()).unwrap_or_default();
    Ok(HistoryRow {
        position: Position { partition: row.get(0)?, offset: row.get(1)? },
        passed: PassedKind::from_number(row.get(2)?),
        event: event.map(|Sealed(event)| event),
        forgotten_at: row.get::<_, Option<i64>>(4)?.map(UnixMillis::from_millis),
        unknown_since: unknown::since(row, 5)?,
        gap_fields: json(6)?.and_then(|fields| serde_json::from_str(&fields).ok()),
        gaps_closed: gaps_closed.into_iter().map(|(partition, offset)| Position { partition, offset }).collect(),
    })
}
