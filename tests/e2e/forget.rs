//! A user is forgotten: gone for those who ask, not brought back by what is older, and out of the late deliveries of
//! the log.

use domain::{Letter, Position, UnixMillis, UserId};
use hyper::{Method, StatusCode};
use ingest::dead_letter;
use ingest::transport::BodyPolicy;
use kafka::publish::{Limits, Outgoing, Publisher};
use serde_json::{Value, json};
use testkit::broker::read_all;
use testkit::deliveries::{CHANGED, CREATED};
use upkeep::forget::{Error, Log, Mention, forget};

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::system::{System, event_of};

on_both_brokers!(
    forgotten_is_gone_and_only_what_is_newer_brings_it_back,
    forgotten_is_gone_with_a_registry_and_the_state_topic,
    a_user_whose_events_are_ahead_of_the_clock_stays_forgotten,
    late_deliveries_of_others_stay
);

const PARTITIONS: i32 = 3;
/// After the vendor's samples, which are of 2017, and before what a test delivers as newer.
const AT: UnixMillis = UnixMillis::from_millis(1_600_000_000_000);
const NEWER: &str = "2021-01-01T00:00:00+00:00";

fn mentions(user_id: UserId) -> impl Fn(&Letter) -> Mention + Clone + Send + 'static {
    move |letter| dead_letter::mentions(letter, &BodyPolicy::default(), user_id)
}

async fn forgotten_is_gone_and_only_what_is_newer_brings_it_back(broker: &Broker) {
    check_forgotten_is_gone(broker, System::start(broker, PARTITIONS).await).await;
}

async fn forgotten_is_gone_with_a_registry_and_the_state_topic(broker: &Broker) {
    check_forgotten_is_gone(broker, System::start_with_registry_and_state_topic(broker, PARTITIONS).await).await;
}

async fn check_forgotten_is_gone(broker: &Broker, system: System) {
    let delivered = system.ingest.post(CREATED).await;
    assert_eq!(system.user_after(180, &delivered).await.status, StatusCode::OK);
    let (kafka, user_id) = (broker.client_options(), "180".parse::<UserId>().expect("an identifier"));
    let publisher = Publisher::open(&kafka, Limits::default()).expect("the options are usable");
    let log = Log { schemas: system.schemas().await, ..Log::new(kafka.clone(), system.names.clone()) };
    let forgotten = forget(&log, &publisher, mentions(user_id), user_id, Some(AT), AT).await;
    let tombstone = forgotten.expect("the user is forgotten").positions[0];
    assert_eq!(user_at(&system, tombstone).await, StatusCode::GONE);

    // Past the gate, which would keep what is older off the topic that the projector follows.
    let older = publisher.publish(Outgoing::event(&event_of(CHANGED), &system.names.users, None)).await;
    assert_eq!(user_at(&system, older.expect("it is stored")).await, StatusCode::GONE);

    let mut newer: Value = serde_json::from_str(CHANGED).expect("the sample is JSON");
    newer["timestamp"] = json!(NEWER);
    let newer = system.ingest.post(newer.to_string()).await;
    assert_eq!(system.user_after(180, &newer).await.status, StatusCode::OK);
    system.stop().await;
}

/// A tombstone that is older than the newest event would lose, and the keeper append the event again after it.
async fn a_user_whose_events_are_ahead_of_the_clock_stays_forgotten(broker: &Broker) {
    let system = System::start(broker, PARTITIONS).await;
    let mut ahead: Value = serde_json::from_str(CHANGED).expect("the sample is JSON");
    ahead["timestamp"] = json!(NEWER);
    let ahead = system.ingest.post(ahead.to_string()).await;
    assert_eq!(system.user_after(180, &ahead).await.status, StatusCode::OK);
    let (kafka, user_id) = (broker.client_options(), "180".parse::<UserId>().expect("an identifier"));
    let publisher = Publisher::open(&kafka, Limits::default()).expect("the options are usable");
    let forget = async |at| {
        forget(&Log::new(kafka.clone(), system.names.clone()), &publisher, mentions(user_id), user_id, at, AT).await
    };

    let refused = forget(Some(AT)).await.expect_err("the newest event is later");
    assert!(matches!(refused, Error::Outdated { at: AT, .. }), "{refused}");
    let ids = async || read_all(&kafka, &system.names.users).await;
    assert_eq!(ids().await.len(), 1, "nothing was appended");

    let forgotten = forget(None).await.expect("the user is forgotten");
    let newer = UnixMillis::parse_iso8601(NEWER).expect("a time");
    assert_eq!((forgotten.at, forgotten.newest), (newer, Some(newer)));
    assert_eq!(user_at(&system, forgotten.positions[0]).await, StatusCode::GONE);
    let records = ids().await;
    assert!(records.last().is_some_and(|last| last.value.is_none()), "{records:?}");
    system.stop().await;
}

async fn late_deliveries_of_others_stay(broker: &Broker) {
    let names = broker.make_topics(PARTITIONS).await;
    let kafka = broker.client_options();
    let publisher = Publisher::open(&kafka, Limits::default()).expect("the options are usable");
    // Beside each other, before and after; one partition has none of the user and is to be left as it is.
    for (user, partition) in [(1, 0), (180, 0), (2, 0), (180, 0), (3, 0), (4, 1), (180, 1), (5, 2)] {
        publisher.publish(late(&names.late, user, partition)).await.expect("it is stored");
    }
    let user_id = "180".parse().expect("an identifier");
    let forgotten =
        forget(&Log::new(kafka.clone(), names.clone()), &publisher, mentions(user_id), user_id, Some(AT), AT).await;
    let late = forgotten.expect("the user is forgotten").late;
    assert_eq!((late.records, late.newest), (3, Some(AT)));

    let mut left: Vec<(i32, String)> = Vec::new();
    for record in read_all(&kafka, &names.late).await {
        let key = String::from_utf8(record.key.expect("each has a key")).expect("a key is text");
        assert_eq!(record.value.as_deref(), Some(format!("of {key}").as_bytes()));
        assert_eq!((record.timestamp, record.headers), (AT, vec![("ce_id".to_owned(), key.clone().into_bytes())]));
        left.push((record.position.partition, key));
    }
    left.sort();
    let others = [(0, "1"), (0, "2"), (0, "3"), (1, "4"), (2, "5")].map(|(partition, key)| (partition, key.to_owned()));
    match broker {
        Broker::Kafka(..) => {
            assert_eq!((late.stay_because, late.others_kept), (None, 3));
            assert_eq!(left, others);
        }
        Broker::Embedded(_) => {
            assert!(late.stay_because.is_some(), "it cannot delete records, and says so");
            assert_eq!(left.len(), 8, "nothing was appended again: {left:?}");
        }
    }
}

fn late(topic: &str, user: u64, partition: i32) -> Outgoing {
    Outgoing {
        topic: topic.to_owned(),
        key: user.to_string().into_bytes(),
        value: Some(format!("of {user}").into_bytes()),
        headers: vec![("ce_id".to_owned(), user.to_string().into_bytes())],
        timestamp: AT,
        partition: Some(partition),
    }
}

async fn user_at(system: &System, position: Position) -> StatusCode {
    let path = format!("/users/180?at_least={position}&wait_ms=30000");
    system.projector.http.send(Method::GET, &path, "").await.expect("the projector answers").status
}
