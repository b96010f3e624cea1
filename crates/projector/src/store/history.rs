//! The newest changes, kept in order: a subscriber who was away is sent these first.

use std::sync::Arc;

use domain::gap::OpenGap;
use domain::roll::Roll;
use domain::{Checkpoint, Position, UnixMillis, UserId};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{read_gaps, signed};
use super::sealed::Sealed;
use super::unknown::{self, UNKNOWN_SINCE};
use super::{STEP_BYTES_MAX, Seen, meta};

/// How many changes are kept: about a day of a large call centre, some 60 MB.
pub(super) const CHANGES_KEPT_MAX: i64 = 100_000;
/// How far the table may grow over that before the oldest are removed: removing some at once costs less than one each
/// time.
const CHANGES_SLACK: i64 = 10_000;

/// The condition that a user does not end in unknown records on the partition asked for.
const KNOWN_HERE: &str =
    "NOT EXISTS (SELECT 1 FROM unknown WHERE unknown.user_id = users.user_id AND unknown.partition = ?1)";

/// One change of one user: another event wins, the user was forgotten, or its last record became unknown to this build
/// or is known again.
///
/// Which changes there were depends on the log that was read: a table that was rebuilt from a compacted log has seen
/// fewer of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The record that made the change.
    pub position: Position,
    pub user_id: UserId,
    /// The event that wins now, of this record or of another; `None` when the user was forgotten.
    pub event: Option<Arc<[u8]>>,
    pub forgotten_at: Option<UnixMillis>,
    pub gaps: Vec<OpenGap>,
    /// Since when the user's last records are unknown to this build.
    pub unknown_since: Option<UnixMillis>,
    /// The user as this table held it before, by which a filtered subscription knows who leaves the filter: the
    /// vendor's `old` is not it when a delivery is missing. Somebody, when the user was forgotten.
    pub before: Seen,
}

/// Changes since a checkpoint, as far as one call returns them.
#[derive(Clone, Debug)]
pub enum Since {
    /// Each change that there was, in order, from one that is at `next_seq` or later.
    Each { changes: Vec<Change>, next_seq: i64, end: Option<Checkpoint> },
    /// The history does not reach back so far.
    Beyond,
}

impl Change {
    pub(crate) fn new(
        position: Position,
        user_id: UserId,
        state: &Roll,
        event: Option<&[u8]>,
        gaps: Vec<OpenGap>,
        unknown_since: Option<UnixMillis>,
        before: Seen,
    ) -> Self {
        let rank = state.rank();
        let forgotten_at = rank.is_forgotten().then(|| rank.time());
        // The states before are erased, and everybody who may hold one of them has to hear of it.
        let before = if forgotten_at.is_some() { Seen::Somebody } else { before };
        Self { position, user_id, event: event.map(Arc::from), forgotten_at, gaps, unknown_since, before }
    }
}

/// Removes the changes of a user. Returns how many there were.
pub(super) fn remove(connection: &Connection, user_id: UserId) -> rusqlite::Result<usize> {
    connection.prepare_cached("DELETE FROM changes WHERE user_id = ?1")?.execute([user_id.get()])
}

/// Adds changes and lets the oldest go.
pub(super) fn append(connection: &Connection, changes: &[Change]) -> rusqlite::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO changes (partition, offset, user_id, event, forgotten_at, unknown_since, \
           before, before_state, before_is_agent, before_priv_group) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for change in changes {
        let Position { partition, offset } = change.position;
        let at = change.forgotten_at.map(UnixMillis::millis);
        let [before, state, is_agent, priv_group] = change.before.to_columns();
        let (user_id, event) = (change.user_id.get(), change.event.as_deref().map(Sealed));
        let unknown = change.unknown_since.map(UnixMillis::millis);
        insert.execute(params![partition, offset, user_id, event, at, unknown, before, state, is_agent, priv_group])?;
    }
    let (first, last): (i64, i64) = connection
        .prepare_cached(
            "SELECT coalesce((SELECT min(seq) FROM changes), 0), coalesce((SELECT max(seq) FROM changes), 0)",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if last - first > CHANGES_KEPT_MAX + CHANGES_SLACK {
        trim(connection, last - CHANGES_KEPT_MAX)?;
    }
    Ok(())
}

/// Removes the changes up to `seq`, and raises the mark from which on the history is whole.
fn trim(connection: &Connection, seq: i64) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE checkpoint SET history_offset = max(history_offset, coalesce((SELECT max(offset) + 1 FROM changes \
         WHERE changes.partition = checkpoint.partition AND seq <= ?1), 0))",
        [seq],
    )?;
    connection.execute("DELETE FROM changes WHERE seq <= ?1", [seq])?;
    Ok(())
}

/// Returns up to `limit` changes that `from` does not cover, beginning at `seq`, and fewer when their events have as
/// many bytes as a step may have.
///
/// `end` is the checkpoint of the store when there is nothing more.
pub(super) fn since(connection: &Connection, from: &Checkpoint, seq: i64, limit: usize) -> rusqlite::Result<Since> {
    let floor = meta::read_history_floor(connection)?;
    if floor.iter().any(|(partition, offset)| from.next(partition).unwrap_or(0) < offset) {
        return Ok(Since::Beyond);
    }
    let mut statement = connection.prepare_cached(
        "SELECT seq, partition, offset, user_id, event, forgotten_at, unknown_since, \
           before, before_state, before_is_agent, before_priv_group FROM changes WHERE seq >= ?1 ORDER BY seq",
    )?;
    let mut rows = statement.query([seq])?;
    let (mut changes, mut next_seq, mut bytes) = (Vec::new(), seq, 0);
    while let Some(row) = rows.next()? {
        let position = Position { partition: row.get(1)?, offset: row.get(2)? };
        if changes.len() == limit || bytes >= STEP_BYTES_MAX {
            return Ok(Since::Each { changes, next_seq, end: None });
        }
        next_seq = row.get::<_, i64>(0)? + 1;
        if from.covers(position) {
            continue;
        }
        let Ok(user_id) = UserId::new(row.get(3)?) else { continue };
        let event: Option<Sealed<Vec<u8>>> = row.get(4)?;
        bytes += event.as_ref().map_or(0, |Sealed(event)| event.len());
        let forgotten_at: Option<i64> = row.get(5)?;
        let mut gaps = read_gaps(connection, user_id)?;
        gaps.retain(|gap| gap.position.partition != position.partition || gap.position.offset <= position.offset);
        changes.push(Change {
            position,
            user_id,
            event: event.map(|Sealed(event)| Arc::from(event)),
            forgotten_at: forgotten_at.map(UnixMillis::from_millis),
            gaps,
            unknown_since: unknown::since(row, 6)?,
            before: Seen::from_columns(row, 7)?,
        });
    }
    Ok(Since::Each { changes, next_seq, end: Some(meta::read_checkpoint(connection)?) })
}

/// Returns up to `limit` users, forgotten ones too, whose newest record on `partition` that has a part in their state
/// is at `offset` or later, in that order; with them the checkpoint of the table they are of.
///
/// A subscription reads these where single changes are no longer known. In a tied second the winner may be older than
/// the record that made it win, so every event of the second counts. The first of the unknown records in which a user
/// ends is newer than both. The events are read one by one, and fewer are returned when they have as many bytes as a
/// step may have.
pub(super) fn latest(
    connection: &Connection,
    partition: i32,
    offset: i64,
    limit: usize,
) -> rusqlite::Result<(Vec<Change>, Checkpoint)> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT * FROM (SELECT winner_offset, user_id, 1, NULL, gaps, {UNKNOWN_SINCE} FROM users \
           WHERE partition = ?1 AND winner_offset >= ?2 AND {KNOWN_HERE} AND NOT EXISTS (SELECT 1 FROM seconds \
             WHERE seconds.user_id = users.user_id AND seconds.partition = ?1 AND offset > winner_offset) \
           ORDER BY winner_offset LIMIT ?3) \
         UNION ALL \
         SELECT * FROM (SELECT max(offset), user_id, 1, NULL, gaps, {UNKNOWN_SINCE} \
           FROM seconds JOIN users USING (user_id) \
           WHERE seconds.partition = ?1 AND offset >= ?2 AND (users.partition <> ?1 OR offset > winner_offset) \
             AND {KNOWN_HERE} \
           GROUP BY user_id ORDER BY 1 LIMIT ?3) \
         UNION ALL \
         SELECT * FROM (SELECT offset, user_id, 1, NULL, gaps, {UNKNOWN_SINCE} \
           FROM unknown AS ending JOIN users USING (user_id) \
           WHERE ending.partition = ?1 AND offset >= ?2 ORDER BY offset LIMIT ?3) \
         UNION ALL \
         SELECT * FROM (SELECT winner_offset, user_id, 0, forgotten_at, 0, NULL FROM forgotten \
           WHERE partition = ?1 AND winner_offset >= ?2 ORDER BY winner_offset LIMIT ?3) \
         ORDER BY 1 LIMIT ?3"
    ))?;
    let mut rows = statement.query(params![partition, offset, signed(limit)])?;
    let mut event_of = connection.prepare_cached("SELECT event FROM users WHERE user_id = ?1")?;
    let (mut changes, mut bytes) = (Vec::new(), 0);
    while bytes < STEP_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let Ok(user_id) = UserId::new(row.get(1)?) else { continue };
        let (is_there, forgotten_at): (bool, Option<i64>) = (row.get(2)?, row.get(3)?);
        let event: Option<Sealed<Vec<u8>>> =
            if is_there { event_of.query_row([user_id.get()], |row| row.get(0)).optional()? } else { None };
        bytes += event.as_ref().map_or(0, |Sealed(event)| event.len());
        let gaps = if row.get::<_, i64>(4)? > 0 { read_gaps(connection, user_id)? } else { Vec::new() };
        changes.push(Change {
            position: Position { partition, offset: row.get(0)? },
            user_id,
            event: event.map(|Sealed(event)| Arc::from(event)),
            forgotten_at: forgotten_at.map(UnixMillis::from_millis),
            gaps,
            unknown_since: unknown::since(row, 5)?,
            // Of the states before nothing is left.
            before: Seen::Somebody,
        });
    }
    Ok((changes, meta::read_checkpoint(connection)?))
}
