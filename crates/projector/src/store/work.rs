//! A transaction on its way: the records of a batch folded into the rows of their users.

use std::collections::BTreeMap;

use domain::fold::{self, Effect, KeyState, RecordHead};
use domain::wire::Facets;
use domain::{Checkpoint, Position, UnixMillis, UserId, record};
use kafka::Record;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::key_row::{FACET_COLUMNS, KeyPlace, PutUser, facets_of, put_forgotten, read_facets};
use super::late::{read_late, replace_late};
use super::rows::{read_gaps, replace_gaps, signed};
use super::unreadable::note_unreadable;
use super::{Change, Commit, LogBatch, Seen, StoreMeta, Unread, history, meta};
use crate::lineage::{Followed, Lineage};

/// A transaction on its way.
pub(super) struct Work<'c> {
    connection: &'c Connection,
    keys: BTreeMap<UserId, Key>,
    commit: Commit,
}

/// One user during a transaction: as it was, and as it is now.
struct Key {
    partition: i32,
    state: Option<KeyState>,
    /// The value of the winning record; `None` when forgotten or unknown.
    value: Option<Vec<u8>>,
    lineage: Lineage,
    facets_stored: Option<Facets<'static>>,
    value_changed: bool,
    followed: Followed,
}

impl<'c> Work<'c> {
    pub(super) fn new(connection: &'c Connection, checkpoint: Checkpoint) -> Self {
        Self { connection, keys: BTreeMap::new(), commit: Commit { checkpoint, ..Commit::default() } }
    }

    pub(super) fn take(&mut self, batch: &LogBatch) -> rusqlite::Result<()> {
        for record in &batch.records {
            if self.commit.checkpoint.advance(record.position).is_ok() {
                self.apply(record)?;
            }
        }
        for (partition, next) in &batch.ends {
            self.commit.checkpoint.reach(*partition, *next);
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record) -> rusqlite::Result<()> {
        let ce_time = record.header(domain::headers::CE_TIME);
        let read = record::read(record.key.as_deref(), record.value.as_deref(), ce_time, record.timestamp);
        let (user_id, head) = match read {
            Ok(read) => read,
            Err(error) => {
                self.commit.unreadable.push(Unread { position: record.position, reason: error.to_string() });
                return Ok(());
            }
        };
        if !self.keys.contains_key(&user_id) {
            let key = load(self.connection, user_id)?;
            self.keys.insert(user_id, key);
        }
        let key = self.keys.get_mut(&user_id).expect("it was put there a line above");
        let closed_before = key.followed.closed;
        let before = Seen::of(key.value.as_deref());
        let effect = key.apply(record, head);
        self.commit.gaps_closed += (key.followed.closed - closed_before) as u64;
        match effect {
            Effect::Newer { .. } => self.commit.newer += 1,
            Effect::Duplicate => self.commit.duplicate += 1,
            Effect::Stale => self.commit.stale += 1,
            Effect::Forgotten => self.commit.forgotten += 1,
        }
        if let Effect::Newer { .. } | Effect::Forgotten = effect {
            let found = key.lineage.gaps.last().is_some_and(|gap| gap.position == record.position);
            self.commit.gaps_found += u64::from(found);
            let change =
                Change::new(record.position, user_id, head, record.value.clone(), key.lineage.gaps.clone(), before);
            self.commit.changes.push(change);
        }
        Ok(())
    }

    pub(super) fn finish(mut self, meta: &StoreMeta, as_of: UnixMillis) -> rusqlite::Result<Commit> {
        let connection = self.connection;
        for (user_id, key) in &self.keys {
            store(connection, *user_id, key)?;
        }
        history::append(connection, &self.commit.changes)?;
        let mut statement = connection.prepare_cached(
            "INSERT INTO checkpoint VALUES (?1, ?2, 0) ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
        )?;
        for (partition, next) in self.commit.checkpoint.iter() {
            statement.execute(params![partition, next])?;
        }
        if !self.commit.unreadable.is_empty() {
            let count = meta.records_unreadable + self.commit.unreadable.len() as u64;
            note_unreadable(connection, &self.commit.unreadable, count)?;
        }
        meta::put(connection, "committed_at", &as_of.millis().to_string())?;
        self.keys.clear();
        Ok(self.commit)
    }
}

impl Key {
    fn place(&self, user_id: UserId, state: KeyState) -> KeyPlace {
        let KeyState { winner_offset, last_offset, .. } = state;
        KeyPlace { user_id, partition: self.partition, winner_offset, last_offset }
    }

    fn apply(&mut self, record: &Record, head: RecordHead) -> Effect {
        let position = record.position;
        let (state, effect) = apply_at(self.state, self.partition, position, head);
        let value = record.value.as_deref();
        let followed = self.lineage.follow(effect, position, &head, &state.winner, self.value.as_deref(), value);
        self.followed = self.followed.then(followed);
        self.state = Some(state);
        if effect.replaces_payload() {
            self.partition = position.partition;
            self.value = value.map(<[u8]>::to_vec);
            self.value_changed = true;
        }
        effect
    }
}

/// Applies a record to a state that may be of another partition: after a topic was given more partitions, the key's
/// records go on elsewhere, and offsets of two partitions cannot be compared.
pub(crate) fn apply_at(
    state: Option<KeyState>,
    partition: i32,
    position: Position,
    head: RecordHead,
) -> (KeyState, Effect) {
    match state {
        Some(held) if partition != position.partition => {
            let unplaced = KeyState { winner_offset: -1, last_offset: -1, ..held };
            match fold::apply(Some(unplaced), position.offset, head) {
                (_, Effect::Stale) => (held, Effect::Stale),
                won => won,
            }
        }
        state => fold::apply(state, position.offset, head),
    }
}

fn load(connection: &Connection, user_id: UserId) -> rusqlite::Result<Key> {
    let unknown = Key {
        partition: 0,
        state: None,
        value: None,
        lineage: Lineage { gaps: Vec::new(), late: read_late(connection, user_id)? },
        facets_stored: None,
        value_changed: false,
        followed: Followed::default(),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT partition, winner_offset, last_offset, gaps, event, {} FROM users WHERE user_id = ?1",
        FACET_COLUMNS
    ))?;
    let user = statement
        .query_row([user_id.get()], |row| {
            let event: Vec<u8> = row.get(4)?;
            let gaps: i64 = row.get(3)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, gaps, event, read_facets(row, 5)?))
        })
        .optional()?;
    if let Some((partition, winner_offset, last_offset, gaps, event, facets)) = user {
        let head = domain::wire::decode_head(&event).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Blob, Box::new(error))
        })?;
        let winner = RecordHead::Event(head);
        return Ok(Key {
            partition,
            state: Some(KeyState { winner, winner_offset, last_offset }),
            value: Some(event),
            lineage: Lineage {
                gaps: if gaps > 0 { read_gaps(connection, user_id)? } else { Vec::new() },
                ..unknown.lineage
            },
            facets_stored: Some(facets),
            value_changed: false,
            followed: Followed::default(),
        });
    }
    let mut statement = connection.prepare_cached(
        "SELECT partition, winner_offset, last_offset, forgotten_at FROM forgotten WHERE user_id = ?1",
    )?;
    let forgotten = statement
        .query_row([user_id.get()], |row| {
            let winner = RecordHead::Forgotten { at: UnixMillis::from_millis(row.get(3)?) };
            Ok((row.get(0)?, KeyState { winner, winner_offset: row.get(1)?, last_offset: row.get(2)? }))
        })
        .optional()?;
    Ok(match forgotten {
        Some((partition, state)) => Key { partition, state: Some(state), ..unknown },
        None => unknown,
    })
}

fn store(connection: &Connection, user_id: UserId, key: &Key) -> rusqlite::Result<()> {
    let Some(state) = key.state else { return Ok(()) };
    let id = user_id.get();
    if key.followed.gaps_changed {
        replace_gaps(connection, user_id, &key.lineage.gaps)?;
    }
    if key.followed.late_changed {
        replace_late(connection, user_id, &key.lineage.late)?;
    }
    match (&state.winner, &key.value) {
        (RecordHead::Forgotten { at }, _) => {
            connection.prepare_cached("DELETE FROM users WHERE user_id = ?1")?.execute([id])?;
            put_forgotten(connection, key.place(user_id, state), *at)?;
        }
        (RecordHead::Event(_), Some(value)) => {
            let facets = if key.value_changed { facets_of(value) } else { Facets::default() };
            if !key.value_changed || key.facets_stored.as_ref() == Some(&facets) {
                update_user(connection, id, key, state, value)?;
            } else {
                connection.prepare_cached("DELETE FROM forgotten WHERE user_id = ?1")?.execute([id])?;
                let place = key.place(user_id, state);
                PutUser::new(connection)?.put(place, key.lineage.gaps.len(), &facets, value)?;
            }
        }
        (RecordHead::Event(_), None) => unreachable!("an event that won has brought its value"),
    }
    Ok(())
}

/// Replaces what changes with every record, and spares the indexes of the columns that did not.
fn update_user(connection: &Connection, id: i64, key: &Key, state: KeyState, value: &[u8]) -> rusqlite::Result<()> {
    let gaps = signed(key.lineage.gaps.len());
    if key.value_changed {
        connection
            .prepare_cached(
                "UPDATE users SET partition = ?2, winner_offset = ?3, last_offset = ?4, gaps = ?5, event = ?6 \
                 WHERE user_id = ?1",
            )?
            .execute(params![id, key.partition, state.winner_offset, state.last_offset, gaps, value])?;
    } else {
        connection
            .prepare_cached("UPDATE users SET last_offset = ?2, gaps = ?3 WHERE user_id = ?1")?
            .execute(params![id, state.last_offset, gaps])?;
    }
    Ok(())
}
