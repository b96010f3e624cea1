//! Every record is delivered once, ends are reported, outages are survived, and a lost position is an error.

use domain::wire::Framing;
use domain::{Checkpoint, Facts, Position, UnixMillis, User, UserEvent, UserId};
use kafka::Unavailable;
use kafka::publish::Outgoing;
use kafka::tail::{Error, Fetch, Limits, Tail};
use kafka::topics::watermarks;

use crate::broker::{PATIENCE, TOPIC, broker, outgoing, publish_all, publisher, read, read_to_end, texts};

#[tokio::test(flavor = "multi_thread")]
async fn from_the_beginning_to_the_end_and_on() {
    let broker = broker(3);
    let publisher = publisher(&broker);
    publish_all(&publisher, 0..30).await;
    let mut tail = Tail::open(&broker.client_options(), TOPIC, Checkpoint::default(), Limits::default()).await.unwrap();
    let (records, ends) = read_to_end(&mut tail, 3).await;
    let mut expected: Vec<String> = (0..30).map(|n| format!("k{n}=v{n}")).collect();
    expected.sort();
    assert_eq!(texts(&records), expected);

    let log = watermarks(&broker.client_options(), TOPIC, PATIENCE).await.unwrap();
    let high: Vec<(i32, i64)> = log.iter().map(|log| (log.partition, log.high)).collect();
    assert_eq!(ends, high);

    let position = publisher.publish(outgoing("new", "one")).await.unwrap();
    assert_eq!(read(&mut tail, 1).await[0].position, position);
    tail.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_topic_has_ends_too() {
    let broker = broker(2);
    let mut tail = Tail::open(&broker.client_options(), TOPIC, Checkpoint::default(), Limits::default()).await.unwrap();
    assert_eq!(read_to_end(&mut tail, 2).await, (vec![], vec![(0, 0), (1, 0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_checkpoint() {
    let broker = broker(2);
    let publisher = publisher(&broker);
    for partition in [0, 1] {
        for number in 0..5 {
            let record = kafka::publish::Outgoing {
                partition: Some(partition),
                ..outgoing("k", &format!("{partition}-{number}"))
            };
            publisher.publish(record).await.unwrap();
        }
    }
    let options = broker.client_options();
    let from: Checkpoint = "0:3,1:5".parse().unwrap();
    let mut tail = Tail::open(&options, TOPIC, from, Limits::default()).await.unwrap();
    let (records, ends) = read_to_end(&mut tail, 2).await;
    assert_eq!(texts(&records), ["k=0-3", "k=0-4"]);
    assert_eq!(ends, [(0, 5), (1, 5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_states_gets_the_headers_that_can_decide_about_one() {
    let broker = broker(1);
    let publisher = publisher(&broker);
    let event = UserEvent::new(Facts {
        old: None,
        new: User::new(UserId::MIN),
        timestamp: "2017-06-06T10:53:43Z".to_owned(),
        received_at: UnixMillis::from_millis(1_496_746_423_000),
        password_changed: false,
        extra: Default::default(),
        omitted: Vec::new(),
    })
    .unwrap();
    let (delivery, now) = (Outgoing::event(&event, TOPIC, None), UnixMillis::from_millis(1_496_746_424_000));
    let repair = Outgoing { timestamp: now, ..delivery.clone() };
    let of_a_registry = Outgoing::framed(&event, Framing::Registered(7), TOPIC, None);
    let tombstone = Outgoing::forgotten(UserId::MIN, TOPIC, now, now);
    let written = [delivery, repair, of_a_registry, tombstone];
    for record in &written {
        publisher.publish(record.clone()).await.unwrap();
    }
    let limits = Limits { fetch: Fetch::Collected, state_only: true, ..Limits::default() };
    let mut tail = Tail::open(&broker.client_options(), TOPIC, Checkpoint::default(), limits).await.unwrap();
    let (records, _) = read_to_end(&mut tail, 1).await;
    assert_eq!(records.len(), written.len());
    for (at, (record, written)) in records.iter().zip(&written).enumerate() {
        assert_eq!((&record.value, record.timestamp), (&written.value, written.timestamp), "{at}");
        assert_eq!(record.headers, if at == 0 { Vec::new() } else { written.headers.clone() }, "{at}");
    }
    tail.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_batches_lose_nothing() {
    let broker = broker(1);
    publish_all(&publisher(&broker), 0..25).await;
    let limits = Limits { records_per_batch: 2, events_waiting: 1, ..Limits::default() };
    let mut tail = Tail::open(&broker.client_options(), TOPIC, Checkpoint::default(), limits).await.unwrap();
    let (records, _) = read_to_end(&mut tail, 1).await;
    let offsets: Vec<i64> = records.iter().map(|record| record.position.offset).collect();
    assert_eq!(offsets, (0..25).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_survived_without_loss_or_repetition() {
    let broker = broker(1);
    let publisher = publisher(&broker);
    publish_all(&publisher, 0..3).await;
    let mut tail = Tail::open(&broker.client_options(), TOPIC, Checkpoint::default(), Limits::default()).await.unwrap();
    let before = read(&mut tail, 3).await;

    broker.go_down().unwrap();
    // The publisher's error shows that the connections are gone.
    publisher.flush(PATIENCE).await.unwrap();
    broker.come_back().unwrap();
    let sent = publish_all(&publisher, 3..6).await;
    let after = read(&mut tail, 3).await;

    let positions: Vec<Position> = before.iter().chain(&after).map(|record| record.position).collect();
    let expected: Vec<Position> = (0..6).map(|offset| Position { partition: 0, offset }).collect();
    assert_eq!(positions, expected);
    assert_eq!(sent, expected[3..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_outside_the_log_is_an_error() {
    let broker = broker(1);
    publish_all(&publisher(&broker), 0..3).await;
    let from: Checkpoint = "0:4".parse().unwrap();
    let error = Tail::open(&broker.client_options(), TOPIC, from, Limits::default()).await.unwrap_err();
    assert_eq!(error, Error::PositionOutsideLog { partition: 0, next_offset: 4, low: 0, high: 3 });
    assert!(!error.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_and_a_missing_broker_are_distinguished() {
    let broker = broker(1);
    let options = broker.client_options();
    let error = Tail::open(&options, "nowhere", Checkpoint::default(), Limits::default()).await.unwrap_err();
    assert_eq!(error, Error::Unavailable(Unavailable::Missing { topic: "nowhere".to_owned() }));

    broker.go_down().unwrap();
    let limits = Limits { open_deadline: std::time::Duration::from_millis(300), ..Limits::default() };
    let error = Tail::open(&options, TOPIC, Checkpoint::default(), limits).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_tail_says_so() {
    let broker = broker(1);
    let tail = Tail::open(&broker.client_options(), TOPIC, Checkpoint::default(), Limits::default()).await.unwrap();
    // Closing ends the thread even if its events are not taken.
    tokio::time::timeout(PATIENCE, tail.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_behind_is_not_believed() {
    let broker = broker(1);
    let publisher = publisher(&broker);
    publish_all(&publisher, 0..3).await;
    let mut tail = Tail::open(&broker.client_options(), TOPIC, Checkpoint::default(), Limits::default()).await.unwrap();
    read(&mut tail, 3).await;
    broker.deny_next_fetch();
    publish_all(&publisher, 3..5).await;
    let offsets: Vec<i64> = read(&mut tail, 2).await.iter().map(|record| record.position.offset).collect();
    assert_eq!(offsets, [3, 4]);
    tail.close().await;
}
