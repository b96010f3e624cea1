//! Records written straight onto the topic: a table of many users, and changes at a pace.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use domain::topics::Names;
use domain::{EventId, EventType, UnixMillis, User, UserEvent, UserId, Version};
use kafka::publish::Outgoing;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::Outcome;
use crate::bodies::now;
use crate::broker::Broker;
use crate::load::Pace;
use crate::stream::Dues;

/// How long a cluster may take for the last records, and to say where its log ends.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// While the queue is full, the producer waits so long for acknowledgements.
const POLL: Duration = Duration::from_millis(50);
/// With them a topic is filled fastest.
const FILLING: [(&str, &str); 4] =
    [("linger.ms", "50"), ("batch.num.messages", "10000"), ("queue.buffering.max.messages", "200000"), ("acks", "all")];
/// With them a record is sent at once.
const AT_ONCE: [(&str, &str); 2] = [("linger.ms", "0"), ("acks", "all")];
/// The users are in so many groups, all of the same size. Of so many changes after each other, each is of another group
/// where the number of users is a multiple of it.
pub(crate) const GROUPS: u64 = 50;
/// Spreads neighbours: a prime.
const SCATTER: u64 = 2_654_435_761;

/// The changes of so many users, by number: the users in a scattered order, each time round with the next change of
/// each. The number is in a field of the user, where a reader of `/changes` finds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records {
    pub(crate) users: u64,
    /// Recent, or the cleaner would compact the topic while it is filled.
    began: UnixMillis,
}

impl Records {
    pub(crate) fn new(users: u64) -> Self {
        Self { users: users.max(1), began: now() }
    }

    /// Writes the records of these numbers and waits until all are acknowledged.
    ///
    /// # Errors
    /// If the topic does not have so many more records afterwards.
    pub(crate) async fn fill(self, broker: &Broker, names: &Names, numbers: Range<u64>) -> Outcome<()> {
        let before = count(broker, names).await?;
        let (producer, topic) = (producer(broker, &FILLING)?, names.users.clone());
        let wanted = before + (numbers.end - numbers.start);
        eprintln!("writing {} records", numbers.end - numbers.start);
        tokio::task::spawn_blocking(move || {
            for number in numbers {
                send(&producer, &Outgoing::event(&self.event(number), &topic, None))?;
            }
            Outcome::Ok(producer.flush(WAIT_MAX)?)
        })
        .await??;
        let found = count(broker, names).await?;
        if found != wanted { Err(format!("the topic has {found} records, not {wanted}").into()) } else { Ok(()) }
    }

    /// Writes records from `first` on at a pace, and notes when each was due.
    ///
    /// # Errors
    /// If a record cannot be sent.
    pub(crate) async fn at_pace(
        self,
        broker: &Broker,
        names: &Names,
        first: u64,
        pace: Pace,
        dues: Arc<Dues>,
    ) -> Outcome<()> {
        let (producer, topic) = (producer(broker, &AT_ONCE)?, names.users.clone());
        // Connected before the first is due.
        let (producer, mut due) = tokio::task::spawn_blocking(move || {
            producer.client().fetch_metadata(None, WAIT_MAX).map(|_| (producer, pace.start()))
        })
        .await??;
        tokio::task::spawn_blocking(move || {
            let mut number = first;
            while let Some(due_at) = due.blocking_recv() {
                dues.note(number, due_at);
                send(&producer, &Outgoing::event(&self.event(number), &topic, None))?;
                number += 1;
            }
            Outcome::Ok(producer.flush(WAIT_MAX)?)
        })
        .await?
    }

    /// Returns the group of the user of a number.
    pub(crate) fn group(&self, number: u64) -> u64 {
        self.user_of(number) % GROUPS
    }

    fn user_of(&self, number: u64) -> u64 {
        (number % self.users * SCATTER) % self.users
    }

    /// Returns the event of a number.
    pub(crate) fn event(&self, number: u64) -> UserEvent {
        let id = i64::try_from(self.user_of(number)).expect("fewer users than that");
        let round = i64::try_from(number / self.users).expect("fewer rounds than that");
        let user_id = UserId::new(id).expect("it is small");
        let version = |round: i64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&id.to_be_bytes());
            bytes[8..].copy_from_slice(&round.to_be_bytes());
            Version::from_bytes(bytes)
        };
        let occurred_at = UnixMillis::from_millis(self.began.millis() + round * 1_000);
        let parent = (round > 0).then(|| version(round - 1));
        let timestamp = occurred_at.to_string();
        let kind = if round > 0 { EventType::Changed } else { EventType::Created };
        UserEvent {
            user_id,
            kind,
            occurred_at,
            version: version(round),
            parent,
            event_id: EventId::derive(user_id, kind, &timestamp, version(round), parent),
            received_at: occurred_at,
            timestamp,
            password_changed: false,
            new: user(user_id, round, number),
            old: number.checked_sub(self.users).map(|former| user(user_id, round - 1, former)),
            extra: Default::default(),
            omitted: Vec::new(),
        }
    }
}

fn user(user_id: UserId, round: i64, number: u64) -> User {
    let id = user_id.get();
    let mut user = User::new(user_id);
    user.contact_phone = Some(format!("{number:012}"));
    user.email = Some(email(id));
    user.extension = Some((10_000 + id).to_string());
    user.hourly = Some(10 + round);
    user.is_agent = Some(id % 20 != 0);
    user.name = Some(format!("{} {id}", ["Rachel", "János", "Mária", "Peter"][usize::try_from(id % 4).unwrap_or(0)]));
    user.outbound_phone = Some(format!("+3612{id:06}"));
    user.priv_group = Some(id % GROUPS.cast_signed());
    user.redistribution = Some(round % 2);
    user.register_transport = Some("sip-tcp".to_owned());
    user.sample_rate = Some("global".to_owned());
    user.state = Some(if id % 10 == 9 { "inactive" } else { "active" }.to_owned());
    user.username = Some(format!("agent{id}"));
    user
}

/// Returns the address of a user.
pub(crate) fn email(id: impl std::fmt::Display) -> String {
    format!("agent{id}@callcenter.example")
}

/// Returns how many records the topic of users has.
async fn count(broker: &Broker, names: &Names) -> Outcome<u64> {
    let ranges = ranges(broker, names).await?;
    Ok(ranges.iter().map(|range| range.end.abs_diff(range.start)).sum())
}

/// Returns where the log begins and ends.
///
/// # Errors
/// If the cluster does not say.
pub(crate) async fn ranges(broker: &Broker, names: &Names) -> Outcome<Vec<kafka::scan::Range>> {
    let (options, topic) = (broker.options.clone(), names.users.clone());
    Ok(tokio::task::spawn_blocking(move || kafka::scan::ranges(&options, &topic, WAIT_MAX)).await??)
}

fn producer(broker: &Broker, settings: &[(&str, &str)]) -> Outcome<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.options.bootstrap).set("partitioner", "murmur2_random");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    Ok(config.create()?)
}

/// Queues a record, and waits while the queue is full.
fn send(producer: &BaseProducer, outgoing: &Outgoing) -> Outcome<()> {
    loop {
        let headers = outgoing
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let mut record = BaseRecord::to(&outgoing.topic).key(&outgoing.key).headers(headers);
        record.timestamp = Some(outgoing.timestamp.millis());
        record.payload = outgoing.value.as_ref();
        match producer.send(record) {
            Ok(()) => break,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => producer.poll(POLL),
            Err((error, _)) => return Err(error.into()),
        }
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_group_is_among_as_many_changes_after_each_other() {
        let records = Records::new(20 * GROUPS);
        for first in 0..1_100 {
            let groups: BTreeSet<u64> = (first..first + GROUPS).map(|number| records.group(number)).collect();
            assert_eq!(groups.len() as u64, GROUPS, "from {first}");
        }
    }

    #[test]
    fn each_round_has_every_user_once_with_a_change_of_the_state_before() {
        let records = Records::new(50);
        let events: Vec<UserEvent> = (0..100).map(|number| records.event(number)).collect();
        let users = |range: Range<usize>| events[range].iter().map(|event| event.user_id).collect::<BTreeSet<_>>();
        assert_eq!((users(0..50).len(), users(0..50)), (50, users(50..100)));
        for event in &events[50..] {
            let former = events[..50].iter().find(|former| former.user_id == event.user_id).unwrap();
            assert_eq!((event.parent, event.old.as_ref()), (Some(former.version), Some(&former.new)));
        }
    }
}
