//! A table is answered from before its indexes are there.

use std::time::Duration;

use domain::{Checkpoint, UserId};
use testkit::broker::Log;
use testkit::event::{event, user, user_id};
use testkit::wait::{PATIENCE, eventually};

use super::hold;
use crate::store::{self, Lookup, UserFilter};
use crate::{Error, Item, Options, Phase, Projection};

const USERS: i64 = 20;

fn options(log: &Log, store: &tempfile::TempDir) -> Options {
    Options { kafka: log.options(), ..Options::new("", &log.names.users, store.path()) }
}

fn by_username(name: &str) -> UserFilter {
    UserFilter { username: Some(name.to_owned()), ..UserFilter::default() }
}

fn by_state() -> UserFilter {
    UserFilter { state: Some("active".to_owned()), ..UserFilter::default() }
}

/// Waits until so many indexes are missing of a table that follows the log.
async fn indexing(table: &Projection, missing: usize) {
    let mut phase = table.phase();
    let found = phase.wait_for(|phase| *phase == Phase::Indexing { missing } || phase.is_final());
    let found = tokio::time::timeout(PATIENCE, found).await.unwrap().unwrap().clone();
    assert_eq!(found, Phase::Indexing { missing });
}

async fn refusal(table: &Projection, filter: UserFilter) -> String {
    match table.find(filter, None, 10).await {
        Err(Error::Store(store::Error::Unindexed(unmade))) => unmade.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_indexes_answers_by_identifier_follows_the_log_and_goes_on_after_a_restart() {
    let (log, store) = (Log::start(2), tempfile::tempdir().unwrap());
    for id in 0..USERS {
        log.event(&event(None, user(id, "a"), 1)).await;
    }
    hold::at(store.path(), Some(0));
    let table = Projection::open(options(&log, &store)).unwrap();
    indexing(&table, 6).await;
    assert!(matches!(table.get(user_id(USERS - 1)).unwrap(), Lookup::Found(_)));
    assert_eq!(table.find(UserFilter::default(), None, 100).await.unwrap().users.len(), 20, "no index is needed");
    let said = "the index users_by_username is still to be made: 0 % of it is, and 0 of 6 indexes are";
    assert_eq!(refusal(&table, by_username("a")).await, said);
    let mut changes = table.subscribe(Checkpoint::default());
    while !matches!(changes.next().await.unwrap(), Item::CaughtUp) {}
    let last = log.event(&event(None, user(USERS, "b"), 2)).await;
    table.wait_for(last, PATIENCE).await.unwrap();
    assert!(matches!(changes.next().await.unwrap(), Item::Change(_)));

    hold::at(store.path(), Some(2));
    indexing(&table, 4).await;
    assert!(table.find(by_username("b"), None, 10).await.is_ok(), "its index is made");
    let said = "the index users_by_state is still to be made: 0 % of it is, and 2 of 6 indexes are";
    assert_eq!(refusal(&table, by_state()).await, said);
    assert!(tokio::time::timeout(Duration::ZERO, table.ready()).await.is_err());
    table.close().await.unwrap();

    let table = Projection::open(options(&log, &store)).unwrap();
    indexing(&table, 4).await;
    assert!(table.find(by_username("b"), None, 10).await.is_ok());
    hold::at(store.path(), None);
    tokio::time::timeout(PATIENCE, table.ready()).await.unwrap().unwrap();
    assert_eq!(table.find(by_state(), None, 100).await.unwrap().users.len(), 21);
    assert!(store.path().join("users.1.db").exists(), "it is the first table");
    table.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_made_while_the_cluster_is_away() {
    let (log, store) = (Log::start(1), tempfile::tempdir().unwrap());
    log.event(&event(None, user(1, "a"), 1)).await;
    hold::at(store.path(), Some(1));
    let table = Projection::open(options(&log, &store)).unwrap();
    indexing(&table, 5).await;
    table.close().await.unwrap();

    hold::at(store.path(), None);
    let away = Options { kafka: kafka::ClientOptions::new("127.0.0.1:1"), ..options(&log, &store) };
    let table = Projection::open(away).unwrap();
    let found = async || table.find(by_state(), None, 10).await.ok();
    eventually("the indexes are made", PATIENCE, found).await;
    assert!(matches!(*table.phase().borrow(), Phase::Stored { .. }));
    assert!(matches!(table.get(UserId::new(1).unwrap()).unwrap(), Lookup::Found(_)));
    table.close().await.unwrap();
}
