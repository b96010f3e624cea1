//! The state of every user is copied to a topic with another number of partitions, while ingest writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::UnixMillis;
use domain::topics::{Names, Spec};
use kafka::ClientOptions;
use kafka::placement::partition_for;
use kafka::publish::{Outgoing, Publisher};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::broker::{publisher, read_all, record};
use testkit::deliveries::delivery;
use testkit::event::user_id;
use upkeep::Table;
use upkeep::copy::{Copied, copy};
use upkeep::forget::Log;

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::process::{Process, cluster_arguments};
use crate::support::system::{Ingest, Projector, event_of, now};

on_both_brokers!(every_state_is_copied_while_ingest_writes);

const PARTITIONS: i32 = 2;
const WIDER: i32 = 5;
const USERS: u64 = 40;
/// Users with more than one delivery can show: a tied second, a tombstone, records on two partitions, and a last record
/// that this build does not know.
const TIED: u64 = 101;
const FORGOTTEN: u64 = 102;
const ASTRAY: u64 = 103;
const UNKNOWN: u64 = 104;
/// All of them.
const KEYS: usize = 44;
/// How long Kafka may take to make a topic.
const ADMIN_MAX: Duration = Duration::from_secs(60);

async fn every_state_is_copied_while_ingest_writes(broker: &Broker) {
    let names = broker.make_topics(PARTITIONS).await;
    let (kafka, store) = (broker.client_options(), TempDir::new().expect("a folder can be made"));
    let ingest = Ingest::start(&kafka, &names, |_| {}).await;
    let projector = Projector::start(&kafka, &names, store.path(), |_| {}).await;
    ingest.ready().await;
    projector.ready().await;
    let publisher = publisher(&kafka);
    for user in 0..USERS {
        ingest.post(delivery(user, 0)).await;
    }
    append_the_unusual(&publisher, &names).await;
    let wider = format!("{}.wider", names.users);
    make_wider(broker, &kafka, &wider).await;

    let log = Log::new(kafka.clone(), names.clone());
    let copies = async || copy(&log, &wider, &publisher, now, |_, _| {}).await.expect("it is copied");
    let is_over = AtomicBool::new(false);
    let writing = async {
        let mut change = 1;
        while !is_over.load(Ordering::Relaxed) {
            for user in 0..USERS {
                assert_eq!(ingest.post(delivery(user, change)).await.status, 200);
            }
            change += 1;
        }
        change
    };
    let copying = async {
        let copied = copies().await;
        is_over.store(true, Ordering::Relaxed);
        copied
    };
    let (first, changes) = tokio::join!(copying, writing);
    assert!(first.appended > KEYS, "{first:?}");
    assert_eq!((first.users, first.forgotten, first.unknown), (KEYS, 1, 1), "{first:?}");
    ingest.stop().await.expect("ingest ends well");

    let (second, third) = (copies().await, copies().await);
    println!("{changes} changes of {USERS} users meanwhile: {first:?}, then {second:?}, then {third:?}");
    assert_eq!(third, Copied { appended: 0, ..second });
    assert_same_states(&kafka, &names.users, &wider).await;
    assert_same_answers(&kafka, &names, &wider, &projector).await;
    if matches!(broker, Broker::Kafka(..)) {
        by_command(&kafka, &names).await;
    }
    projector.stop().await.expect("the projector ends well");
}

async fn append_the_unusual(publisher: &Publisher, names: &Names) {
    let append = async |record: Outgoing| {
        publisher.publish(record).await.expect("it is stored");
    };
    let event = |body: String| Outgoing::event(&event_of(&body), &names.users, None);
    for states in [["C", "D"], ["A", "B"], ["B", "C"]] {
        let [old, new] = states.map(|name| json!({"userId": TIED, "name": name}));
        append(event(json!({"old": old, "new": new, "timestamp": "2024-03-01T10:00:00Z"}).to_string())).await;
    }
    append(event(delivery(FORGOTTEN, 0))).await;
    let at = UnixMillis::from_millis(1_720_000_000_000);
    append(Outgoing::forgotten(user_id(FORGOTTEN as i64), &names.users, at, at)).await;
    for (change, partition) in [(1, 0), (0, 1), (2, 0), (1, 1)] {
        append(Outgoing { partition: Some(partition), ..event(delivery(ASTRAY, change)) }).await;
    }
    append(event(delivery(UNKNOWN, 0))).await;
    append(record(&names.users, &UNKNOWN.to_string(), Some(b"{}".to_vec()), at)).await;
}

async fn make_wider(broker: &Broker, kafka: &ClientOptions, topic: &str) {
    match broker {
        Broker::Embedded(broker) => broker.create_topic(topic, WIDER).expect("the embedded broker makes a topic"),
        Broker::Kafka(..) => {
            let spec = Spec::users(topic, WIDER, 1);
            kafka::topics::create(kafka, &[spec], ADMIN_MAX).await.expect("Kafka makes the topic");
        }
    }
}

/// Compares the folds of both topics, and checks that the last record of each key alone yields its state.
async fn assert_same_states(kafka: &ClientOptions, from: &str, to: &str) {
    let (old, new) = (read_all(kafka, from).await, read_all(kafka, to).await);
    let fold = |records: &[kafka::Record]| {
        let mut table = Table::default();
        records.iter().for_each(|record| drop(table.take(record)));
        table
    };
    let (old_table, new_table) = (fold(&old), fold(&new));
    assert_eq!(old_table.keys(), new_table.keys());
    for user in (0..USERS).chain([TIED, FORGOTTEN, ASTRAY, UNKNOWN]) {
        let id = user_id(user as i64);
        let [was, is] = [&old_table, &new_table].map(|table| table.key(id).expect("the user is there"));
        assert!(was.roll.is_same(&is.roll), "user {user}: {was:?} {is:?}");
        assert_eq!((is.is_clean(), is.unknown_since().is_some()), (user != UNKNOWN, user == UNKNOWN), "user {user}");
        let of_user = |record: &&kafka::Record| record.key.as_deref() == Some(user.to_string().as_bytes());
        let placed = new.iter().filter(of_user).map(|record| record.position.partition);
        let home = partition_for(user.to_string().as_bytes(), WIDER);
        assert!(placed.into_iter().all(|partition| partition == home), "user {user}");
        assert!(new.iter().all(|record| record.header("rollcall-reasserted").is_none()));
    }
}

async fn assert_same_answers(kafka: &ClientOptions, names: &Names, wider: &str, projector: &Projector) {
    let empty = TempDir::new().expect("a folder can be made");
    let switched = Names { users: wider.to_owned(), ..names.clone() };
    let switched = Projector::start(kafka, &switched, empty.path(), |_| {}).await;
    switched.ready().await;
    for record in read_all(kafka, &names.users).await {
        let at = record.position;
        let reached = projector.http.get(&format!("/status?at_least={at}&wait_ms=30000")).await;
        assert_eq!(reached.status, 200, "{reached:?}");
    }
    for user in (0..USERS).chain([TIED, FORGOTTEN, ASTRAY, UNKNOWN]) {
        let path = format!("/users/{user}");
        let (was, is) = (projector.http.get(&path).await, switched.http.get(&path).await);
        assert_eq!(was.status, is.status, "user {user}");
        let (was, is) = (was.json(), is.json());
        assert_eq!(was["_meta"]["eventId"], is["_meta"]["eventId"], "user {user}");
        assert_eq!(user_alone(was), user_alone(is));
    }
    switched.stop().await.expect("the projector ends well");
}

/// The user without what depends on the log that was read.
fn user_alone(mut user: Value) -> Value {
    user.as_object_mut().expect("a user is an object").remove("_meta");
    user
}

/// The command makes the topic, says that a number is wrong, and appends nothing twice.
async fn by_command(kafka: &ClientOptions, names: &Names) {
    let to = format!("{}.again", names.users);
    let run = async |partitions: &str| {
        let wanted = ["topics", "copy", "--to", &to, "--replication", "1", "--partitions", partitions];
        let arguments: Vec<String> =
            wanted.iter().map(|text| (*text).to_owned()).chain(cluster_arguments(kafka, names)).collect();
        Process::start(&arguments).finished().await
    };
    for appended in [KEYS + 1, 0] {
        let copied = run("3").await;
        assert!(copied.status.success(), "{copied:?}");
        assert!(copied.stdout.contains(&format!("newer one: {appended} records appended by this run\n")), "{copied:?}");
    }
    assert_eq!(read_all(kafka, &to).await.len(), KEYS + 1, "one record a key, and the unknown one");
    let refused = run("4").await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("partitions is 3, expected 4; nothing was copied"), "{refused:?}");
}
