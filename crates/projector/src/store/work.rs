//! A transaction on its way: the records of a batch applied to the rows of their users.

use std::collections::BTreeMap;

use domain::roll::{Effect, Unread as Fault};
use domain::{Checkpoint, UnixMillis, UserId};
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
    commit: Commit,
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
        if let Effect::Newer { gap: Some(_) } = applied.effect {
            let found = key.gaps().last().is_some_and(|gap| gap.position == record.position);
            commit.gaps_found += u64::from(found);
        }
        if applied.changed
            && let Some(state) = key.state()
        {
            commit.changes.push(Change::new(record.position, user_id, state, key.event(), key.gaps().to_vec(), before));
        }
        Ok(())
    }

    fn pass_over(&mut self, record: &Record, fault: &Fault) {
        self.commit.effects.count(fault.effect());
        self.commit.unreadable.push(Unread { position: record.position, reason: chain(fault) });
    }

    pub(super) fn finish(self, meta: &StoreMeta, as_of: UnixMillis) -> rusqlite::Result<Commit> {
        let connection = self.connection;
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
