//! Random histories of some users, and what they join to, for the tests of the store: no broker, no clock, one seed
//! each.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use domain::roll::{KeyState, second};
use domain::{Checkpoint, EventId, Position, UnixMillis, User, UserEvent, UserId, headers, wire};
use kafka::Record;
use projector::store::{Lookup, StoreReader, UserFilter};
use testkit::random::Random;

/// The Kafka timestamp of a repair: later than every receipt.
const REPAIRED_AT: UnixMillis = UnixMillis::from_millis(1_700_000_000_000);
const PARTITIONS: u64 = 3;

/// Records of some users on some partitions: created, changed (many in one second), forgotten, late, repeated, copied,
/// missed, repaired, and some that cannot be read or are unknown.
pub fn records(random: &mut Random, count: usize) -> Vec<Record> {
    let mut log = Log::default();
    log.grow(random, count);
    log.records
}

/// A log that grows.
#[derive(Default)]
pub struct Log {
    pub records: Vec<Record>,
    pub state: State,
    /// The records of a user are on several partitions: the topic was given more of them.
    pub is_widened: bool,
    pub next: BTreeMap<i32, i64>,
}

impl Log {
    /// Lets some time pass.
    pub fn grow(&mut self, random: &mut Random, steps: usize) {
        let (mut users, mut sent, mut second) = (BTreeMap::new(), Vec::<UserEvent>::new(), 1);
        for _ in 0..steps {
            second += i64::from(random.below(6) == 0);
            let user_id = UserId::new(random.small(12)).unwrap();
            match random.below(24) {
                0 => self.append(random, user_id, marker(user_id, second)),
                1 => {
                    let at = UnixMillis::from_millis(second * 1_000);
                    self.append(random, user_id, (Some(b"no event".to_vec()), Vec::new(), at));
                }
                2 | 3 => self.repair(random, user_id),
                4 if !sent.is_empty() => {
                    let broken = wire::encode(random.one_of(&sent))[..20].to_vec();
                    self.append(random, user_id, (Some(broken), Vec::new(), REPAIRED_AT));
                }
                5..=8 if !sent.is_empty() => {
                    // Late or repeated: one of the events before, again, or a copy of it.
                    let mut event = random.one_of(&sent).clone();
                    if random.below(3) == 0 {
                        event.received_at = UnixMillis::from_millis(event.received_at.millis() + random.small(3) - 1);
                        event.extra.insert("copy".to_owned(), random.below(3).to_string());
                    }
                    self.append(random, event.user_id, delivery(&event));
                }
                dice => {
                    let event = change_at_random(random, &mut users, user_id, second);
                    // One in many never comes, or late.
                    if dice != 9 {
                        self.append(random, user_id, delivery(&event));
                    }
                    if dice != 9 || random.below(2) == 0 {
                        sent.push(event);
                    }
                }
            }
        }
    }

    fn append(&mut self, random: &mut Random, user_id: UserId, (value, headers, timestamp): Content) {
        let own = u64::try_from(user_id.get()).unwrap() % PARTITIONS;
        let partition = if self.is_widened { random.below(PARTITIONS) } else { own };
        let partition = i32::try_from(partition).unwrap();
        let offset = self.next.entry(partition).or_insert(0);
        let position = Position { partition, offset: *offset };
        // Compaction leaves holes.
        *offset += 1 + i64::from(random.below(7) == 0);
        let key = Some(user_id.to_string().into_bytes());
        let record = Record { position, leader_epoch: None, timestamp, key, value, headers };
        take(&mut self.state, &record);
        self.records.push(record);
    }

    /// Appends what makes a key clean, as the keeper does.
    pub fn repair(&mut self, random: &mut Random, user_id: UserId) {
        let Some(Known { key, events }) = self.state.get(&user_id) else { return };
        let others = key.roll.members().iter().filter(|member| Some(*member) != key.roll.winner());
        let others: Vec<&[u8]> = others.map(|member| events[&member.event_id].as_slice()).collect();
        let header = second::encode(others.into_iter()).map(|header| (headers::SECOND.to_owned(), header));
        let content = match key.roll.winner() {
            Some(winner) => (Some(events[&winner.event_id].clone()), header.into_iter().collect(), REPAIRED_AT),
            None => marker(user_id, key.roll.rank().time().millis() / 1_000),
        };
        self.append(random, user_id, content);
    }

    /// Repairs every key that needs it. Those that end in unknown records are left alone: their users are returned.
    pub fn come_to_rest(&mut self, random: &mut Random) -> Vec<UserId> {
        let mut unknown = Vec::new();
        for user_id in self.state.keys().copied().collect::<Vec<_>>() {
            let key = &self.state[&user_id].key;
            if key.unknown_since().is_some() {
                unknown.push(user_id);
            } else if !key.is_clean() {
                self.repair(random, user_id);
            }
        }
        unknown
    }

    /// Returns what compaction leaves when it has been up to some record of each partition: of each key below it, the
    /// last.
    pub fn cut(&self, random: &mut Random) -> Vec<Record> {
        let ends: Vec<usize> =
            (0..PARTITIONS).map(|_| usize::try_from(random.below(self.records.len() as u64 + 1)).unwrap()).collect();
        let end = |record: &Record| ends[usize::try_from(record.position.partition).unwrap()];
        let same =
            |one: &Record, other: &Record| one.key == other.key && one.position.partition == other.position.partition;
        let is_kept = |(index, record): &(usize, &Record)| {
            let later = self.records.iter().take(end(record)).skip(index + 1).any(|other| same(record, other));
            !later
        };
        self.records.iter().enumerate().filter(is_kept).map(|(_, record)| record.clone()).collect()
    }
}

/// Value, headers and timestamp of a record.
type Content = (Option<Vec<u8>>, Vec<(String, Vec<u8>)>, UnixMillis);

fn delivery(event: &UserEvent) -> Content {
    (Some(wire::encode(event)), Vec::new(), event.received_at)
}

fn marker(user_id: UserId, second: i64) -> Content {
    let at = UnixMillis::from_millis(second * 1_000);
    let headers = headers::for_forgotten(user_id, at).into_iter();
    (None, headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(), at)
}

/// Returns the next change of a user, who comes back to states there were before.
fn change_at_random(
    random: &mut Random,
    users: &mut BTreeMap<UserId, User>,
    user_id: UserId,
    second: i64,
) -> UserEvent {
    let old: Option<User> = users.get(&user_id).cloned();
    let mut new = old.clone().unwrap_or_else(|| User::new(user_id));
    new.name = Some(format!("name {}", random.below(4)));
    new.state = Some(if random.below(4) == 0 { "inactive" } else { "active" }.to_owned());
    new.priv_group = Some(random.small(2));
    users.insert(user_id, new.clone());
    event(old, new, second, second * 1_000 + random.small(2_000))
}

/// Returns the event that made `new` out of `old` at that second, received at that millisecond.
pub fn event(old: Option<User>, new: User, second: i64, received: i64) -> UserEvent {
    let received_at = UnixMillis::from_millis(received);
    UserEvent { received_at, ..testkit::event::event(old, new, second) }
}

/// Returns the changes of user 1 in one second that `deliveries` lists as `A>B B>C`, received in that order; one that
/// is listed again is the same delivery, received again.
pub fn changed(deliveries: &str) -> Vec<Record> {
    let user_id = UserId::new(1).unwrap();
    let user = |name: &str| User { name: Some(name.to_owned()), ..User::new(user_id) };
    let record = |(offset, delivery_text): (i64, &str)| {
        let (from, to) = delivery_text.split_once('>').unwrap();
        let (value, headers, timestamp) = delivery(&event(Some(user(from)), user(to), 1, 1_000 + offset));
        let position = Position { partition: 0, offset };
        Record { position, leader_epoch: None, timestamp, key: Some(b"1".to_vec()), value, headers }
    };
    (0..).zip(deliveries.split(' ')).map(record).collect()
}

/// What the records of a user join to, with the bytes of each event of it.
#[derive(Clone, Debug)]
pub struct Known {
    pub key: KeyState,
    pub events: BTreeMap<EventId, Vec<u8>>,
}

impl Known {
    pub fn winner(&self) -> Option<&Vec<u8>> {
        self.key.roll.winner().map(|winner| &self.events[&winner.event_id])
    }
}

pub type State = BTreeMap<UserId, Known>;

/// Joins the records that the checkpoint covers, by the domain alone.
pub fn fold(records: &[Record], checkpoint: &Checkpoint) -> State {
    let mut state = State::new();
    records.iter().filter(|record| checkpoint.covers(record.position)).for_each(|record| take(&mut state, record));
    state
}

fn take(state: &mut State, record: &Record) {
    let reading = match record.read() {
        Ok(reading) => reading,
        Err(unread) => {
            if let Some(known) = unread.user_id().and_then(|user_id| state.get_mut(&user_id)) {
                known.key.pass_over(record.position, record.timestamp, &unread);
            }
            return;
        }
    };
    let before = state.entry(reading.user_id).and_modify(|known| {
        known.key.apply(&reading);
    });
    let known = before.or_insert_with(|| Known { key: KeyState::begin(&reading).0, events: BTreeMap::new() });
    for member in known.key.roll.members() {
        if member.at == record.position {
            known.events.insert(member.event_id, reading.payload(member).unwrap().to_vec());
        }
    }
}

/// Asserts that the table is exactly what the records join to that its own checkpoint covers.
pub fn assert_is_fold(reader: &StoreReader, records: &[Record], why: &str) {
    let checkpoint = reader.checkpoint().unwrap();
    let expected = fold(records, &checkpoint);
    let stored = reader.find(&UserFilter::default(), None, usize::MAX - 1).unwrap().users;
    let found: BTreeMap<_, _> = stored.into_iter().map(|user| (user.user_id, (user.position, user.event))).collect();
    for (user_id, known) in &expected {
        let position = known.key.roll.position();
        match (known.winner(), reader.get(*user_id).unwrap()) {
            (Some(value), Lookup::Found(user)) => {
                assert_eq!((user.position, &user.event), (position, value), "{why}: user {user_id}");
                assert_eq!(user.unknown_since, known.key.unknown_since(), "{why}: user {user_id}");
                assert_eq!(found.get(user_id), Some(&(user.position, user.event)), "{why}: user {user_id} in the list");
            }
            (None, Lookup::Forgotten(at)) => assert_eq!(at, position, "{why}: user {user_id}"),
            (expected, found) => panic!("{why}: user {user_id}: expected {expected:?}, found {found:?}"),
        }
    }
    let users = expected.values().filter(|known| known.winner().is_some()).count();
    assert_eq!(found.len(), users, "{why}: users that nobody told of");
    let counts = reader.counts().unwrap();
    assert_eq!(counts.forgotten, (expected.len() - users) as u64, "{why}");
}
