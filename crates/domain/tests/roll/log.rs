//! An in-memory log of one user, of real bytes.

use std::rc::Rc;

use domain::headers::{CE_TIME, SECOND};
use domain::roll::{self, Applied, Ends, KeyState, Member, Reading, Unread, second};
use domain::{Facts, Position, UnixMillis, User, UserEvent, UserId, wire};

/// The Kafka timestamp of every record.
pub(crate) const NOW: UnixMillis = UnixMillis::from_millis(1_700_000_000_000);
const USER: &[u8] = b"1";

/// A record of the user.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    value: Option<Rc<[u8]>>,
    /// [`SECOND`] on an event, [`CE_TIME`] on a marker.
    header: Option<Rc<[u8]>>,
}

impl Record {
    /// Returns a record of a known schema whose bytes are broken.
    pub(crate) fn broken() -> Self {
        let Self { value: Some(value), .. } = change(None, 'A', 0, 0, 0) else { unreachable!("it has a value") };
        Self { value: Some(value[..20].into()), header: None }
    }

    /// Returns a record with an unknown framing.
    pub(crate) fn unknown() -> Self {
        Self { value: Some(b"{}"[..].into()), header: None }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    pub(crate) fn read(&self, position: Position) -> Result<Reading<'_>, Unread> {
        let own = if self.value.is_some() { SECOND } else { CE_TIME };
        let header = |name: &str| self.header.as_deref().filter(|_| name == own);
        roll::read(position, Some(USER), self.value.as_deref(), header, NOW)
    }
}

/// Returns the event of a change from one state to another at that second, received at that millisecond. `copy` varies
/// the bytes that the event's id does not cover.
pub(crate) fn change(from: Option<char>, to: char, second: i64, received: i64, copy: u8) -> Record {
    let user = |state: char| User { name: Some(state.into()), ..User::new(UserId::new(1).unwrap()) };
    let extra = [("copy".to_owned(), copy.to_string())].into_iter().filter(|_| copy > 0).collect();
    let received_at = UnixMillis::from_millis(received);
    of_facts(Facts { received_at, extra, ..facts(from.map(user), user(to), second) })
}

/// Returns the facts of a change at that second.
pub(crate) fn facts(old: Option<User>, new: User, second: i64) -> Facts {
    let timestamp = UnixMillis::from_millis(second * 1_000);
    Facts {
        old,
        new,
        timestamp: timestamp.to_string(),
        received_at: timestamp,
        password_changed: false,
        extra: Default::default(),
        omitted: Vec::new(),
    }
}

pub(crate) fn of_facts(facts: Facts) -> Record {
    let event = UserEvent::new(facts).unwrap();
    Record { value: Some(wire::encode(&event).into()), header: None }
}

/// Returns the changes of one second in `deliveries`, written as `A>B B>C`, received in that order. A repeated entry is
/// the same delivery, received again.
pub(crate) fn changed(deliveries: &str) -> Vec<Record> {
    let delivery = |(received, text): (i64, &str)| {
        let [from, _, to] = text.chars().collect::<Vec<_>>()[..] else { panic!("{text} is not of the form A>B") };
        change(Some(from), to, 1, received, 0)
    };
    (0..).zip(deliveries.split(' ')).map(delivery).collect()
}

pub(crate) fn marker(second: i64) -> Record {
    let at = UnixMillis::from_millis(second * 1_000).to_string();
    Record { value: None, header: Some(at.into_bytes().into()) }
}

/// Applies a record, which may be unreadable. Returns `None` when the key has no state yet to record that.
pub(crate) fn apply(key: &mut Option<KeyState>, position: Position, record: &Record) -> Option<Applied> {
    match record.read(position) {
        Ok(reading) => Some(take(key, &reading)),
        Err(unread) => {
            let effect = key.as_mut()?.pass_over(position, NOW, &unread);
            Some(Applied { effect, changed: false, stored: false, dropped: 0 })
        }
    }
}

pub(crate) fn take(key: &mut Option<KeyState>, reading: &Reading<'_>) -> Applied {
    match key {
        Some(key) => key.apply(reading),
        None => {
            let (begun, applied) = KeyState::begin(reading);
            *key = Some(begun);
            applied
        }
    }
}

/// The remaining records of a log, in reading order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Vec<(Position, Record)>);

impl Log {
    pub(crate) fn of(records: Vec<Record>) -> Self {
        let mut log = Self::default();
        records.into_iter().for_each(|record| log.append(record));
        log
    }

    pub(crate) fn append(&mut self, record: Record) {
        self.append_to(0, record);
    }

    pub(crate) fn append_to(&mut self, partition: i32, record: Record) {
        let last = self.0.iter().rev().find(|(position, _)| position.partition == partition);
        let offset = last.map_or(0, |(position, _)| position.offset + 1);
        self.0.push((Position { partition, offset }, record));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = (Position, &Record)> {
        self.0.iter().map(|(position, record)| (*position, record))
    }

    pub(crate) fn deliveries(&self) -> Vec<Record> {
        self.0.iter().map(|(_, record)| record.clone()).collect()
    }

    /// Returns the log after the cleaner has compacted it up to `end`: the last record below `end`, and the rest.
    pub(crate) fn cut(&self, end: usize) -> Self {
        Self(self.0[end.saturating_sub(1)..].to_vec())
    }

    pub(crate) fn fold(&self) -> Option<KeyState> {
        let (mut key, mut ends) = (None, Ends::default());
        for (position, record) in &self.0 {
            match (&mut key, record.read(*position)) {
                (None, Ok(reading)) => key = Some(KeyState::begin_after(std::mem::take(&mut ends), &reading).0),
                (None, Err(unread)) => ends.pass_over(*position, NOW, &unread),
                (Some(_), _) => drop(apply(&mut key, *position, record)),
            }
        }
        key
    }

    /// Returns the record that makes the key clean, built from the bytes at the positions in the state.
    pub(crate) fn repair(&self, key: &KeyState) -> Record {
        let Some(winner) = key.roll.winner() else {
            let marker = self.0.iter().find(|(position, _)| *position == key.roll.position());
            return marker.unwrap().1.clone();
        };
        let others = key.roll.members().iter().filter(|member| member.event_id != winner.event_id);
        let others: Vec<Vec<u8>> = others.map(|member| self.payload(member)).collect();
        let header = second::encode(others.iter().map(Vec::as_slice));
        Record { value: Some(self.payload(winner).into()), header: header.map(Rc::from) }
    }

    /// Returns the values of the events of the set, then that of the winner.
    pub(crate) fn contents(&self, key: &KeyState) -> Vec<Vec<u8>> {
        let members = key.roll.members().iter().chain(key.roll.winner());
        members.map(|member| self.payload(member)).collect()
    }

    /// Returns the value with this copy of an event, from the record at the position in the state.
    fn payload(&self, member: &Member) -> Vec<u8> {
        let (_, record) = self.0.iter().find(|(position, _)| *position == member.at).unwrap();
        record.read(member.at).unwrap().payload(member).expect("the copy is there").to_vec()
    }

    /// Returns the name of the user in the winning state.
    pub(crate) fn winner_state(&self, key: &KeyState) -> char {
        let winner = key.roll.winner().unwrap();
        let event = wire::decode(&self.payload(winner)).unwrap();
        event.new.name.unwrap().chars().next().unwrap()
    }
}
