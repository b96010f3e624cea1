//! The newest changes, kept in order: a subscriber who was away is sent these first. `of_user` reads those of one user,
//! `passed` has the deliveries among them that changed nobody, and `former` finds the event before each.

mod former;

mod of_user;

mod passed;

use std::sync::Arc;

use domain::gap::OpenGap;
use domain::roll::Roll;
use domain::{Checkpoint, Position, UnixMillis, UserId, wire};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::positions::of_position;
use super::rows::{read_gaps, signed};
use super::sealed::Sealed;
use super::unknown::{self, UNKNOWN_SINCE};
use super::{STEP_BYTES_MAX, Seen, meta};
use former::Formers;
pub(super) use of_user::of_user;
pub use of_user::{HISTORY_MAX, HistoryRow, UserHistory};
pub use passed::PassedKind;
pub(super) use passed::{Closing, Passed};

/// How many changes are kept: about a day of a large call centre, some 60 MB.
pub(super) const CHANGES_KEPT_MAX: i64 = 100_000;
/// How far the table may grow over that before the oldest are removed: removing some at once costs less than one each
/// time, and the commit that does so takes some milliseconds.
const CHANGES_SLACK: i64 = 2_000;

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
    /// The event that won before, where it is still known.
    pub former: Option<Arc<[u8]>>,
}

/// Some of the changes that are kept, in the order of their commits.
#[derive(Clone, Debug)]
pub struct Kept {
    pub changes: Vec<Change>,
    /// The number of the change that follows them, or a smaller one.
    pub next: i64,
    /// Each change at or above it is kept.
    pub floor: Checkpoint,
    /// The checkpoint of the table, when no change follows.
    pub end: Option<Checkpoint>,
}

/// The positions of changes that are kept, with their numbers.
#[derive(Clone, Debug)]
pub struct KeptPlaces {
    pub places: Vec<(i64, Position)>,
    /// The checkpoint of the table.
    pub at: Checkpoint,
}

/// Which of the changes that are kept to return.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'u> {
    /// Those of all users with numbers below this one.
    Below(i64),
    Of(&'u [UserId]),
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
        let (event, former) = (event.map(Arc::from), None);
        Self { position, user_id, event, forgotten_at, gaps, unknown_since, before, former }
    }

    /// Returns the names of the fields that differ from the state before, in alphabetical order. Where that is not
    /// known, they are those that the event changed as the sender says; none where the event cannot be read.
    pub(crate) fn changed_fields(&self) -> Vec<String> {
        let decode = |event: &Option<Arc<[u8]>>| event.as_deref().and_then(|event| wire::decode(event).ok());
        let Some(event) = decode(&self.event) else { return Vec::new() };
        let former = decode(&self.former);
        let changes = former.as_ref().map_or_else(|| event.changes(), |former| event.changes_since(former));
        changes.into_iter().map(|change| change.name.to_owned()).collect()
    }
}

/// Removes the changes of a user. Returns how many there were.
pub(super) fn remove(connection: &Connection, user_id: UserId) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM changes WHERE seq IN (SELECT seq FROM user_changes WHERE user_id = ?1)";
    let removed = connection.prepare_cached(sql)?.execute([user_id.get()])?;
    connection.prepare_cached("DELETE FROM changes_of WHERE user_id = ?1")?.execute([user_id.get()])?;
    Ok(removed)
}

/// Returns the number of the last change; 0 without one.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM changes")?.query_row([], |row| row.get(0))
}

/// Rows to be added to the history, in one transaction.
#[derive(Debug)]
pub(super) struct Added<'a> {
    pub(super) changes: &'a [Change],
    pub(super) passed: &'a [Passed],
    /// The gaps that the records of both have closed.
    pub(super) closings: &'a [Closing],
    /// What the table is as of then.
    pub(super) seen_at: UnixMillis,
    /// The number of the last row before the transaction, which may have removed it: the number is not given again.
    pub(super) last: i64,
}

impl Added<'_> {
    /// Adds the rows and lets the oldest go.
    pub(super) fn append(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.changes.is_empty() && self.passed.is_empty() {
            return Ok(());
        }
        let mut last = self.last;
        for change in self.changes {
            last += 1;
            self.put_change(connection, last, change)?;
        }
        for passed in self.passed {
            last += 1;
            passed.put(connection, last, self.closed_by(passed.position).as_deref(), self.seen_at)?;
        }
        of_user::index(connection, last)?;
        let first: i64 = connection.prepare_cached("SELECT min(seq) FROM changes")?.query_row([], |row| row.get(0))?;
        if last - first > CHANGES_KEPT_MAX + CHANGES_SLACK {
            trim(connection, last - CHANGES_KEPT_MAX)?;
        }
        Ok(())
    }

    fn put_change(&self, connection: &Connection, seq: i64, change: &Change) -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO changes (partition, offset, user_id, kind, seen_at, gap_fields, gaps_closed, event, \
               forgotten_at, unknown_since, before, before_state, before_is_agent, before_priv_group, seq) \
             VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        let Position { partition, offset } = change.position;
        let gap = change.gaps.iter().find(|gap| gap.position == change.position);
        let gap_fields = gap.map(|gap| serde_json::to_string(&gap.fields).expect("texts are JSON"));
        let [before, state, is_agent, priv_group] = change.before.to_columns();
        insert.execute(params![
            partition,
            offset,
            change.user_id.get(),
            self.seen_at.millis(),
            gap_fields,
            self.closed_by(change.position),
            change.event.as_deref().map(Sealed),
            change.forgotten_at.map(UnixMillis::millis),
            change.unknown_since.map(UnixMillis::millis),
            before,
            state,
            is_agent,
            priv_group,
            seq
        ])?;
        Ok(())
    }

    /// Returns the gaps that the record at `position` has closed, as JSON.
    fn closed_by(&self, position: Position) -> Option<String> {
        let closing = self.closings.iter().find(|closing| closing.by == position)?;
        let places: Vec<(i32, i64)> = closing.gaps.iter().map(|gap| (gap.partition, gap.offset)).collect();
        Some(serde_json::to_string(&places).expect("numbers are JSON"))
    }
}

/// Removes the changes up to `seq`, raises the mark from which on all are there, and notes since when that is.
fn trim(connection: &Connection, seq: i64) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE checkpoint SET history_offset = max(history_offset, coalesce((SELECT max(offset) + 1 FROM changes \
         WHERE changes.partition = checkpoint.partition AND seq <= ?1 AND kind <> ?2), 0))",
        params![seq, PassedKind::Superseded.number()],
    )?;
    connection.execute(
        "INSERT OR REPLACE INTO meta SELECT 'history_since', CAST(seen_at AS TEXT) FROM changes WHERE seq <= ?1 \
         ORDER BY seq DESC LIMIT 1",
        [seq],
    )?;
    connection.execute("DELETE FROM changes WHERE seq <= ?1", [seq])?;
    connection.execute("DELETE FROM changes_of WHERE seq <= ?1", [seq])?;
    Ok(())
}

/// Returns the changes from the number `begin` on, up to `limit`, and fewer when their events have as many bytes as a
/// step may have.
pub(super) fn kept(connection: &Connection, begin: i64, which: Which<'_>, limit: usize) -> rusqlite::Result<Kept> {
    const COLUMNS: &str = "seq, partition, offset, user_id, event, forgotten_at, unknown_since, before, before_state, \
         before_is_agent, before_priv_group";
    let (condition, value) = match which {
        Which::Below(_) => ("?2 = ''", String::new()),
        Which::Of(users) => {
            let of = "seq IN (SELECT seq FROM user_changes WHERE user_id IN (SELECT value FROM json_each(?2)))";
            (of, json_list(users))
        }
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM changes WHERE kind = 0 AND seq >= ?1 AND {condition} ORDER BY seq"
    ))?;
    let mut rows = statement.query(params![begin, value])?;
    let (floor, mut formers) = (meta::read_history_floor(connection)?, Formers::before(connection, begin)?);
    let (mut changes, mut next, mut bytes) = (Vec::new(), begin, 0);
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let is_beyond = matches!(which, Which::Below(end) if number >= end);
        if is_beyond || changes.len() == limit || bytes >= STEP_BYTES_MAX {
            let next = if let (Which::Below(end), true) = (which, is_beyond) { end } else { next };
            return Ok(Kept { changes, next, floor, end: None });
        }
        next = number + 1;
        if let Some(change) = read_change(connection, row, &formers)? {
            formers.note(change.user_id, change.event.as_ref());
            bytes += [&change.event, &change.former].into_iter().flatten().map(|event| event.len()).sum::<usize>();
            changes.push(change);
        }
    }
    Ok(Kept { changes, next, floor, end: Some(meta::read_checkpoint(connection)?) })
}

fn read_change(connection: &Connection, row: &Row<'_>, formers: &Formers) -> rusqlite::Result<Option<Change>> {
    let position = Position { partition: row.get(1)?, offset: row.get(2)? };
    let Ok(user_id) = UserId::new(row.get(3)?) else { return Ok(None) };
    let event: Option<Sealed<Vec<u8>>> = row.get(4)?;
    let forgotten_at: Option<i64> = row.get(5)?;
    let mut gaps = read_gaps(connection, user_id)?;
    gaps.retain(|gap| gap.position.partition != position.partition || gap.position.offset <= position.offset);
    Ok(Some(Change {
        position,
        user_id,
        event: event.map(|Sealed(event)| Arc::from(event)),
        forgotten_at: forgotten_at.map(UnixMillis::from_millis),
        gaps,
        unknown_since: unknown::since(row, 6)?,
        before: Seen::from_columns(row, 7)?,
        former: formers.of(connection, user_id)?,
    }))
}

/// Returns the positions of the changes from the number `begin` on.
pub(super) fn places(connection: &Connection, begin: i64) -> rusqlite::Result<KeptPlaces> {
    let mut statement = connection
        .prepare_cached("SELECT seq, partition, offset FROM changes WHERE kind = 0 AND seq >= ?1 ORDER BY seq")?;
    let place = |row: &Row<'_>| Ok((row.get(0)?, Position { partition: row.get(1)?, offset: row.get(2)? }));
    let places = statement.query_map([begin], place)?.collect::<rusqlite::Result<_>>()?;
    Ok(KeptPlaces { places, at: meta::read_checkpoint(connection)? })
}

/// Returns a list that SQLite's `json_each` reads.
fn json_list(users: &[UserId]) -> String {
    serde_json::to_string(users).expect("numbers are JSON")
}

/// Returns up to `limit` users, forgotten ones too, whose newest record on `partition` that has a part in their state
/// is at `offset` or later, in that order; with them the checkpoint of the table they are of.
///
/// A subscription reads these where single changes are no longer known. In a tied second the winner may be older than
/// the record that made it win, so every event of the second counts. The first of the unknown records in which a user
/// ends is newer than both. The events are read one by one, and fewer are returned when they have as many bytes as a
/// step may have. With `users` it returns those alone, by their own rows: the table is not walked through for them.
pub(super) fn latest(
    connection: &Connection,
    users: Option<&[UserId]>,
    partition: i32,
    offset: i64,
    limit: usize,
) -> rusqlite::Result<(Vec<Change>, Checkpoint)> {
    // A plus takes an index out of the choice: SQLite would walk through all that is on the partition.
    let (of, plus) = match users {
        Some(_) => ("user_id IN (SELECT value FROM json_each(?4))", "+"),
        None => ("?4 = ''", ""),
    };
    let mut statement = connection.prepare_cached(&latest_statement(of, plus))?;
    let users = users.map(json_list).unwrap_or_default();
    let mut rows = statement.query(params![partition, offset, signed(limit), users])?;
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
            former: None,
        });
    }
    Ok((changes, meta::read_checkpoint(connection)?))
}

/// Returns the statement of [`latest`], for those who meet the condition `of`.
fn latest_statement(of: &str, plus: &str) -> String {
    let winners = |from: &str, partition: &str, offset: &str| {
        format!(
            "SELECT * FROM (SELECT winner_offset, users.user_id, 1, NULL, gaps, {UNKNOWN_SINCE} FROM {from} \
               WHERE {partition} = ?1 AND {offset} >= ?2 AND {of} AND {KNOWN_HERE} \
                 AND NOT EXISTS (SELECT 1 FROM seconds WHERE seconds.user_id = users.user_id \
                   AND seconds.partition = ?1 AND seconds.offset > winner_offset) \
               ORDER BY {offset} LIMIT ?3)"
        )
    };
    // Those who are named have few rows, and are sorted. One who has moved may be in its place already.
    let winners = if plus.is_empty() {
        let in_place = winners(&of_position("positions"), "positions.partition", "positions.offset");
        let moved = winners(&of_position("moved"), "moved.partition", "moved.offset");
        format!("{in_place} UNION {moved}")
    } else {
        winners("users", "users.partition", "users.winner_offset")
    };
    format!(
        "{winners} \
         UNION ALL \
         SELECT * FROM (SELECT max(offset), user_id, 1, NULL, gaps, {UNKNOWN_SINCE} \
           FROM seconds JOIN users USING (user_id) \
           WHERE {plus}seconds.partition = ?1 AND offset >= ?2 AND (users.partition <> ?1 OR offset > winner_offset) \
             AND {of} AND {KNOWN_HERE} \
           GROUP BY user_id ORDER BY 1 LIMIT ?3) \
         UNION ALL \
         SELECT * FROM (SELECT offset, user_id, 1, NULL, gaps, {UNKNOWN_SINCE} \
           FROM unknown AS ending JOIN users USING (user_id) \
           WHERE {plus}ending.partition = ?1 AND offset >= ?2 AND {of} ORDER BY offset LIMIT ?3) \
         UNION ALL \
         SELECT * FROM (SELECT winner_offset, user_id, 0, forgotten_at, 0, NULL FROM forgotten \
           WHERE {plus}partition = ?1 AND winner_offset >= ?2 AND {of} ORDER BY winner_offset LIMIT ?3) \
         ORDER BY 1 LIMIT ?3"
    )
}
