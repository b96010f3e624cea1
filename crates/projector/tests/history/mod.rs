//! Random histories of some users, and what they fold to, for the tests of the store: no broker, no clock, one seed each.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use domain::fold::{self, KeyState};
use domain::{Checkpoint, Facts, Position, UnixMillis, User, UserEvent, UserId, headers, record, wire};
use kafka::Record;
use projector::store::{Filter, Lookup, Reader};

/// SplitMix64: the same numbers for the same seed, everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub fn small(&mut self, bound: u64) -> i64 {
        i64::try_from(self.below(bound)).unwrap()
    }
}

/// Records of some users on some partitions: created, changed, forgotten, late, repeated, missed, and some that cannot be read.
pub fn records(random: &mut Random, count: usize) -> Vec<Record> {
    let (mut next, mut users, mut sent) =
        (BTreeMap::new(), BTreeMap::new(), Vec::<(UserId, Option<Vec<u8>>, i64)>::new());
    let mut records = Vec::new();
    for second in 1..=i64::try_from(count).unwrap() {
        let user_id = UserId::new(random.small(12)).unwrap();
        let (value, at) = match random.below(20) {
            0 => (None, second * 1000),
            1 => (Some(b"no event".to_vec()), second * 1000),
            2..=4 if !sent.is_empty() => {
                // Late or repeated: one of the records before, again.
                let (user_id, value, at) = sent[usize::try_from(random.below(sent.len() as u64)).unwrap()].clone();
                records.push(record(&mut next, user_id, value, at));
                continue;
            }
            dice => {
                let old: Option<User> = users.get(&user_id).cloned();
                let mut new = old.clone().unwrap_or_else(|| User::new(user_id));
                new.name = Some(format!("name {}", random.below(1000)));
                new.state = Some(if random.below(4) == 0 { "inactive" } else { "active" }.to_owned());
                new.priv_group = Some(random.small(3));
                users.insert(user_id, new.clone());
                let facts = Facts {
                    old,
                    new,
                    timestamp: UnixMillis::from_millis(second * 1000).to_string(),
                    received_at: UnixMillis::from_millis(second * 1000),
                    password_changed: false,
                    extra: BTreeMap::new(),
                    omitted: Vec::new(),
                };
                if dice == 5 {
                    // A delivery that never comes.
                    continue;
                }
                (Some(wire::encode(&UserEvent::new(facts).unwrap())), second * 1000)
            }
        };
        sent.push((user_id, value.clone(), at));
        records.push(record(&mut next, user_id, value, at));
    }
    records
}

fn record(next: &mut BTreeMap<i32, i64>, user_id: UserId, value: Option<Vec<u8>>, at: i64) -> Record {
    let partition = i32::try_from(user_id.get() % 3).unwrap();
    let offset = next.entry(partition).or_insert(0);
    let position = Position { partition, offset: *offset };
    // Compaction leaves holes.
    *offset += 1 + i64::from(at % 7000 == 0);
    let at = UnixMillis::from_millis(at);
    let headers = if value.is_none() { headers::for_forgotten(user_id, at) } else { Vec::new() };
    Record {
        position,
        timestamp: at,
        key: Some(user_id.to_string().into_bytes()),
        value,
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
    }
}

/// The state of every user, with the value of the winner.
pub type State = BTreeMap<UserId, (KeyState, Option<Vec<u8>>)>;

/// Folds the records that the checkpoint covers, by the domain alone.
pub fn fold(records: &[Record], checkpoint: &Checkpoint) -> State {
    let mut state = State::new();
    for record in records.iter().filter(|record| checkpoint.covers(record.position)) {
        let ce_time = record.header(headers::CE_TIME);
        let Ok((user_id, head)) =
            record::read(record.key.as_deref(), record.value.as_deref(), ce_time, record.timestamp)
        else {
            continue;
        };
        let held = state.get(&user_id).cloned();
        let (next, effect) = fold::apply(held.as_ref().map(|(state, _)| *state), record.position.offset, head);
        let value = if effect.replaces_payload() { record.value.clone() } else { held.and_then(|(_, value)| value) };
        state.insert(user_id, (next, value));
    }
    state
}

/// Asserts that the table is exactly the fold of the records that its own checkpoint covers.
pub fn assert_is_fold(reader: &Reader, records: &[Record], why: &str) {
    let checkpoint = reader.checkpoint().unwrap();
    let expected = fold(records, &checkpoint);
    let stored = reader.find(&Filter::default(), None, usize::MAX - 1).unwrap().users;
    let found: BTreeMap<_, _> = stored.into_iter().map(|user| (user.user_id, (user.position, user.event))).collect();
    for (user_id, (state, value)) in &expected {
        match (value, reader.get(*user_id).unwrap()) {
            (Some(value), Lookup::Found(user)) => {
                assert_eq!((user.position.offset, &user.event), (state.winner_offset, value), "{why}: user {user_id}");
                assert_eq!(found.get(user_id), Some(&(user.position, user.event)), "{why}: user {user_id} in the list");
            }
            (None, Lookup::Forgotten(at)) => assert_eq!(at.offset, state.winner_offset, "{why}: user {user_id}"),
            (expected, found) => panic!("{why}: user {user_id}: expected {expected:?}, found {found:?}"),
        }
    }
    let users = expected.values().filter(|(_, value)| value.is_some()).count();
    assert_eq!(found.len(), users, "{why}: users that nobody told of");
    let counts = reader.counts().unwrap();
    assert_eq!(counts.forgotten, (expected.len() - users) as u64, "{why}");
}
