//! The other events of a tied second: each can win later, so the table keeps their bytes as well as the winner's.

use std::collections::BTreeMap;

use domain::roll::{Member, Roll};
use domain::{EventId, Position, UserId};
use rusqlite::{Connection, params};

use super::sealed::Sealed;

/// Returns the events of a user besides the winner, each with where it is.
pub(super) fn read_seconds(connection: &Connection, user_id: UserId) -> rusqlite::Result<Vec<(Position, Vec<u8>)>> {
    let mut statement = connection.prepare_cached("SELECT partition, offset, event FROM seconds WHERE user_id = ?1")?;
    let rows = statement.query_map([user_id.get()], |row| {
        let Sealed(event) = row.get(2)?;
        Ok((Position { partition: row.get(0)?, offset: row.get(1)? }, event))
    })?;
    rows.collect()
}

/// Writes the events of a state besides the winner, which has a row of its own.
pub(crate) fn write_seconds<'e>(
    connection: &Connection,
    user_id: UserId,
    state: &Roll,
    event: impl Fn(&Member) -> Option<&'e [u8]>,
) -> rusqlite::Result<()> {
    let winner = state.winner().map(|winner| winner.event_id);
    let others = state.members().iter().filter(|member| Some(member.event_id) != winner);
    let mut statement = connection.prepare_cached("INSERT INTO seconds VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for member in others {
        let Position { partition, offset } = member.at;
        let (id, event) = (member.event_id.to_string(), event(member).map(Sealed));
        statement.execute(params![user_id.get(), id, partition, offset, event])?;
    }
    Ok(())
}

pub(super) fn replace_seconds(
    connection: &Connection,
    user_id: UserId,
    state: &Roll,
    events: &BTreeMap<EventId, Vec<u8>>,
) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM seconds WHERE user_id = ?1")?.execute([user_id.get()])?;
    write_seconds(connection, user_id, state, |member| events.get(&member.event_id).map(Vec::as_slice))
}
