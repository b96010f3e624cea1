//! A table made anew equals one that lived through everything, however little memory there is for making it.

use std::time::Duration;

use domain::{UnixMillis, wire};
use kafka::scan;
use projector::rebuild::{Meter, Plan, make};
use projector::store::{StoreMeta, StoreReader, UserFilter};
use serde_json::Value;
use testkit::broker::{Log, record};
use testkit::event::{at, event, user, user_id};
use testkit::eventually;

use crate::support::{PATIENCE, Service, TOPIC, get, timeless};

/// Users change, are forgotten, come late, come twice, are missed; some records are none.
async fn live(kafka: &Log, users: i64) {
    for round in 0..3 {
        for id in 0..users {
            let old = (round > 0).then(|| user(id, &format!("round {}", round - 1)));
            let next = event(old, user(id, &format!("round {round}")), 1_000 * round + id);
            match (round, id % 10) {
                (1, 3) => {}
                (2, 7) => drop(kafka.forget(user_id(id), at(1_000 * round + id)).await),
                (2, 5) => {
                    kafka.event(&next).await;
                    kafka.event(&event(None, user(id, "late"), 1)).await;
                    kafka.event(&next).await;
                }
                _ => drop(kafka.event(&next).await),
            }
        }
    }
    let misplaced = wire::encode(&event(None, user(1, "x"), 1));
    kafka.append(record(TOPIC, "2", Some(misplaced), at(0))).await;
    kafka.append(record(TOPIC, &(users + 9).to_string(), Some(b"none".to_vec()), at(0))).await;
}

/// Everything that can be asked: the table, and what is told of the records that are not in it. A table that lived may
/// still be erasing those that were forgotten.
async fn everything(service: &Service) -> (Vec<Value>, Value) {
    let table = get(service.http, "/users", &[("accept", "application/x-ndjson")]).await;
    let table = table.body_text().lines().map(|line| timeless(serde_json::from_str(line).unwrap())).collect();
    let erased = async || {
        let status = service.get("/status").await.json();
        let is_erased = |partition: &Value| partition["erasedUpTo"] == partition["nextOffset"];
        status["partitions"].as_array().unwrap().iter().all(is_erased).then_some(status)
    };
    let mut status = eventually("nobody waits to be erased", PATIENCE, erased).await;
    for of_the_process in ["asOf", "cluster", "lateness", "recent"] {
        status.as_object_mut().unwrap().remove(of_the_process);
    }
    (table, status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_equals_a_life() {
    let (kafka, lived, made) = (Log::start(3), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &lived).await;
    service.ready().await;
    live(&kafka, 60).await;
    service.stop().await;
    let service = Service::start(&kafka, &lived).await;
    service.ready().await;
    let expected = everything(&service).await;
    assert!(
        expected.1["gaps"]["lost"].as_u64() > Some(0) && expected.1["unreadable"]["records"] == 2,
        "{}",
        expected.1
    );
    service.stop().await;

    let other = Service::start(&kafka, &made).await;
    other.ready().await;
    assert_eq!(everything(&other).await, expected);
    other.stop().await;
    let other = Service::start_with(&kafka, &lived, |raw| raw.store.rebuild = true).await;
    other.ready().await;
    assert_eq!(everything(&other).await, expected, "over a table that is there");
    let metrics = get(other.admin, "/metrics", &[]).await;
    assert!(metrics.body_text().contains("\nrollcall_projector_rebuild_progress 1.0\n"), "{}", metrics.body_text());
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_that_do_not_fit_the_memory_are_folded_in_several_readings() {
    const USERS: i64 = 4_000;
    let kafka = Log::start(3);
    let events: Vec<_> = (0..USERS).map(|id| event(None, user(id, "x"), id)).collect();
    futures_util::future::join_all(events.iter().map(|event| kafka.event(event))).await;
    kafka.append(record(TOPIC, &USERS.to_string(), Some(b"none".to_vec()), at(0))).await;
    let options = kafka.options();
    let dir = tempfile::tempdir().unwrap();
    let made = tokio::task::spawn_blocking(move || {
        let ranges = scan::ranges(&options, TOPIC, Duration::from_secs(10)).unwrap();
        let plan = |memory_bytes_max| Plan {
            kafka: options.clone(),
            topic: TOPIC.to_owned(),
            schemas: Default::default(),
            ranges: ranges.clone(),
            memory_bytes_max,
            threads: 2,
        };
        [usize::MAX, 1].map(|memory| {
            let (plan, path) = (plan(memory), dir.path().join(format!("{memory}.db")));
            let meta = StoreMeta::new(TOPIC, &testkit::event::log_id(), UnixMillis::from_millis(0));
            let meter = Meter::new(plan.offsets());
            let made = make(&plan, &path, &meta, &meter).unwrap().unwrap();
            let done = meter.progress();
            assert_eq!((done.records, done.offsets_done, done.offsets_total), (4_001, 4_001, 4_001), "of each reading");
            let reader = StoreReader::open(&path).unwrap();
            let users = reader.find(&UserFilter::default(), None, 10_000).unwrap().users;
            (made.passes, users, reader.unreadable(10).unwrap(), reader.meta().unwrap(), reader.checkpoint().unwrap())
        })
    });
    let [roomy, narrow] = tokio::time::timeout(PATIENCE, made).await.unwrap().unwrap();
    assert_eq!(roomy.0, 1);
    assert!(narrow.0 > 2, "{} readings", narrow.0);
    assert_eq!((roomy.1.len(), roomy.2.len()), (4_000, 1));
    assert_eq!((roomy.1, roomy.2, roomy.3, roomy.4), (narrow.1, narrow.2, narrow.3, narrow.4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_rebuild_counts_each_record_that_it_reads() {
    let kafka = Log::start(2);
    for id in 0..113 {
        kafka.event(&event(None, user(id, "x"), id)).await;
    }
    let (options, dir) = (kafka.options(), tempfile::tempdir().unwrap());
    let done = tokio::task::spawn_blocking(move || {
        let ranges = scan::ranges(&options, TOPIC, PATIENCE).unwrap();
        let (topic, schemas, memory_bytes_max) = (TOPIC.to_owned(), Default::default(), usize::MAX);
        let plan = Plan { kafka: options, topic, schemas, ranges, memory_bytes_max, threads: 2 };
        let meta = StoreMeta::new(TOPIC, &testkit::event::log_id(), UnixMillis::from_millis(0));
        let meter = Meter::new(plan.offsets());
        make(&plan, &dir.path().join("made.db"), &meta, &meter).unwrap().unwrap();
        meter.progress()
    });
    let done = done.await.unwrap();
    assert_eq!((done.records, done.users, done.offsets_done), (113, 113, 113));
}
