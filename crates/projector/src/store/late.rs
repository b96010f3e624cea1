//! Deliveries that came after a newer one and were kept apart: they change no user, but they may be what a gap is missing.

use domain::fold::RecordHead;
use domain::{Checkpoint, headers, record};
use log::Record;
use rusqlite::{Connection, params};

use super::rows::{read_gaps, signed, write_gaps};
use crate::lineage;

/// Narrows the gaps of the users whose late deliveries these are, and moves the checkpoint past them. Returns how many closed.
pub(super) fn take(connection: &Connection, checkpoint: &mut Checkpoint, records: &[Record]) -> rusqlite::Result<u64> {
    let mut closed = 0;
    for record in records {
        if checkpoint.advance(record.position).is_ok() {
            closed += close(connection, record)?;
        }
    }
    let mut put = connection.prepare_cached("INSERT OR REPLACE INTO late_checkpoint VALUES (?1, ?2)")?;
    for (partition, next) in checkpoint.iter() {
        put.execute(params![partition, next])?;
    }
    Ok(closed)
}

fn close(connection: &Connection, late: &Record) -> rusqlite::Result<u64> {
    let ce_time = late.header(headers::CE_TIME);
    let read = record::read(late.key.as_deref(), late.value.as_deref(), ce_time, late.timestamp);
    // What cannot be read there closes nothing; `rollcall verify` reports it.
    let Ok((user_id, head @ RecordHead::Event(_))) = read else { return Ok(0) };
    let mut gaps = read_gaps(connection, user_id)?;
    let before = gaps.len();
    if !lineage::narrow(&mut gaps, &head) {
        return Ok(0);
    }
    connection.prepare_cached("DELETE FROM gaps WHERE user_id = ?1")?.execute([user_id.get()])?;
    write_gaps(connection, user_id, &gaps)?;
    connection
        .prepare_cached("UPDATE users SET gaps = ?2 WHERE user_id = ?1")?
        .execute(params![user_id.get(), signed(gaps.len())])?;
    Ok((before - gaps.len()) as u64)
}
