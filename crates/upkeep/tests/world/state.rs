//! The state topic: a replica's writer of it, and what must hold there. Mirror, plan and corrections are the real code.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::headers::WINNER;
use domain::wire::{self, Flat};
use domain::{UnixMillis, UserId};
use kafka::placement::partition_for;
use kafka::publish::Outgoing;
use upkeep::keeper::{Action, Event, Plan};
use upkeep::state_topic::{Correction, Mirror};
use upkeep::{Retention, Table};

use crate::fault::Fault;
use crate::framing::translated;
use crate::log::{Compares, Cursor, Entry, Log};
use crate::projector::Projection;
use crate::property::{Property, Violation};
use crate::sender::user;
use crate::step::{Fate, StateStep};
use crate::world::{HOUR, Then, World};

pub(crate) const STATE_TOPIC: &str = "vcc.users.state";
const FLAT: Flat = Flat::Json;

/// The writer of the state topic in one replica, as far as it has read.
#[derive(Debug)]
pub(crate) struct Scribe {
    fault: Option<Fault>,
    mirror: Mirror,
    plan: Plan,
    partitions: i32,
    cursor: Cursor,
    owned: BTreeSet<i32>,
    /// The partitions of the topic of users that have been read to their end, and those of the state topic.
    users_ended: BTreeSet<i32>,
    ended: BTreeSet<i32>,
    /// Every key has been compared once, after both topics were read to their ends.
    is_compared: bool,
    /// Corrections that it has decided on. They may be outdated by then.
    decided: Vec<Correction>,
}

impl Scribe {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        let retention = match fault {
            Some(Fault::StateNotRenewed) => Retention { delete_ms: i64::MAX, compaction_lag_ms: i64::MAX },
            _ => Retention::default(),
        };
        Self {
            fault,
            mirror: Mirror::new(FLAT),
            plan: Plan::new(1, retention),
            partitions: 1,
            cursor: Cursor::default(),
            owned: BTreeSet::new(),
            users_ended: BTreeSet::new(),
            ended: BTreeSet::new(),
            is_compared: false,
            decided: Vec::new(),
        }
    }

    /// A change of the replica's assignment.
    pub(crate) fn assigned(&mut self, event: &Event) {
        match event {
            Event::Assigned(partitions) => self.owned.extend(partitions),
            Event::Revoked(partitions) => self.owned.retain(|partition| !partitions.contains(partition)),
            _ => self.owned.clear(),
        }
        self.plan.on(event, Duration::ZERO);
    }

    pub(crate) fn widened(&mut self, partitions: i32, now: Duration) {
        self.partitions = partitions;
        self.is_compared = false;
        self.plan.on(&Event::Widened { partitions }, now);
    }

    /// A record was read on the topic of users.
    pub(crate) fn user_read(&mut self, entry: &Entry, table: &Table, home: i32, now: Duration) {
        let partition = entry.record.position.partition;
        self.users_ended.remove(&partition);
        self.plan.on(&Event::Read { partition }, now);
        if self.is_compared {
            self.plan.on(&self.mirror.event(entry.user, table.key(entry.user), home), now);
        }
    }

    pub(crate) fn users_ended(&mut self, partition: i32, now: Duration) {
        self.users_ended.insert(partition);
        if self.ended.contains(&partition) {
            self.plan.on(&Event::EndReached { partition }, now);
        }
    }

    /// Reads on in the state topic, at most so many records of each partition. Compares every key once, when both
    /// topics have been read.
    pub(crate) fn read(&mut self, state: &Log, records: usize, table: &Table, is_users_read: bool, now: Duration) {
        if self.cursor.connect(state, Compares::with(None)).is_err() {
            self.open_again(state, now);
        }
        for partition in 0..state.count() {
            for entry in self.cursor.read(state, partition, records) {
                self.ended.remove(&partition);
                self.plan.on(&Event::Read { partition }, now);
                let user_id = Some(&entry.record).filter(|_| self.fault != Some(Fault::StateUnread));
                let user_id = user_id.and_then(|record| self.mirror.take(record)).filter(|_| self.is_compared);
                if let Some(user_id) = user_id {
                    self.plan.on(&self.mirror.event(user_id, table.key(user_id), state.home(user_id)), now);
                }
            }
            if self.cursor.is_at_end(state, partition) {
                self.ended.insert(partition);
                if self.users_ended.contains(&partition) {
                    self.plan.on(&Event::EndReached { partition }, now);
                }
            }
        }
        if !self.is_compared && is_users_read && i32::try_from(self.ended.len()) == Ok(state.count()) {
            let users: BTreeSet<UserId> = table.user_ids().chain(self.mirror.user_ids()).collect();
            for user_id in users {
                self.plan.on(&self.mirror.event(user_id, table.key(user_id), state.home(user_id)), now);
            }
            self.is_compared = true;
            self.plan.begin();
        }
    }

    /// The state topic is not the one that was read.
    fn open_again(&mut self, state: &Log, now: Duration) {
        let users_ended = std::mem::take(&mut self.users_ended);
        let owned = std::mem::take(&mut self.owned);
        *self = Self { users_ended, ..Self::new(self.fault) };
        self.assigned(&Event::Assigned(owned.into_iter().collect()));
        self.widened(state.count(), now);
        self.cursor.connect(state, Compares::with(None)).expect("it has read nothing");
    }

    /// Decides on corrections.
    pub(crate) fn decide(&mut self, table: &Table, now: Duration, wall: UnixMillis) {
        while self.is_compared
            && let Action::Repair(keys) = self.plan.next(now, wall)
        {
            let home = |user: UserId| partition_for(user.to_string().as_bytes(), self.partitions);
            let needed = |user_id| self.mirror.needed(user_id, table.key(user_id), home(user_id));
            self.decided.extend(keys.into_iter().map(needed));
        }
    }

    /// Returns the records that the decided corrections append.
    pub(crate) fn corrections(&mut self, log: &Log, state: &Log, now: Duration, wall: UnixMillis) -> Vec<Outgoing> {
        let mut appended = Vec::new();
        for correction in std::mem::take(&mut self.decided) {
            let record = |at| log.at(at).map(|entry| (at, translated(entry.on_log(self.fault).clone())));
            let fetched = correction.source().and_then(record).into_iter().collect();
            match correction.records(&fetched, FLAT, STATE_TOPIC, wall) {
                Some(records) => appended.extend(records),
                None => self.plan.on(&Event::Lost { user_id: correction.user_id }, now),
            }
        }
        appended.retain(|record| match self.fault {
            Some(Fault::StateWithoutTombstones) => record.value.is_some(),
            Some(Fault::StateAtHome) => record.partition.is_none_or(|own| own == partition(record, state)),
            Some(Fault::StateForgetsCopies) => !is_of_last_event(record, state),
            _ => true,
        });
        appended
    }
}

/// Returns the partition that the record's key has.
fn partition(record: &Outgoing, state: &Log) -> i32 {
    state.home(UserId::from_key(&record.key).unwrap())
}

/// Returns whether the last record of the key has the event of this one, whichever copy.
fn is_of_last_event(record: &Outgoing, state: &Log) -> bool {
    let event = |headers: &[(String, Vec<u8>)]| {
        let (_, name) = headers.iter().find(|(name, _)| name == WINNER)?;
        name.split(|byte| *byte == b'/').next().map(<[u8]>::to_vec)
    };
    let last = last_of(state, UserId::from_key(&record.key).unwrap(), partition(record, state));
    let last = last.and_then(|last| event(&last.record.headers));
    last.is_some() && last == event(&record.headers)
}

fn last_of(state: &Log, user: UserId, partition: i32) -> Option<&Entry> {
    state.compacted().filter(|entry| (entry.user, entry.record.position.partition) == (user, partition)).last()
}

impl World {
    pub(crate) fn act_on_state(&mut self, step: StateStep) -> Result<(), Violation> {
        match step {
            StateStep::Read { replica, records } => self.read_state(usize::from(replica % 2), usize::from(records)),
            StateStep::Correct { replica, fate } => return self.correct(usize::from(replica % 2), fate),
            StateStep::Keep { replica } => {
                let replica = usize::from(replica % 2);
                self.read(replica, usize::MAX / 2);
                self.read_state(replica, usize::MAX / 2);
                self.decide(replica);
                return self.correct(replica, Fate::Stored);
            }
            StateStep::Truncate { partition, records } => {
                self.state.truncate(self.partition(partition), usize::from(records), self.now - HOUR);
            }
            StateStep::Replace => self.state.replace(),
            StateStep::Scribble { user: number, has_value } => {
                let key = user(number % 2).to_string().into_bytes();
                let value = has_value.then(|| b"{}".to_vec());
                let timestamp = UnixMillis::from_millis(self.now);
                let topic = STATE_TOPIC.to_owned();
                let partition = Some(self.partition(number / 2));
                self.state.append(Outgoing { topic, key, value, headers: Vec::new(), timestamp, partition }, None);
            }
        }
        Ok(())
    }

    pub(crate) fn read_state(&mut self, replica: usize, records: usize) {
        let now = self.since_start();
        self.replicas[replica].read_state(&self.state, records, now);
    }

    /// Appends the corrections that were decided on.
    pub(crate) fn correct(&mut self, replica: usize, fate: Fate) -> Result<(), Violation> {
        let (now, wall) = (self.since_start(), UnixMillis::from_millis(self.clock(replica)));
        for record in self.replicas[replica].corrections(&self.log, &self.state, now, wall) {
            self.submit(record, Then::Nothing, fate)?;
        }
        Ok(())
    }

    /// The last record of the key on the state topic is what the rebuilt table says, and its other partitions have no
    /// value.
    pub(crate) fn check_state(&self, user: UserId, rebuilt: &Projection) -> Result<(), Violation> {
        let expected = rebuilt.state(user).and_then(|state| state.winner()).map(|winner| {
            let reading = self.log.at(winner.at).map(|entry| entry.seen(self.fault).read().unwrap());
            let reading = reading.expect("the record that a table was built from is on the log");
            FLAT.encode(&wire::decode_current(reading.payload(winner).unwrap()).unwrap())
        });
        for partition in 0..self.state.count() {
            let last = last_of(&self.state, user, partition).and_then(|last| last.record.value.clone());
            let expected = expected.as_ref().filter(|_| partition == self.state.home(user));
            if last.as_ref() != expected {
                let text = |value: Option<&Vec<u8>>| value.map(|value| String::from_utf8_lossy(value).into_owned());
                let (last, expected) = (text(last.as_ref()), text(expected));
                let detail = format!("user {user}, partition {partition}: {last:?}, and the state is {expected:?}");
                return Err(Violation::new(Property::Flat, detail));
            }
        }
        Ok(())
    }

    /// Returns whether the state topic has a value of the user, in any record that the cleaner has left.
    pub(crate) fn has_state_left(&self, user: UserId) -> bool {
        self.state.compacted().any(|entry| entry.user == user && entry.record.value.is_some())
    }
}
