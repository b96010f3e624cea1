//! One partition, read from its beginning to its end.

use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::sync::Arc;

use domain::headers::REASSERTED;
use domain::roll::{Applied, Ends, KeyState, Reading, Roll, Unread};
use domain::wire::Ids;
use domain::{EventId, Position, UserId};
use kafka::placement::partition_for;
use kafka::scan::Scanned;
use service::registry::{Schemas, Unsettled};
use service::telemetry::chain;

use super::gaps::{Held, Suspects};
use super::report::Key;
use super::{Found, Misplaced, Report, Unreadable, Winner};

/// The state of a partition.
pub(super) struct Partition {
    number: i32,
    /// The number of partitions of the topic.
    of: i32,
    keep_winners: bool,
    next_offset: i64,
    records: u64,
    reasserted: u64,
    keys: HashMap<UserId, KeyState>,
    /// Keys without a record that can be read, and the last record of each.
    stateless: HashMap<UserId, (Ends, Position)>,
    /// The values of the events of each set, if winners are kept.
    values: HashMap<UserId, Vec<(EventId, Vec<u8>)>>,
    suspects: Suspects,
    unreadable: Found<Unreadable>,
    unknown: Found<Unreadable>,
    misplaced: Found<Misplaced>,
}

impl Partition {
    pub(super) fn new(number: i32, of: i32, keep_winners: bool) -> Self {
        Self {
            number,
            of,
            keep_winners,
            next_offset: 0,
            records: 0,
            reasserted: 0,
            keys: HashMap::new(),
            stateless: HashMap::new(),
            values: HashMap::new(),
            suspects: Suspects::default(),
            unreadable: Found::default(),
            unknown: Found::default(),
            misplaced: Found::default(),
        }
    }

    pub(super) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Returns the records of a key on this partition.
    pub(super) fn key(&self, user_id: UserId) -> Option<Key> {
        match self.keys.get(&user_id) {
            Some(key) => Some(Key::Known(key.clone())),
            None => self.stateless.get(&user_id).map(|(ends, last)| Key::Stateless(ends.clone(), *last)),
        }
    }

    /// Returns the keys that are dirty by the records of this partition.
    pub(super) fn dirty(&self) -> impl Iterator<Item = UserId> {
        self.keys.iter().filter(|(_, key)| key.needs_repair()).map(|(user_id, _)| *user_id)
    }

    /// Reads the next record.
    ///
    /// # Errors
    /// [`Unsettled`] when a schema of it cannot be looked up.
    pub(super) fn read(
        &mut self,
        scanned: &Scanned<'_>,
        schemas: &Schemas,
        ids: &mut Arc<Ids>,
    ) -> Result<(), Unsettled> {
        let position = scanned.position();
        self.next_offset = position.offset + 1;
        self.records += 1;
        // Counted for every effect: a repair overtaken by a newer event is stale, but was appended.
        self.reasserted += u64::from(scanned.header(REASSERTED).is_some());
        let read =
            schemas.read(ids, || true, |ids| scanned.read_with(ids, |reading, _| self.apply(scanned, reading)))?;
        if let Err(unread) = read {
            self.pass_over(scanned, &unread);
        }
        Ok(())
    }

    fn apply(&mut self, scanned: &Scanned<'_>, reading: &Reading<'_>) {
        let partition = partition_for(scanned.key().unwrap_or_default(), self.of);
        // A tombstone belongs on each partition that held the user, and nobody joins with it.
        if partition != self.number && scanned.value().is_some() {
            let position = scanned.position();
            self.misplaced.push(Misplaced { user_id: reading.user_id, position, partition });
        }
        let (held, applied, key) = match self.keys.entry(reading.user_id) {
            hash_map::Entry::Occupied(key) => {
                let key = key.into_mut();
                (Some(Held::of(&key.roll)), key.apply(reading), &*key)
            }
            hash_map::Entry::Vacant(vacant) => {
                let ends = self.stateless.remove(&reading.user_id).map(|(ends, _)| ends).unwrap_or_default();
                let (key, applied) = KeyState::begin_after(ends, reading);
                (None, applied, &*vacant.insert(key))
            }
        };
        self.suspects.follow(held, &key.roll, &applied, reading);
        if self.keep_winners {
            self.keep_values(&applied, reading);
        }
    }

    fn pass_over(&mut self, scanned: &Scanned<'_>, unread: &Unread) {
        let position = scanned.position();
        let found = if unread.is_unknown() { &mut self.unknown } else { &mut self.unreadable };
        found.push(Unreadable { position, reason: chain(unread) });
        let Some(user_id) = unread.user_id() else { return };
        match self.keys.get_mut(&user_id) {
            Some(key) => {
                key.pass_over(position, scanned.timestamp(), unread);
            }
            None => {
                let (ends, last) = self.stateless.entry(user_id).or_insert((Ends::default(), position));
                ends.pass_over(position, scanned.timestamp(), unread);
                *last = position;
            }
        }
    }

    fn keep_values(&mut self, applied: &Applied, reading: &Reading<'_>) {
        if !applied.stored {
            return;
        }
        let state = &self.keys[&reading.user_id].roll;
        let values = self.values.entry(reading.user_id).or_default();
        values.retain(|(event_id, _)| state.members().iter().any(|member| member.event_id == *event_id));
        for member in state.members() {
            if let Some(value) = reading.payload(member) {
                values.retain(|(event_id, _)| *event_id != member.event_id);
                values.push((member.event_id, value.to_vec()));
            }
        }
    }

    /// Adds findings to `report`, the data to confirm gaps to `suspects`, and the states to `keys`.
    pub(super) fn report(mut self, report: &mut Report, suspects: &mut Suspects, keys: &mut BTreeMap<UserId, Key>) {
        report.records += self.records;
        report.reasserted += self.reasserted;
        report.unreadable.append(self.unreadable);
        report.unknown.append(self.unknown);
        report.misplaced.append(self.misplaced);
        suspects.append(self.suspects);
        for (user_id, key) in self.keys {
            if self.keep_winners {
                let values = self.values.remove(&user_id).unwrap_or_default();
                let other = keys.get(&user_id).and_then(Key::state);
                if other.is_none_or(|other| wins_over(&key.roll, other)) {
                    report.winners.insert(user_id, winner(&key.roll, values));
                }
            }
            add(keys, user_id, Key::Known(key));
        }
        for (user_id, (ends, last)) in self.stateless {
            add(keys, user_id, Key::Stateless(ends, last));
        }
    }
}

fn add(keys: &mut BTreeMap<UserId, Key>, user_id: UserId, key: Key) {
    match keys.entry(user_id) {
        btree_map::Entry::Vacant(vacant) => drop(vacant.insert(key)),
        btree_map::Entry::Occupied(mut other) => {
            let joined = other.get().clone().join(key);
            other.insert(joined);
        }
    }
}

/// Returns whether the winner of `roll` also wins in the join with `other`.
fn wins_over(roll: &Roll, other: &Roll) -> bool {
    let mut joined = other.clone();
    joined.join(roll);
    joined.position() == roll.position()
}

fn winner(roll: &Roll, values: Vec<(EventId, Vec<u8>)>) -> Winner {
    let event_id = roll.winner().map(|winner| winner.event_id);
    let event = values.into_iter().find(|(own, _)| Some(*own) == event_id);
    Winner { roll: roll.clone(), event }
}
