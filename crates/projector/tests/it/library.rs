//! The projection as a library.

use std::sync::Arc;
use std::time::Duration;

use domain::{Checkpoint, Position, UserId};
use parking_lot::Mutex;
use projector::store::{Lookup, UserFilter};
use projector::{Ended, Item, Options, Projection};
use tempfile::TempDir;
use testkit::broker::Log;
use testkit::event::{event, user};

use crate::support::{PATIENCE, TOPIC};

fn options(kafka: &Log, store: &TempDir) -> Options {
    Options { kafka: kafka.options(), ..Options::new("", TOPIC, store.path()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_one_s_own() {
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    for id in 0..5 {
        kafka.event(&event(None, user(id, "a"), id)).await;
    }
    let table = Projection::open(options(&kafka, &store)).unwrap();
    table.ready().await.unwrap();
    let mut seen = Vec::new();
    table
        .iterate(|user| {
            seen.push(user.user_id.get());
            true
        })
        .await
        .unwrap();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    let position = kafka.event(&event(Some(user(3, "a")), user(3, "b"), 10)).await;
    table.wait_for(position, Duration::from_secs(20)).await.unwrap();
    let Lookup::Found(row) = table.get(UserId::new(3).unwrap()).unwrap() else { panic!("user 3 is there") };
    assert_eq!(row.position, position);
    let never = Position { partition: 0, offset: 1_000 };
    assert!(matches!(table.wait_for(never, Duration::from_millis(1)).await, Err(projector::Error::NotReached { .. })));
    assert!(Projection::open(options(&kafka, &store)).is_err(), "the folder has an owner");
    table.close().await.unwrap();
    assert!(table.get(UserId::new(3).unwrap()).is_err(), "a closed table does not answer");
    Projection::open(options(&kafka, &store)).unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_does_not_wait_for_long_reads() {
    const LONG_READS: usize = 20;
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    kafka.event(&event(None, user(7, "Ann"), 1)).await;
    let table = Projection::open(options(&kafka, &store)).unwrap();
    table.ready().await.unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let long = (0..LONG_READS).map(|_| {
        let (table, held, begun) = (table.clone(), Arc::clone(&held), begun.clone());
        tokio::spawn(async move {
            table
                .read(move |reader| {
                    begun.send(()).unwrap();
                    held.lock().recv().unwrap();
                    reader.checkpoint()
                })
                .await
        })
    });
    let long: Vec<_> = long.collect();
    // As many as run at once.
    for _ in 0..8 {
        begins.recv().await.unwrap();
    }
    let asked = |contains: Option<&str>| UserFilter {
        email: Some("user7@example.com".to_owned()),
        contains: contains.map(str::to_owned),
        ..UserFilter::default()
    };
    let found = tokio::time::timeout(PATIENCE, table.find(asked(None), None, 10)).await.unwrap().unwrap();
    assert_eq!(found.users.len(), 1);
    let search = tokio::spawn({
        let (table, filter) = (table.clone(), asked(Some("ANN")));
        async move { table.find(filter, None, 10).await }
    });
    assert!(!search.is_finished(), "a search is a long read");
    for _ in 0..LONG_READS {
        release.send(()).unwrap();
    }
    for read in long {
        read.await.unwrap().unwrap();
    }
    assert_eq!(search.await.unwrap().unwrap().users.len(), 1);
    table.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_cut_off_and_goes_on_from_its_checkpoint() {
    const CHANGES: i64 = 40;
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let table = Projection::open(Options { changes_waiting_max: 8, ..options(&kafka, &store) }).unwrap();
    table.ready().await.unwrap();
    let mut slow = table.subscribe(Checkpoint::default());
    assert!(matches!(slow.next().await, Ok(Item::CaughtUp)));
    let mut last = Position { partition: 0, offset: 0 };
    for id in 0..CHANGES {
        last = kafka.event(&event(None, user(id, "a"), id)).await;
    }
    table.wait_for(last, Duration::from_secs(20)).await.unwrap();
    // The last commit is announced after its position, so some changes may be given before too many wait.
    let mut told = Vec::new();
    let behind = loop {
        match slow.next().await {
            Ok(Item::Change(announced)) => told.push(announced.change.position.offset),
            Err(Ended::TooSlow(behind)) => break behind,
            other => panic!("{other:?}"),
        }
    };
    assert!(behind > 0, "as many as it was not told");
    let mut again = table.subscribe(slow.checkpoint().clone());
    while let Item::Change(announced) = again.next().await.unwrap() {
        told.push(announced.change.position.offset);
    }
    assert_eq!(told, (0..CHANGES).collect::<Vec<_>>());
    table.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_process_has_locked_at_start_is_waited_for() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    kafka.event(&event(None, user(3, "a"), 1)).await;
    let table = Projection::open(options(&kafka, &store)).unwrap();
    table.ready().await.unwrap();
    table.close().await.unwrap();
    let outside = rusqlite::Connection::open(store.path().join("users.db")).unwrap();
    outside.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE meta SET value = value").unwrap();

    let table = Projection::open(options(&kafka, &store)).unwrap();
    let mut phase = table.phase();
    let locked = phase.wait_for(|phase| phase.to_string().contains("locked"));
    let locked = tokio::time::timeout(PATIENCE, locked).await.unwrap().unwrap().clone();
    assert!(!locked.is_final(), "{locked}");
    drop(outside);
    tokio::time::timeout(PATIENCE, table.ready()).await.unwrap().unwrap();
    assert!(matches!(table.get(UserId::new(3).unwrap()).unwrap(), Lookup::Found(_)));
    table.close().await.unwrap();
}
