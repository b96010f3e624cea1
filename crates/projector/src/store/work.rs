//! A transaction on its way: the records of a batch applied to the rows of their users.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use domain::headers::REASSERTED;
use domain::roll::{Effect, Reading, Unread as Fault};
use domain::wire::Ids;
use domain::{Checkpoint, Position, UnixMillis, UserId};
use kafka::Record;
use rusqlite::{Connection, params};

use super::counts::Moved;
use super::history::{self, Added, Closing, Passed};
use super::key::Key;
use super::positions::Sweep;
use super::unreadable::note_unreadable;
use super::{Commit, LogBatch, StoreMeta, Unread, counts, meta, positions};

/// A transaction on its way.
pub(super) struct Work<'c> {
    connection: &'c Connection,
    keys: BTreeMap<UserId, Key>,
    /// Those who were forgotten on the way.
    forgotten: BTreeMap<UserId, Forgotten>,
    /// The deliveries that changed nobody, each with the number of changes before it.
    passed: Vec<(usize, Passed)>,
    closings: Vec<Closing>,
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
        Self {
            connection,
            keys: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            passed: Vec::new(),
            closings: Vec::new(),
            commit,
        }
    }

    pub(super) fn take(&mut self, batch: &LogBatch) -> rusqlite::Result<()> {
        for record in &batch.records {
            if self.commit.checkpoint.advance(record.position, record.leader_epoch).is_ok() {
                if let Some(epoch) = record.leader_epoch {
                    self.commit.epochs.note(record.position, epoch);
                }
                self.apply(record, &batch.ids)?;
            }
        }
        for (partition, next) in &batch.ends {
            self.commit.checkpoint.reach(*partition, *next);
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record, ids: &Ids) -> rusqlite::Result<()> {
        let reading = match record.read() {
            Ok(reading) => reading,
            Err(fault) => return self.pass_over(record, &fault, ids),
        };
        let user_id = reading.user_id;
        let key = loaded(&mut self.keys, self.connection, user_id)?;
        let (former, gaps_before) = (key.event().map(Arc::from), key.gaps().to_vec());
        let (applied, followed) = key.apply(&reading);
        let is_known_again = key.note_known(record.position);
        let commit = &mut self.commit;
        commit.effects.count(applied.effect);
        commit.lateness_ms.extend(lateness_ms(record, &reading));
        commit.gaps_closed += followed.closed as u64;
        if let Effect::Newer { gap: Some(_) } = applied.effect {
            let found = key.gaps().last().is_some_and(|gap| gap.position == record.position);
            commit.gaps_found += u64::from(found);
        }
        if followed.closed > 0 {
            self.closings.extend(Closing::between(record.position, &gaps_before, key.gaps()));
        }
        if !applied.changed && key.event().is_some() {
            let passed = Passed::of(record, user_id, applied.effect);
            self.passed.extend(passed.map(|passed| (commit.changes.len(), passed)));
        }
        if applied.changed && key.is_forgotten() {
            let first = Forgotten { tombstone: record.position, since: record.timestamp, change: 0 };
            self.forgotten.entry(user_id).or_insert(first).change = commit.changes.len();
        }
        if applied.changed || (is_known_again && key.event().is_some()) {
            commit.changes.extend(key.change(record.position, former));
        }
        Ok(())
    }

    /// Passes over a record that cannot be read or is unknown. It changes what is told of its user at most by when the
    /// user was last known.
    fn pass_over(&mut self, record: &Record, fault: &Fault, ids: &Ids) -> rusqlite::Result<()> {
        self.commit.effects.count(fault.effect());
        self.commit.unreadable.push(Unread::new(record.position, fault, ids));
        let Some(user_id) = fault.user_id() else { return Ok(()) };
        let key = loaded(&mut self.keys, self.connection, user_id)?;
        if key.pass_over(record, fault) && key.event().is_some() {
            self.commit.changes.extend(key.change(record.position, key.event().map(Arc::from)));
        }
        Ok(())
    }

    /// Removes what those who were forgotten were before, from the history and from the changes on their way to it.
    fn remove_former(&mut self) -> rusqlite::Result<()> {
        let (forgotten, mut number) = (&self.forgotten, 0);
        self.commit.changes.retain(|change| {
            let is_former = forgotten.get(&change.user_id).is_some_and(|forgotten| number < forgotten.change);
            number += 1;
            !is_former
        });
        self.passed.retain(|(number, passed)| {
            forgotten.get(&passed.user_id).is_none_or(|forgotten| *number > forgotten.change)
        });
        for (user_id, Forgotten { tombstone, since, .. }) in forgotten {
            let changes = history::remove(self.connection, *user_id)?;
            if changes > 0 || self.keys.get(user_id).is_some_and(Key::was_stored) {
                self.commit.erasures.add(*tombstone, *since);
            }
        }
        self.commit.erasures.note(self.connection)
    }

    pub(super) fn finish(mut self, meta: &StoreMeta, sweep: &mut Sweep, as_of: UnixMillis) -> rusqlite::Result<Commit> {
        let connection = self.connection;
        let last = history::last(connection)?;
        self.remove_former()?;
        let mut moved = Moved::default();
        for key in self.keys.values() {
            key.store(connection)?;
            let Moved { users, forgotten } = key.moved();
            moved.users += users;
            moved.forgotten += forgotten;
        }
        counts::add(connection, moved)?;
        sweep.step(connection, self.keys.values().filter(|key| key.has_moved()).count())?;
        positions::settle(connection)?;
        let passed: Vec<Passed> = self.passed.into_iter().map(|(_, passed)| passed).collect();
        let (changes, closings) = (self.commit.changes.as_slice(), self.closings.as_slice());
        Added { changes, passed: &passed, closings, seen_at: as_of, last }.append(connection)?;
        let mut statement = connection.prepare_cached(
            "INSERT INTO checkpoint VALUES (?1, ?2, 0, ?3) \
             ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset, leader_epoch = excluded.leader_epoch",
        )?;
        for (partition, next, epoch) in self.commit.checkpoint.entries() {
            statement.execute(params![partition, next, epoch])?;
        }
        meta::write_epochs(connection, &self.commit.epochs)?;
        let count = meta.records_unreadable + self.commit.unreadable.len() as u64;
        note_unreadable(connection, &self.commit.unreadable, count)?;
        meta::put(connection, "committed_at", &as_of.millis().to_string())?;
        Ok(self.commit)
    }
}

/// Returns a user, read from its rows the first time.
fn loaded<'k>(
    keys: &'k mut BTreeMap<UserId, Key>,
    connection: &Connection,
    user_id: UserId,
) -> rusqlite::Result<&'k mut Key> {
    match keys.entry(user_id) {
        Entry::Occupied(key) => Ok(key.into_mut()),
        Entry::Vacant(vacant) => Ok(vacant.insert(Key::load(connection, user_id)?)),
    }
}

/// Returns the time from occurrence to receipt, in milliseconds; `None` for no delivery: a tombstone, or a record that
/// was appended again.
fn lateness_ms(record: &Record, reading: &Reading<'_>) -> Option<i64> {
    let winner = reading.says().winner().filter(|_| record.header(REASSERTED).is_none())?;
    Some(winner.received_at.millis().saturating_sub(reading.says().rank().time().millis()))
}
