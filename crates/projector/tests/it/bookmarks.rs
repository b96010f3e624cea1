//! Readers that come back with an id of another log, or of a log that this replica has not read so far.

use domain::{Position, Positions};
use testkit::broker::{Log, log_of};
use testkit::event::{event, user};

use crate::events::{Event, Events, last_id, positions};
use crate::support::Service;

const fn at(offset: i64) -> Position {
    Position { partition: 0, offset }
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(|event| event.name.as_deref()).collect()
}

async fn create(kafka: &Log, users: std::ops::Range<i64>) {
    for id in users {
        kafka.event(&event(None, user(id, "a"), id)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_a_topic_that_was_created_again_starts_over() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    create(&kafka, 0..3).await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let id = last_id(&Events::open(&service, "/changes", None).await.until("caught-up").await);
    service.stop().await;

    // Another topic of the same name, which has grown past what the reader has read of the first.
    let anew = Log::start(1);
    create(&anew, 10..15).await;
    let service = Service::start(&anew, &store).await;
    service.ready().await;
    let mut events = Events::open(&service, "/changes", Some(&id)).await;
    let table = events.until("caught-up").await;
    assert_eq!(names(&table), ["started-over", "user", "user", "user", "user", "user", "caught-up"]);
    assert_eq!(positions(&table), [0, 1, 2, 3, 4].map(at));
    let mut again = Events::open(&service, "/changes", Some(&last_id(&table))).await;
    assert_eq!(names(&again.until("caught-up").await), ["caught-up"], "its own ids are believed");
    create(&anew, 15..16).await;
    assert_eq!(positions(&again.take(1).await), [at(5)]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_believed_as_far_as_the_log_goes_and_in_its_leader_epochs() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    create(&kafka, 0..3).await;
    let status = service.get("/status?at_least=0:2").await.json();
    let epoch = status["partitions"][0]["leaderEpoch"].as_i64().expect("the embedded broker tells its epochs");
    for (checkpoint, told) in [
        ("0:2".to_owned(), &["changed", "caught-up"][..]),
        ("0:3".to_owned(), &["caught-up"]),
        (format!("0:2@{epoch}"), &["changed", "caught-up"]),
        (format!("0:3@{epoch}"), &["caught-up"]),
        (format!("0:3@{}", epoch + 1), &["started-over", "user", "user", "user", "caught-up"]),
        ("0:4".to_owned(), &["started-over", "user", "user", "user", "caught-up"]),
        ("0:3,1:1".to_owned(), &["started-over", "user", "user", "user", "caught-up"]),
    ] {
        let id = id_of(&kafka, &checkpoint).await;
        let mut events = Events::open(&service, "/changes", Some(&id)).await;
        assert_eq!(names(&events.until("caught-up").await), told, "{checkpoint}");
    }
    for id in ["0:2", "0:2@5d41402a", "x"] {
        let mut events = Events::open(&service, "/changes", Some(id)).await;
        let told = events.until("caught-up").await;
        assert_eq!(names(&told)[0], "started-over", "{id}: a browser would not come back after an error");
    }
    service.stop().await;
}

/// Returns the id of a reader that has read so far.
async fn id_of(kafka: &Log, checkpoint: &str) -> String {
    let topic = log_of(&kafka.options(), &kafka.names.users).await.topic;
    Positions { topic, checkpoint: checkpoint.parse().unwrap() }.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_ahead_of_its_replica_does_not_start_over() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    create(&kafka, 0..3).await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let outside = rusqlite::Connection::open(store.path().join("users.db")).unwrap();
    outside.execute_batch("BEGIN IMMEDIATE").unwrap();
    create(&kafka, 3..5).await;
    let mut events = Events::open(&service, "/changes", Some(&id_of(&kafka, "0:5").await)).await;
    assert_eq!(names(&events.until("caught-up").await), ["caught-up"]);
    assert_eq!(service.get("/status").await.json()["partitions"][0]["nextOffset"], 3, "the replica is behind");
    outside.execute_batch("ROLLBACK").unwrap();
    create(&kafka, 5..6).await;
    assert_eq!(positions(&events.take(1).await), [at(5)]);
    service.stop().await;
}
