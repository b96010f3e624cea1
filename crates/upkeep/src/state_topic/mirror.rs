//! The last records of the state topic, by partition, and what is wrong with them. Pure: [`crate::Upkeep`] calls it,
//! and the tests that model a keeper.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use domain::headers::{CONTENT_TYPE, WINNER};
use domain::roll::{KeyState, Member, Tombstone};
use domain::wire::{self, Flat};
use domain::{UnixMillis, UserId};
use kafka::Record;
use kafka::publish::Outgoing;

use crate::keeper::{Event, Fetched};

/// The state topic as far as it has been read.
#[derive(Debug, Default)]
pub struct Mirror {
    flat: Flat,
    last: BTreeMap<i32, HashMap<UserId, Last>>,
}

/// The last record of a key on a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// The state that the headers with this digest name.
    State(u64),
    Tombstone(Tombstone),
}

/// The records that a key of the state topic needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    pub user_id: UserId,
    /// The event to write the state of, to the key's own partition.
    state: Option<Member>,
    /// The partitions that need a tombstone.
    tombstones: Vec<i32>,
}

impl Mirror {
    /// Returns the mirror of a topic with values of this format, of which nothing has been read.
    pub fn new(flat: Flat) -> Self {
        Self { flat, last: BTreeMap::new() }
    }

    /// Applies a record. Returns its user, or `None` for a key that is no user's: it is left alone.
    pub fn take(&mut self, record: &Record) -> Option<UserId> {
        let key = std::str::from_utf8(record.key.as_deref()?).ok()?;
        let user_id = key.parse::<UserId>().ok()?;
        let partition = self.last.entry(record.position.partition).or_default();
        let last = match (&record.value, partition.get(&user_id)) {
            (Some(_), _) => Last::State(digest(record.header(CONTENT_TYPE), record.header(WINNER))),
            (None, Some(Last::Tombstone(before))) => {
                Last::Tombstone(Tombstone { appended_at: record.timestamp, ..*before })
            }
            (None, _) => Last::Tombstone(Tombstone { since: record.timestamp, appended_at: record.timestamp }),
        };
        partition.insert(user_id, last);
        Some(user_id)
    }

    /// Yields the users that have a record; some more than once.
    pub fn user_ids(&self) -> impl Iterator<Item = UserId> + '_ {
        self.last.values().flat_map(HashMap::keys).copied()
    }

    /// Returns what the plan must know of a key after a record of it on either topic. `key` is its state on the topic
    /// of users, where there is any, and `home` its partition.
    pub fn event(&self, user_id: UserId, key: Option<&KeyState>, home: i32) -> Event {
        let correction = self.correction(user_id, key, home);
        if correction.state.is_some() || !correction.tombstones.is_empty() {
            return Event::Dirty { user_id };
        }
        match self.oldest_tombstone(user_id) {
            Some(tombstone) if winner(key).is_none() => Event::Forgotten { user_id, tombstone },
            _ => Event::Clean { user_id },
        }
    }

    /// Returns the records that make the key right: its state on its own partition, and no other value. Those of a key
    /// that is right already: its tombstones, to be renewed.
    pub fn needed(&self, user_id: UserId, key: Option<&KeyState>, home: i32) -> Correction {
        let correction = self.correction(user_id, key, home);
        if correction.state.is_some() || !correction.tombstones.is_empty() || winner(key).is_some() {
            return correction;
        }
        Correction { tombstones: self.partitions_of(user_id).map(|(partition, _)| partition).collect(), ..correction }
    }

    fn correction(&self, user_id: UserId, key: Option<&KeyState>, home: i32) -> Correction {
        let winner = winner(key);
        let is_right = |partition: i32, last: Last| match (last, winner) {
            (Last::Tombstone(_), _) => partition != home || winner.is_none(),
            (Last::State(digest), Some(winner)) => partition == home && digest == self.digest(winner),
            (Last::State(_), None) => false,
        };
        let wrong = self.partitions_of(user_id).filter(|(partition, last)| !is_right(*partition, *last));
        let tombstones = wrong.map(|(partition, _)| partition).filter(|partition| {
            // The state itself replaces what is wrong on its own partition.
            winner.is_none() || *partition != home
        });
        let tombstones = tombstones.collect();
        let at_home = self.last.get(&home).and_then(|partition| partition.get(&user_id));
        let is_missing = !at_home.is_some_and(|last| is_right(home, *last));
        Correction { user_id, state: winner.filter(|_| is_missing).copied(), tombstones }
    }

    fn partitions_of(&self, user_id: UserId) -> impl Iterator<Item = (i32, Last)> {
        self.last.iter().filter_map(move |(partition, keys)| Some((*partition, *keys.get(&user_id)?)))
    }

    fn oldest_tombstone(&self, user_id: UserId) -> Option<Tombstone> {
        let tombstones = self.partitions_of(user_id).filter_map(|(_, last)| match last {
            Last::Tombstone(tombstone) => Some(tombstone),
            Last::State(_) => None,
        });
        tombstones.min_by_key(|tombstone| tombstone.appended_at)
    }

    fn digest(&self, winner: &Member) -> u64 {
        digest(Some(self.flat.content_type().as_bytes()), Some(winner.copy_name().as_bytes()))
    }
}

impl Correction {
    /// Returns the position of the record on the topic of users that the state is made from.
    pub fn source(&self) -> Option<domain::Position> {
        self.state.map(|member| member.at)
    }

    /// Returns the records to append to `topic`. Returns `None` when the source no longer exists.
    pub fn records(&self, fetched: &Fetched, flat: Flat, topic: &str, now: UnixMillis) -> Option<Vec<Outgoing>> {
        let bare = |partition| Outgoing {
            topic: topic.to_owned(),
            key: self.user_id.to_string().into_bytes(),
            value: None,
            headers: Vec::new(),
            timestamp: now,
            partition,
        };
        let mut records: Vec<Outgoing> = self.tombstones.iter().map(|partition| bare(Some(*partition))).collect();
        if let Some(member) = &self.state {
            let source = fetched.get(&member.at)?;
            let reading = source.read().ok()?;
            let state = wire::decode_current(reading.payload(member)?).ok()?;
            let headers = [(CONTENT_TYPE, flat.content_type().to_owned()), (WINNER, member.copy_name())];
            records.push(Outgoing {
                value: Some(flat.encode(&state)),
                headers: headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).to_vec(),
                ..bare(None)
            });
        }
        Some(records)
    }
}

fn winner(key: Option<&KeyState>) -> Option<&Member> {
    key.and_then(|key| key.roll.winner())
}

/// Returns a digest of the headers that name a state. It never leaves the process.
fn digest(content_type: Option<&[u8]>, winner: Option<&[u8]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (content_type, winner).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use domain::Position;

    use super::*;
    use crate::Table;
    use crate::fixture::{NOW, change, record, tombstone};

    const HOME: i32 = 0;

    fn at(partition: i32, offset: i64) -> Position {
        Position { partition, offset }
    }

    fn user() -> UserId {
        UserId::new(1).unwrap()
    }

    /// Appends what the key needs, as a broker and a reader do. Returns the records' partitions and whether each is a
    /// tombstone.
    fn correct(mirror: &mut Mirror, table: &Table, log: &[Record], offset: i64) -> Vec<(Option<i32>, bool)> {
        let correction = mirror.needed(user(), table.key(user()), HOME);
        let fetched = log.iter().map(|record| (record.position, record.clone())).collect();
        let records = correction.records(&fetched, Flat::Json, "state", NOW).unwrap();
        for record in &records {
            let position = at(record.partition.unwrap_or(HOME), offset);
            let Outgoing { key, value, headers, timestamp, .. } = record.clone();
            mirror.take(&Record { position, leader_epoch: None, timestamp, key: Some(key), value, headers });
        }
        records.iter().map(|record| (record.partition, record.value.is_none())).collect()
    }

    fn event(mirror: &Mirror, table: &Table) -> Event {
        mirror.event(user(), table.key(user()), HOME)
    }

    #[test]
    fn the_last_record_follows_the_state_of_its_user() {
        let (mut mirror, mut table, mut log) = (Mirror::new(Flat::Json), Table::default(), Vec::new());
        let mut append = |table: &mut Table, record: Record| {
            table.take(&record).unwrap();
            log.push(record);
            log.clone()
        };
        assert_eq!(event(&mirror, &table), Event::Clean { user_id: user() }, "nobody, and nothing");

        let log = append(&mut table, record(at(3, 0), &change(1, "A>B", 5)));
        assert_eq!(event(&mirror, &table), Event::Dirty { user_id: user() });
        assert_eq!(correct(&mut mirror, &table, &log, 0), [(None, false)]);
        assert_eq!(event(&mirror, &table), Event::Clean { user_id: user() });

        let log = append(&mut table, record(at(3, 1), &change(1, "0>A", 4)));
        assert_eq!(event(&mirror, &table), Event::Clean { user_id: user() }, "a late delivery changes no state");
        assert!(correct(&mut mirror, &table, &log, 1).is_empty());

        let log = append(&mut table, tombstone(at(3, 2), 1, 6));
        assert_eq!(event(&mirror, &table), Event::Dirty { user_id: user() });
        assert_eq!(correct(&mut mirror, &table, &log, 1), [(Some(HOME), true)]);
        let renewed = Tombstone { since: NOW, appended_at: NOW };
        assert_eq!(event(&mirror, &table), Event::Forgotten { user_id: user(), tombstone: renewed });
        assert_eq!(correct(&mut mirror, &table, &log, 2), [(Some(HOME), true)], "a renewal");

        let log = append(&mut table, record(at(3, 3), &change(1, "B>C", 7)));
        assert_eq!(event(&mirror, &table), Event::Dirty { user_id: user() }, "the user is back");
        assert_eq!(correct(&mut mirror, &table, &log, 3), [(None, false)]);
        assert_eq!(event(&mirror, &table), Event::Clean { user_id: user() });
    }

    #[test]
    fn values_of_another_format_partition_or_writer_are_replaced() {
        let (mut mirror, mut table) = (Mirror::new(Flat::Json), Table::default());
        let source = record(at(0, 0), &change(1, "A>B", 5));
        table.take(&source).unwrap();
        let log = [source.clone()];
        for partition in [HOME, 1] {
            mirror.take(&Record { position: at(partition, 0), ..source.clone() });
        }
        assert_eq!(event(&mirror, &table), Event::Dirty { user_id: user() });
        assert_eq!(correct(&mut mirror, &table, &log, 1), [(Some(1), true), (None, false)]);
        assert_eq!(event(&mirror, &table), Event::Clean { user_id: user() });
        let other = Mirror { flat: Flat::Registered(1), last: std::mem::take(&mut mirror.last) };
        assert_eq!(event(&other, &table), Event::Dirty { user_id: user() }, "a registry is new");
    }

    #[test]
    fn a_user_that_the_log_does_not_have_has_no_state() {
        let (mut mirror, table) = (Mirror::new(Flat::Json), Table::default());
        mirror.take(&record(at(HOME, 0), &change(1, "A>B", 5)));
        assert_eq!(event(&mirror, &table), Event::Dirty { user_id: user() });
        assert_eq!(correct(&mut mirror, &table, &[], 1), [(Some(HOME), true)]);
        let mut key = record(at(HOME, 2), &change(1, "A>B", 5));
        key.key = Some(b"x".to_vec());
        assert_eq!(mirror.take(&key), None);
    }
}
