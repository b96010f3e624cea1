//! A position means stored; an error comes in time; an ended producer is replaced.

use std::time::Duration;

use domain::Checkpoint;
use kafka::placement::partition_for;
use kafka::publish::{Error, Limits, Publisher};
use kafka::tail::Tail;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::broker::{PATIENCE, TOPIC, broker, outgoing, publish_all, publisher, read};
use crate::proxy::Proxy;

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_found_where_publish_said() {
    let broker = broker(3);
    let publisher = publisher(&broker);
    let mut sent = outgoing("180", "body");
    sent.headers.push(("traceparent".to_owned(), b"00-1".to_vec()));
    let position = publisher.publish(sent.clone()).await.unwrap();

    let mut tail = Tail::open(&broker.client_options(), TOPIC, Checkpoint::default(), kafka::tail::Limits::default())
        .await
        .unwrap();
    let [record] = read(&mut tail, 1).await.try_into().unwrap();
    assert_eq!(record.position, position);
    assert_eq!(record.key, Some(sent.key));
    assert_eq!(record.value, sent.value);
    assert_eq!(record.headers, sent.headers);
    assert_eq!(record.timestamp, sent.timestamp);
    assert_eq!(record.header("ce_id"), Some(&b"id of body"[..]));
    assert_eq!(record.header("absent"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_has_no_value_and_an_empty_value_is_none() {
    let broker = broker(1);
    let publisher = publisher(&broker);
    for value in [None, Some(Vec::new())] {
        publisher.publish(kafka::publish::Outgoing { value, ..outgoing("180", "") }).await.unwrap();
    }
    let mut tail = Tail::open(&broker.client_options(), TOPIC, Checkpoint::default(), kafka::tail::Limits::default())
        .await
        .unwrap();
    let values: Vec<_> = read(&mut tail, 2).await.into_iter().map(|record| record.value).collect();
    assert_eq!(values, [None, Some(Vec::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_placed_as_partition_for_says() {
    const PARTITIONS: i32 = 7;
    let broker = broker(PARTITIONS);
    let publisher = publisher(&broker);
    for number in 0..200 {
        let key = format!("{}", number * number);
        let position = publisher.publish(outgoing(&key, "v")).await.unwrap();
        assert_eq!(position.partition, partition_for(key.as_bytes(), PARTITIONS), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_may_be_named() {
    let broker = broker(3);
    let publisher = publisher(&broker);
    for partition in [2, 0, 1] {
        let record = kafka::publish::Outgoing { partition: Some(partition), ..outgoing("180", "v") };
        assert_eq!(publisher.publish(record).await.unwrap().partition, partition);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_an_error_within_the_deadline_and_the_same_publisher_recovers() {
    let broker = broker(1);
    let deadline = Duration::from_secs(2);
    let limits = Limits { deadline, ..Limits::default() };
    let publisher = Publisher::open(&broker.client_options(), limits).unwrap();
    publisher.publish(outgoing("180", "before")).await.unwrap();

    broker.go_down().unwrap();
    let started = Instant::now();
    let error = publisher.publish(outgoing("180", "during")).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(matches!(error, Error::NotAcknowledged { .. }), "{error:?}");
    // The margin is for a busy machine. Without the deadline no answer would come at all.
    assert!(started.elapsed() < deadline + Duration::from_secs(5));

    broker.come_back().unwrap();
    let recovered = async { while publisher.publish(outgoing("180", "after")).await.is_err() {} };
    tokio::time::timeout(PATIENCE, recovered).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_an_error_at_once() {
    let broker = broker(1);
    let limits = Limits { queue_messages: 3, ..Limits::default() };
    let publisher = Publisher::open(&broker.client_options(), limits).unwrap();
    publisher.publish(outgoing("180", "known topic")).await.unwrap();
    // A record counts as waiting for a moment after its acknowledgement.
    publisher.flush(PATIENCE).await.unwrap();
    broker.go_down().unwrap();
    let started = Instant::now();
    let mut publishing = tokio::task::JoinSet::new();
    for number in 0..10 {
        let publisher = publisher.clone();
        publishing.spawn(async move { publisher.publish(outgoing("180", &number.to_string())).await });
    }
    // Three find room and wait. Scheduling decides which of the ten.
    for _ in 0..7 {
        let refused = tokio::time::timeout(PATIENCE, publishing.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(refused, Err(Error::QueueFull));
    }
    assert!(started.elapsed() < kafka::publish::DEADLINE);

    // The queued records are stored when the broker is back.
    broker.come_back().unwrap();
    while let Some(stored) = tokio::time::timeout(PATIENCE, publishing.join_next()).await.unwrap() {
        stored.unwrap().unwrap();
    }
    publisher.flush(PATIENCE).await.unwrap();
    assert_eq!(publisher.in_queue(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_record_is_refused_for_good() {
    let broker = broker(1);
    let mut options = broker.client_options();
    options.properties.insert("message.max.bytes".to_owned(), "2000".to_owned());
    let publisher = Publisher::open(&options, Limits::default()).unwrap();
    let error = publisher.publish(outgoing("180", &"x".repeat(3_000))).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(!error.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_producer_is_replaced() {
    let broker = broker(1);
    let publisher = publisher(&broker);
    publish_all(&publisher, 0..3).await;
    broker.fence_next_publish();
    let error = publisher.publish(outgoing("180", "fenced")).await.unwrap_err();
    assert!(matches!(error, Error::Fatal { .. }), "{error:?}");
    assert!(error.is_transient());

    publisher.publish(outgoing("180", "again")).await.unwrap();
    // A second failure, too soon after the first for another replacement, is also transient and passes.
    broker.fence_next_publish();
    publisher.publish(outgoing("180", "fenced")).await.unwrap_err();
    let recovered = async {
        while let Err(error) = publisher.publish(outgoing("180", "later")).await {
            assert!(error.is_transient(), "{error:?}");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, recovered).await.unwrap();
}

/// As after a pause of a broker, when a client of librdkafka stays without an answer to anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_hears_nothing_any_more_is_replaced_while_others_are_answered() {
    let (broker, proxy, mut tasks) = (broker(1), Proxy::bind().await, JoinSet::new());
    let address = broker.bootstrap();
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let advertised = |port: u16| [b"127.0.0.1".as_slice(), &u32::from(port).to_be_bytes()].concat();
    let mut options = broker.client_options();
    options.bootstrap = format!("127.0.0.1:{}", proxy.port);
    // It keeps the connection.
    options.properties.insert("socket.max.fails".to_owned(), "0".to_owned());
    let to_itself = advertised(proxy.port);
    let silence = proxy.run(&mut tasks, address.to_owned(), advertised(port), to_itself);
    let limits = Limits { deadline: Duration::from_secs(2), ..Limits::default() };
    let publisher = Publisher::open(&options, limits).unwrap();
    publisher.publish(outgoing("180", "before")).await.unwrap();
    silence.of_open_connections();
    let until_stored = async { while publisher.publish(outgoing("180", "after")).await.is_err() {} };
    tokio::time::timeout(PATIENCE, until_stored).await.expect("it is replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn flushing_waits_for_what_is_under_way_and_closing_refuses_the_rest() {
    let broker = broker(1);
    let publisher = publisher(&broker);
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publisher.publish(outgoing("180", &number.to_string())).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    publisher.flush(PATIENCE).await.unwrap();
    assert_eq!(publisher.in_queue(), 0);
    publisher.close(PATIENCE).await.unwrap();
    assert_eq!(publisher.publish(outgoing("180", "late")).await, Err(Error::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn flushing_during_an_outage_says_how_many_are_left() {
    let broker = broker(1);
    let publisher = publisher(&broker);
    publisher.publish(outgoing("180", "known topic")).await.unwrap();
    // A record counts as waiting for a moment after its acknowledgement.
    publisher.flush(PATIENCE).await.unwrap();
    broker.go_down().unwrap();
    let waiting = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish(outgoing("180", "during")).await }
    });
    while publisher.in_queue() == 0 {
        tokio::task::yield_now().await;
    }
    let error = publisher.close(Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error.waiting, 1);
    assert!(waiting.await.unwrap().unwrap_err().is_transient());
}
