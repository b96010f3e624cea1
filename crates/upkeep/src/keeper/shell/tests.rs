//! The keeper against the embedded broker.

use std::time::Duration;

use domain::{Facts, UnixMillis, User, UserEvent, UserId};
use kafka::embedded::EmbeddedBroker;
use kafka::publish::Limits;

use super::*;

const TOPIC: &str = "users";
/// Long enough for a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const NOW: UnixMillis = UnixMillis::from_millis(1_700_000_000_000);

/// A keeper that runs, and what to see and stop it by.
struct Running {
    counters: Counters,
    shutdown: Shutdown,
    ended: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Starts a keeper that appends with these options.
    fn start(broker: &EmbeddedBroker, appends_with: &ClientOptions) -> Self {
        Self::with(broker, Publisher::open(appends_with, Limits::default()).unwrap())
    }

    fn with(broker: &EmbeddedBroker, publisher: Publisher) -> Self {
        let keeper = Keeper::new(broker.client_options(), TOPIC.to_owned(), publisher, || NOW, &Metrics::new());
        let (counters, shutdown) = (keeper.counters.clone(), Shutdown::new());
        let ended = tokio::spawn(run(keeper, shutdown.clone()));
        Self { counters, shutdown, ended }
    }

    async fn until(&self, what: &str, holds: impl Fn(&Counters) -> bool) {
        let held = async {
            while !holds(&self.counters) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("{what}: never"));
    }

    async fn stop(self) {
        self.shutdown.trigger();
        tokio::time::timeout(PATIENCE, self.ended).await.expect("the keeper stops").unwrap();
    }
}

/// An event of user `id` at that second, as long as its `name`.
fn event(id: i64, name: String, second: u32) -> UserEvent {
    UserEvent::new(Facts {
        old: None,
        new: User { name: Some(name), ..User::new(UserId::new(id).unwrap()) },
        timestamp: format!("2017-06-06T10:00:{second:02}Z"),
        received_at: NOW,
        password_changed: false,
        extra: Default::default(),
        omitted: Vec::new(),
    })
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_repair_is_tried_again_though_other_partitions_are_never_quiet() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 2)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    let on =
        |partition, event: &UserEvent| Outgoing { partition: Some(partition), ..Outgoing::event(event, TOPIC, None) };
    // The winner is longer than the keeper's client may send, and what makes the key dirty is not.
    sender.publish(on(0, &event(1, "x".repeat(4_000), 9))).await.unwrap();
    sender.publish(on(0, &event(1, "x".to_owned(), 1))).await.unwrap();
    let mut narrow = broker.client_options();
    narrow.properties.insert("message.max.bytes".to_owned(), "2000".to_owned());
    let keeper = Running::start(&broker, &narrow);

    let traffic = tokio::spawn(async move {
        for second in (0..60).cycle() {
            sender.publish(on(1, &event(2, "y".to_owned(), second))).await.unwrap();
            tokio::time::sleep(RETRY_AFTER / 10).await;
        }
    });
    keeper.until("another attempt", |counters| counters.failed.get() >= 2).await;
    assert_eq!(keeper.counters.dirty.get(), 1, "a key that could not be repaired stays dirty");
    traffic.abort();
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_record_is_appended_again_after_one_that_cannot_be_read() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    let winner = Outgoing::event(&event(1, "x".to_owned(), 1), TOPIC, None);
    sender.publish(winner.clone()).await.unwrap();
    sender.publish(Outgoing { value: Some(b"{}".to_vec()), ..winner }).await.unwrap();
    let keeper = Running::start(&broker, &broker.client_options());
    keeper.until("a repair", |counters| counters.repairs.get() == 1 && counters.dirty.get() == 0).await;
    assert_eq!(keeper.counters.unreadable.get(), 1);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_stops_in_the_middle_of_a_repair() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    for second in [9, 1] {
        sender.publish(Outgoing::event(&event(1, "x".to_owned(), second), TOPIC, None)).await.unwrap();
    }
    // Nothing that it appends is ever acknowledged.
    let nowhere = ClientOptions::new("127.0.0.1:1");
    let limits = Limits { deadline: PATIENCE * 10, ..Limits::default() };
    let publisher = Publisher::open(&nowhere, limits).unwrap();
    let keeper = Running::with(&broker, publisher.clone());
    keeper.until("a repair under way", |_| publisher.in_queue() == 1).await;
    keeper.stop().await;
}

#[test]
fn a_tombstone_keeps_its_place_in_the_order_when_it_is_appended_again() {
    const WRITTEN: UnixMillis = UnixMillis::from_millis(1_600_000_000_000);
    let dated = vec![(CE_TIME.to_owned(), b"2017-06-06T10:00:00Z".to_vec())];
    let misdated = vec![("x".to_owned(), b"y".to_vec()), (CE_TIME.to_owned(), b"then".to_vec())];
    for (headers, count) in [(dated, 2), (misdated, 3), (Vec::new(), 2)] {
        let tombstone = Record {
            position: domain::Position { partition: 0, offset: 7 },
            key: Some(b"1".to_vec()),
            value: None,
            headers,
            timestamp: WRITTEN,
        };
        let read = |value: &Option<Vec<u8>>, headers: &[(String, Vec<u8>)], timestamp| {
            let ce_time = headers.iter().rev().find(|(name, _)| name == CE_TIME).map(|(_, value)| value.as_slice());
            record::read(Some(b"1"), value.as_deref(), ce_time, timestamp).unwrap()
        };
        let before = read(&tombstone.value, &tombstone.headers, tombstone.timestamp);
        let again = reasserted(TOPIC, tombstone, NOW);
        assert_eq!(again.timestamp, NOW, "what the cleaner measures its lag on");
        assert_eq!(read(&again.value, &again.headers, again.timestamp), before, "{:?}", again.headers);
        assert_eq!(again.headers.len(), count, "{:?}", again.headers);
    }
}
