//! Reads a record for table and plan. Pure.

use std::time::Duration;

use domain::UserId;
use domain::roll::{Applied, KeyState, Unread};
use kafka::Record;

use super::{Event, Plan};
use crate::Table;

/// Applies a record to the table and reports to the plan what it means for its key. Returns its user and its effect.
///
/// Called by [`crate::Upkeep`] for each record of the topic, and by the tests that model a replica.
///
/// # Errors
/// [`Unread`] when the record cannot be read. Table and plan have noted it.
pub fn read(table: &mut Table, plan: &mut Plan, record: &Record, now: Duration) -> Result<(UserId, Applied), Unread> {
    let at = record.position;
    plan.on(&Event::Read { partition: at.partition }, now);
    let taken = table.take(record);
    let user_id = match &taken {
        Ok((user_id, _)) => Some(*user_id),
        Err(unread) => unread.user_id(),
    };
    let Some(user_id) = user_id else { return taken };
    if record.value.is_none() {
        plan.on(&Event::Erased { user_id, at }, now);
    }
    if taken.as_ref().is_err_and(|unread| !unread.is_unknown()) {
        plan.on(&Event::Unreadable { user_id, at }, now);
    }
    plan.on(&after(user_id, table.key(user_id)), now);
    taken
}

/// Returns what the plan must know of a key after a record.
fn after(user_id: UserId, key: Option<&KeyState>) -> Event {
    match key {
        Some(key) if key.needs_repair() => Event::Dirty { user_id },
        Some(key) => match key.tombstone() {
            Some(tombstone) => Event::Forgotten { user_id, tombstone },
            None => Event::Clean { user_id },
        },
        None => Event::Clean { user_id },
    }
}
