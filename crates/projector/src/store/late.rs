//! Deliveries that came after a newer one: they change no user, but they may be what a gap is missing, now or later.

use domain::gap::{Edge, Followed, Lineage};
use domain::roll::{Member, Roll};
use domain::{Checkpoint, LogId, UnixMillis, UserId, Version};
use kafka::Record;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::history::{self, Added, Closing, Passed, PassedKind};
use super::rows::{read_gaps, replace_gaps, signed};
use super::{StoreMeta, meta};

/// Begins to read another log of late deliveries.
pub(super) fn begin(connection: &Connection, log: &LogId) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM late_checkpoint", [])?;
    meta::put(connection, "late_log", &log.to_string())
}

/// Notes late deliveries, closes the gaps that they bridge, and moves the checkpoint past them. Returns how many gaps
/// closed.
pub(super) fn take(
    connection: &Connection,
    checkpoint: &mut Checkpoint,
    records: &[Record],
    meta: &StoreMeta,
) -> rusqlite::Result<u64> {
    let (mut closed, mut passed, mut closings) = (0, Vec::new(), Vec::new());
    for record in records {
        if checkpoint.advance(record.position, record.leader_epoch).is_ok()
            && let Some(noted) = note(connection, record)?
        {
            closed += noted.closed;
            // The history begins with the table, which has not seen what came before.
            let is_seen = record.timestamp >= meta.created_at && !noted.passed.is_known(connection)?;
            passed.extend(Some(noted.passed).filter(|_| is_seen));
            closings.extend(noted.closing);
        }
    }
    let (passed, closings) = (passed.as_slice(), closings.as_slice());
    let (seen_at, last) = (meta.committed_at, history::last(connection)?);
    Added { changes: &[], passed, closings, seen_at, last }.append(connection)?;
    let mut put = connection.prepare_cached("INSERT OR REPLACE INTO late_checkpoint VALUES (?1, ?2, ?3)")?;
    for (partition, next, epoch) in checkpoint.entries() {
        put.execute(params![partition, next, epoch])?;
    }
    Ok(closed)
}

/// What a late delivery did.
struct Noted {
    closed: u64,
    passed: Passed,
    closing: Option<Closing>,
}

/// Notes a late delivery; `None` when it cannot be read, or when what it says is to be forgotten.
fn note(connection: &Connection, late: &Record) -> rusqlite::Result<Option<Noted>> {
    // A record that cannot be read closes nothing; `rollcall verify` reports it.
    let (Ok(reading), Some(event)) = (late.read(), late.value.clone()) else { return Ok(None) };
    let user_id = reading.user_id;
    let forgotten_at: Option<i64> = connection
        .prepare_cached("SELECT forgotten_at FROM forgotten WHERE user_id = ?1")?
        .query_row([user_id.get()], |row| row.get(0))
        .optional()?;
    let marker = forgotten_at.map(|at| Roll::forgotten(UnixMillis::from_millis(at), late.position));
    // The states of a forgotten user are not to be remembered.
    if marker.is_some_and(|marker| marker.supersedes(reading.says())) {
        return Ok(None);
    }
    let before = read_gaps(connection, user_id)?;
    let mut lineage = Lineage { gaps: before.clone(), late: read_late(connection, user_id)? };
    let edges = reading.says().members().iter().filter_map(Member::edge);
    let followed = edges.map(|edge| lineage.note(edge)).fold(Followed::default(), Followed::then);
    if followed.late_changed {
        replace_late(connection, user_id, &lineage.late)?;
    }
    if followed.gaps_changed {
        replace_gaps(connection, user_id, &lineage.gaps)?;
        connection
            .prepare_cached("UPDATE users SET gaps = ?2 WHERE user_id = ?1")?
            .execute(params![user_id.get(), signed(lineage.gaps.len())])?;
    }
    Ok(Some(Noted {
        closed: followed.closed as u64,
        passed: Passed { kind: PassedKind::Superseded, position: late.position, user_id, event },
        closing: Closing::between(late.position, &before, &lineage.gaps),
    }))
}

/// Returns the late events of a user, those seen last at the end.
pub(super) fn read_late(connection: &Connection, user_id: UserId) -> rusqlite::Result<Vec<Edge>> {
    let mut statement = connection
        .prepare_cached("SELECT from_version, to_version FROM late_events WHERE user_id = ?1 ORDER BY nth")?;
    let rows = statement
        .query_map([user_id.get()], |row| Ok((Version::from_bytes(row.get(0)?), Version::from_bytes(row.get(1)?))))?;
    rows.collect()
}

pub(crate) fn write_late(connection: &Connection, user_id: UserId, late: &[Edge]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT INTO late_events VALUES (?1, ?2, ?3, ?4)")?;
    for (nth, (from, to)) in late.iter().enumerate() {
        statement.execute(params![user_id.get(), from.as_bytes(), to.as_bytes(), signed(nth)])?;
    }
    Ok(())
}

pub(super) fn replace_late(connection: &Connection, user_id: UserId, late: &[Edge]) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM late_events WHERE user_id = ?1")?.execute([user_id.get()])?;
    write_late(connection, user_id, late)
}
