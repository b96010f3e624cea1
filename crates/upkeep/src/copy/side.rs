//! One of the two topics of a copy, read from its beginning to its end, and further on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use domain::roll::{KeyState, Reading, Unread};
use domain::{Position, UserId};
use kafka::scan::{self, Range, Scanned};

use super::{Copied, Error};
use crate::SILENCE_MAX;
use crate::forget::Log;
use crate::reader::{self, Reader};

/// A topic, as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Side {
    topic: String,
    next_offsets: BTreeMap<i32, i64>,
    keys: HashMap<UserId, KeyState>,
    /// The keys that end in a record which this build does not know, with that record.
    strangers: HashMap<UserId, Stranger>,
    /// All records that this build does not know, by key and digest.
    strangers_seen: HashSet<(UserId, u64)>,
    unreadable: usize,
}

/// A record that this build does not know.
#[derive(Clone, Copy, Debug)]
struct Stranger {
    position: Position,
    digest: u64,
}

impl Side {
    pub(super) fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), ..Self::default() }
    }

    pub(super) fn key(&self, user_id: UserId) -> Option<&KeyState> {
        self.keys.get(&user_id)
    }

    /// Reads from the last end to the present one.
    pub(super) async fn read_on(mut self, log: &Log) -> Result<Self, Error> {
        let log = log.clone();
        let read = tokio::task::spawn_blocking(move || match self.read(&log) {
            Ok(()) => Ok(self),
            Err(source) => Err(Error::Read { topic: self.topic, source }),
        });
        read.await.expect("reading does not panic")
    }

    fn read(&mut self, log: &Log) -> Result<(), reader::Error> {
        let ranges = scan::ranges(&log.kafka, &self.topic, SILENCE_MAX)?.into_iter();
        let ranges: Vec<Range> = ranges
            .map(|range| {
                let next = self.next_offsets.insert(range.partition, range.end);
                Range { start: next.unwrap_or(0).max(range.start), ..range }
            })
            .collect();
        let topic = self.topic.clone();
        let mut reader = Reader::new(&log.schemas);
        let scanned = scan::scan(&log.kafka, &topic, &ranges, SILENCE_MAX, |record| {
            reader.take(|schemas, ids| {
                let read = schemas.read(ids, || true, |ids| record.read_with(ids, |reading, _| self.take(reading)))?;
                if let Err(unread) = read {
                    self.pass_over(record, &unread);
                }
                Ok(())
            })
        });
        reader.end(scanned)
    }

    fn take(&mut self, reading: &Reading<'_>) {
        let (user_id, position) = (reading.user_id, reading.position);
        let follows = |stranger: &Stranger| stranger.position.partition == position.partition;
        if self.strangers.get(&user_id).is_some_and(follows) {
            self.strangers.remove(&user_id);
        }
        match self.keys.get_mut(&user_id) {
            Some(key) => drop(key.apply(reading)),
            None => drop(self.keys.insert(user_id, KeyState::begin(reading).0)),
        }
    }

    fn pass_over(&mut self, record: &Scanned<'_>, unread: &Unread) {
        let position = record.position();
        let user_id = unread.user_id();
        if let Some(user_id) = user_id.filter(|_| unread.is_unknown()) {
            let mut digest = DefaultHasher::new();
            record.value().hash(&mut digest);
            let digest = digest.finish();
            self.strangers.insert(user_id, Stranger { position, digest });
            self.strangers_seen.insert((user_id, digest));
        } else {
            self.unreadable += 1;
        }
        if let Some(key) = user_id.and_then(|user_id| self.keys.get_mut(&user_id)) {
            key.pass_over(position, record.timestamp(), unread);
        }
    }

    /// Returns the report of a copy to `new`, which has everything.
    pub(super) fn compared_with(&self, new: &Self) -> Copied {
        let forgotten = self.keys.values().filter(|key| key.roll.rank().is_forgotten()).count();
        let only_there = new.keys.keys().filter(|user_id| !self.keys.contains_key(user_id)).count();
        Copied {
            users: self.keys.len(),
            forgotten,
            appended: 0,
            unknown: self.strangers.len(),
            unreadable: self.unreadable,
            only_there,
        }
    }
}

/// Returns the keys whose state `new` does not have, and the positions of the unknown records that it does not have;
/// both in the order of the log of `old`.
pub(super) fn unequal(old: &Side, new: &Side) -> (Vec<UserId>, Vec<Position>) {
    let lacking = old.keys.iter().filter(|(user_id, key)| lacks(new.keys.get(user_id), key));
    let mut lacking: Vec<(Position, UserId)> = lacking.map(|(user_id, key)| (key.roll.position(), *user_id)).collect();
    lacking.sort_unstable();
    let unseen =
        old.strangers.iter().filter(|(user_id, stranger)| !new.strangers_seen.contains(&(**user_id, stranger.digest)));
    let mut unseen: Vec<Position> = unseen.map(|(_, stranger)| stranger.position).collect();
    unseen.sort_unstable();
    (lacking.into_iter().map(|(_, user_id)| user_id).collect(), unseen)
}

/// Returns whether the state of a key is not on the new topic: not part of the state there, or there in a way that
/// compaction would not keep. A newer state on the new topic is a state that ingest has written there.
fn lacks(new: Option<&KeyState>, old: &KeyState) -> bool {
    let Some(new) = new else { return true };
    let mut joined = new.roll.clone();
    joined.join(&old.roll);
    !joined.is_same(&new.roll) || (new.needs_repair() && old.roll.is_same(&new.roll))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{change, record, tombstone};
    use kafka::Record;

    fn state(records: &[Record]) -> KeyState {
        let mut state: Option<KeyState> = None;
        for record in records {
            let reading = record.read().unwrap();
            match &mut state {
                Some(state) => drop(state.apply(&reading)),
                None => state = Some(KeyState::begin(&reading).0),
            }
        }
        state.unwrap()
    }

    #[test]
    fn a_state_is_copied_where_the_new_topic_has_none_or_an_older_one() {
        let at = |offset| Position { partition: 0, offset };
        let (older, newer) = (record(at(0), &change(1, "A>B", 1)), record(at(1), &change(1, "B>C", 2)));
        let (tie, marker) = (record(at(2), &change(1, "C>D", 2)), tombstone(at(3), 1, 3));
        let of = |records: &[&Record]| state(&records.iter().map(|record| (*record).clone()).collect::<Vec<_>>());
        let table = [
            (vec![], vec![&older], true),
            (vec![&older], vec![&older], false),
            (vec![&older], vec![&older, &newer], true),
            (vec![&newer], vec![&newer, &tie], true),
            // Ingest has written to the new topic.
            (vec![&older, &newer], vec![&older], false),
            (vec![&marker], vec![&older], false),
            (vec![&older], vec![&marker], true),
            (vec![&marker], vec![&marker], false),
        ];
        for (new, old, expected) in table {
            let has = (!new.is_empty()).then(|| of(&new));
            assert_eq!(lacks(has.as_ref(), &of(&old)), expected, "{new:?} {old:?}");
        }
        let late = record(at(9), &change(1, "A>B", 1));
        assert!(lacks(Some(&of(&[&newer, &late])), &of(&[&newer])), "compaction would keep the late one");
    }
}
