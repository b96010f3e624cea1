//! The embedded broker with the topics, a publisher on it, and a topic read to its end.

use std::ops::ControlFlow;

use domain::topics::Names;
use domain::wire::Framing;
use domain::{LogId, Position, UnixMillis, UserEvent, UserId};
use kafka::embedded::EmbeddedBroker;
use kafka::publish::{Limits, Outgoing, Publisher};
use kafka::{ClientOptions, Record};

use crate::wait::PATIENCE;

/// An embedded broker with the topics under their default names, and a publisher to it.
#[derive(Debug)]
pub struct Log {
    pub broker: EmbeddedBroker,
    pub names: Names,
    pub publisher: Publisher,
}

impl Log {
    /// Starts a broker whose topic of users has `partitions` partitions. The other topics have one.
    pub fn start(partitions: i32) -> Self {
        let broker = start(partitions);
        let publisher = publisher(&broker.client_options());
        Self { broker, names: Names::default(), publisher }
    }

    /// Returns options for a client of the broker.
    pub fn options(&self) -> ClientOptions {
        self.broker.client_options()
    }

    /// Publishes an event on the topic of users.
    pub async fn event(&self, event: &UserEvent) -> Position {
        self.framed(event, Framing::SingleObject).await
    }

    /// Publishes an event on the topic of users, in this framing.
    pub async fn framed(&self, event: &UserEvent, framing: Framing) -> Position {
        self.append(Outgoing::framed(event, framing, &self.names.users, None)).await
    }

    /// Publishes an event on the topic of late deliveries.
    pub async fn late(&self, event: &UserEvent) -> Position {
        self.append(Outgoing::event(event, &self.names.late, None)).await
    }

    /// Publishes a tombstone that forgets a user as of `at`, with `at` as its time.
    pub async fn forget(&self, user_id: UserId, at: UnixMillis) -> Position {
        self.append(Outgoing::forgotten(user_id, &self.names.users, at, at)).await
    }

    /// Publishes any record.
    pub async fn append(&self, record: Outgoing) -> Position {
        self.publisher.publish(record).await.unwrap()
    }

    /// Returns the text that names a record of the topic of users outside a process.
    pub async fn named(&self, position: Position) -> String {
        log_of(&self.options(), &self.names.users).await.topic.at(position).to_string()
    }

    /// Returns the records of a topic.
    pub async fn records(&self, topic: &str) -> Vec<Record> {
        read_all(&self.options(), topic).await
    }
}

/// Starts a broker whose topic of users has `partitions` partitions. The other topics have one.
pub fn start(partitions: i32) -> EmbeddedBroker {
    let names = Names::default();
    EmbeddedBroker::start(&[(&names.users, partitions), (&names.late, 1), (&names.dead_letter, 1)]).unwrap()
}

/// Returns the log that a topic's name stands for.
pub async fn log_of(options: &ClientOptions, topic: &str) -> LogId {
    kafka::topics::describe(options, topic, PATIENCE).await.unwrap().log
}

/// Returns a publisher with default limits.
pub fn publisher(options: &ClientOptions) -> Publisher {
    Publisher::open(options, Limits::default()).unwrap()
}

/// Returns the record with this key, value and timestamp, without headers.
pub fn record(topic: &str, key: &str, value: Option<Vec<u8>>, timestamp: UnixMillis) -> Outgoing {
    let (topic, key) = (topic.to_owned(), key.as_bytes().to_vec());
    Outgoing { topic, key, value, headers: Vec::new(), timestamp, partition: None }
}

/// Reads a topic from its beginning to its current end. Records of one partition are in the order of their offsets.
pub async fn read_all(options: &ClientOptions, topic: &str) -> Vec<Record> {
    let (options, topic) = (options.clone(), topic.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let ranges = kafka::scan::ranges(&options, &topic, PATIENCE).unwrap();
        let mut records = Vec::new();
        kafka::scan::scan(&options, &topic, &ranges, PATIENCE, |record| {
            records.push(record.to_record());
            ControlFlow::Continue(())
        })
        .unwrap();
        records
    });
    read.await.unwrap()
}
