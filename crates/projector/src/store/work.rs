//! A transaction on its way: the records of a batch applied to the rows of their users.

use std::collections::BTreeMap;

use domain::roll::{Effect, Unread as Fault};
use domain::{Checkpoint, Position, UnixMillis, UserId};
use kafka::Record;
use rusqlite::{Connection, params};
use service::telemetry::chain;

use super::key::Key;
use super::unreadable::note_unreadable;
use super::{Change, Commit, LogBatch, Seen, StoreMeta, Unread, history, meta};

/// A transaction on its way.
pub(super) struct Work<'c> {
    connection: &'c Connection,
    keys: BTreeMap<UserId, Key>,
    /// Those who were forgotten on the way.
    forgotten: BTreeMap<UserId, Forgotten>,
    commit: Commit,
}

/// A user that was forgotten by a record of the transaction.
struct Forgotten {
    /// The first tombstone.
    tombstone: Position,
    since: UnixMillis,
    /// Which of the transaction's changes is that of the last one.
    change: usize,
}

impl<'c> Work<'c> {
    pub(super) fn new(connection: &'c Connection, checkpoint: Checkpoint) -> Self {
        let commit = Commit { checkpoint, ..Commit::default() };
        Self { connection, keys: BTreeMap::new(), forgotten: BTreeMap::new(), commit }
    }

    pub(super) fn take(&mut self, batch: &LogBatch) -> rusqlite::Result<()> {
        for record in &batch.records {
            if self.commit.checkpoint.advance(record.position, record.leader_epoch).is_ok() {
                self.apply(record)?;
            }
        }
        for (partition, next) in &batch.ends {
            self.commit.checkpoint.reach(*partition, *next);
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record) -> rusqlite::Result<()> {
        let reading = match record.read() {
            Ok(reading) => reading,
            Err(fault) => {
                self.pass_over(record, &fault);
                return Ok(());
            }
        };
        let user_id = reading.user_id;
        if !self.keys.contains_key(&user_id) {
            let key = Key::load(self.connection, user_id)?;
            self.keys.insert(user_id, key);
        }
        let key = self.keys.get_mut(&user_id).expect("it was put there a line above");
        let before = Seen::of(key.event());
        let (applied, followed) = key.apply(&reading);
        let commit = &mut self.commit;
        commit.effects.count(applied.effect);
        commit.gaps_closed += followed.closed as u64;
        commit.tally_changed |= followed.gaps_changed;
        if let Effect::Newer { gap: Some(_) } = applied.effect {
            let found = key.gaps().last().is_some_and(|gap| gap.position == record.position);
            commit.gaps_found += u64::from(found);
        }
        if applied.changed
            && let Some(state) = key.state()
        {
            if state.rank().is_forgotten() {
                let first = Forgotten { tombstone: record.position, since: record.timestamp, change: 0 };
                self.forgotten.entry(user_id).or_insert(first).change = commit.changes.len();
            }
            commit.changes.push(Change::new(record.position, user_id, state, key.event(), key.gaps().to_vec(), before));
        }
        Ok(())
    }

    fn pass_over(&mut self, record: &Record, fault: &Fault) {
        self.commit.effects.count(fault.effect());
        self.commit.unreadable.push(Unread { position: record.position, reason: chain(fault) });
    }

    /// Removes what those who were forgotten were before, from the history and from the changes on their way to it.
    fn remove_former(&mut self) -> rusqlite::Result<()> {
        let (forgotten, mut number) = (&self.forgotten, 0);
        self.commit.changes.retain(|change| {
            let is_former = forgotten.get(&change.user_id).is_some_and(|forgotten| number < forgotten.change);
            number += 1;
            !is_former
        });
        for (user_id, Forgotten { tombstone, since, .. }) in forgotten {
            let changes = history::remove(self.connection, *user_id)?;
            if changes > 0 || self.keys.get(user_id).is_some_and(Key::was_stored) {
                self.commit.erasures.add(*tombstone, *since);
            }
        }
        self.commit.erasures.note(self.connection)
    }

    pub(super) fn finish(mut self, meta: &StoreMeta, as_of: UnixMillis) -> rusqlite::Result<Commit> {
        let connection = self.connection;
        self.remove_former()?;
        for key in self.keys.values() {
            key.store(connection)?;
        }
        history::append(connection, &self.commit.changes)?;
        let mut statement = connection.prepare_cached(
            "INSERT INTO checkpoint VALUES (?1, ?2, 0) ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
        )?;
        for (partition, next) in self.commit.checkpoint.iter() {
            statement.execute(params![partition, next])?;
        }
        let count = meta.records_unreadable + self.commit.unreadable.len() as u64;
        note_unreadable(connection, &self.commit.unreadable, count)?;
        meta::put(connection, "committed_at", &as_of.millis().to_string())?;
        Ok(self.commit)
    }
}
