//! Subscriptions over HTTP: no gap and no repeat, whatever is restarted or moved to in between.

use std::collections::BTreeMap;

use domain::{Position, User};
use projector::Raw;
use testkit::broker::Log;
use testkit::event::{at, event, user, user_id};

use crate::events::{Events, last_id, positions};
use crate::support::{PATIENCE, Service, get};

/// Publishes one more change of each of the users.
async fn change_all(kafka: &Log, users: i64, round: i64) -> Vec<Position> {
    let mut published = Vec::new();
    for id in 0..users {
        let old = (round > 0).then(|| user(id, &format!("round {}", round - 1)));
        published.push(kafka.event(&event(old, user(id, &format!("round {round}")), round * 100 + id)).await);
    }
    published
}

#[tokio::test(flavor = "multi_thread")]
async fn first_the_table_then_caught_up_then_every_change() {
    let (kafka, store) = (Log::start(3), tempfile::tempdir().unwrap());
    change_all(&kafka, 5, 0).await;
    let newest = change_all(&kafka, 5, 1).await;
    kafka.forget(user_id(4), at(150)).await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;

    let mut events = Events::open(&service, "/changes", None).await;
    let table = events.until("caught-up").await;
    let names: Vec<_> = table.iter().filter_map(|event| event.name.as_deref()).collect();
    assert_eq!(names.iter().filter(|name| **name == "user").count(), 4);
    assert_eq!(names.iter().filter(|name| **name == "forgotten").count(), 1);
    let mut told = positions(&table);
    told.sort();
    assert!(newest[..4].iter().all(|position| told.contains(position)));

    let published = change_all(&kafka, 4, 2).await;
    let changes = events.take(4).await;
    assert!(changes.iter().all(|event| event.name.as_deref() == Some("changed")));
    let mut told = positions(&changes);
    told.sort();
    let mut expected = published;
    expected.sort();
    assert_eq!(told, expected);
    service.stop().await;
    assert_eq!(events.next().await.and_then(|event| event.name).as_deref(), Some("cut-off"));
    assert!(events.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_back_misses_nothing_and_hears_nothing_twice() {
    let (kafka, store, other_store) = (Log::start(3), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut service, replica) = (Service::start(&kafka, &store).await, Service::start(&kafka, &other_store).await);
    service.ready().await;
    replica.ready().await;
    let mut events = Events::open(&service, "/changes", None).await;
    let mut id = last_id(&events.until("caught-up").await);
    let (mut published, mut told, mut rounds) = (Vec::new(), Vec::new(), 0);
    for step in 0..6 {
        // While the reader is away, each user changes twice.
        drop(events);
        for _ in 0..2 {
            published.extend(change_all(&kafka, 4, rounds).await);
            rounds += 1;
        }
        if step % 3 == 1 {
            service.stop().await;
            service = Service::start(&kafka, &store).await;
            service.ready().await;
        }
        let at = if step % 2 == 0 { &service } else { &replica };
        let reached = published.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        assert_eq!(at.get(&format!("/status?at_least={reached}")).await.status, 200);
        events = Events::open(at, "/changes", Some(&id)).await;
        let missed = events.until("caught-up").await;
        told.extend(positions(&missed));
        // And while it listens, once; it takes a part and goes away.
        published.extend(change_all(&kafka, 4, rounds).await);
        rounds += 1;
        let heard = events.take(3).await;
        told.extend(positions(&heard));
        id = last_id(&heard);
    }
    let at = events.take(1).await;
    told.extend(positions(&at));
    let mut counts = BTreeMap::new();
    for position in told {
        *counts.entry(position).or_insert(0) += 1;
    }
    let expected: BTreeMap<Position, i32> = published.into_iter().map(|position| (position, 1)).collect();
    assert_eq!(counts, expected);
    service.stop().await;
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_older_than_the_history_is_told_each_user_s_newest_state() {
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    change_all(&kafka, 6, 0).await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let mut events = Events::open(&service, "/changes", None).await;
    let id = last_id(&events.until("caught-up").await);
    service.stop().await;
    let newest = [change_all(&kafka, 3, 1).await, change_all(&kafka, 3, 2).await];
    // A table made anew knows nothing of the changes on the way to it.
    let service = Service::start_with(&kafka, &store, |raw| raw.store.rebuild = true).await;
    service.ready().await;
    let mut events = Events::open(&service, "/changes", Some(&id)).await;
    let missed = events.until("caught-up").await;
    let mut told = positions(&missed);
    told.sort();
    let mut expected = newest[1].clone();
    expected.sort();
    assert_eq!(told, expected, "three users changed, and three did not");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_lets_through_who_comes_stays_and_leaves() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let mut inactive = Events::open(&service, "/changes?state=inactive", None).await;
    let mut two = Events::open(&service, "/changes?userId=1,2", None).await;
    inactive.until("caught-up").await;
    two.until("caught-up").await;
    let (mut away, back) = (user(1, "a"), user(1, "b"));
    away.state = Some("inactive".to_owned());
    kafka.event(&event(None, user(1, "a"), 1)).await;
    let left = kafka.event(&event(Some(user(1, "a")), away.clone(), 2)).await;
    let came_back = kafka.event(&event(Some(away), back, 3)).await;
    let other = kafka.event(&event(None, user(3, "c"), 4)).await;
    let forgotten = kafka.forget(user_id(3), at(5)).await;
    let last = kafka.event(&event(None, user(2, "d"), 6)).await;
    assert_eq!(positions(&inactive.take(3).await), [left, came_back, forgotten]);
    let heard = positions(&two.take(4).await);
    assert!(heard.contains(&last) && !heard.contains(&other));
    assert_eq!(service.get("/changes?isAgent=maybe").await.status, 400);
    service.stop().await;
}

/// A user in a state.
fn in_state(id: i64, name: &str, state: &str) -> User {
    let mut user = user(id, name);
    user.state = Some(state.to_owned());
    user
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_a_set_is_told_though_the_delivery_that_said_so_was_lost() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    kafka.event(&event(None, user(1, "a"), 1)).await;
    kafka.event(&event(None, user(2, "a"), 1)).await;
    let at = kafka.event(&event(None, in_state(3, "a", "inactive"), 1)).await;
    assert_eq!(service.get(&format!("/status?at_least={at}")).await.status, 200);
    let mut active = Events::open(&service, "/changes?state=active", None).await;
    let id = last_id(&active.until("caught-up").await);

    // What made the first inactive never came: the next change says that it was inactive before.
    let left = kafka.event(&event(Some(in_state(1, "b", "inactive")), in_state(1, "c", "inactive"), 10)).await;
    kafka.event(&event(Some(in_state(1, "c", "inactive")), in_state(1, "d", "inactive"), 11)).await;
    kafka.event(&event(Some(user(3, "b")), in_state(3, "c", "inactive"), 12)).await;
    let last = kafka.event(&event(Some(user(2, "a")), user(2, "b"), 13)).await;
    assert_eq!(positions(&active.take(2).await), [left, last], "live, and of a stranger to the set nothing");
    let mut again = Events::open(&service, "/changes?state=active", Some(&id)).await;
    assert_eq!(positions(&again.until("caught-up").await), [left, last], "from the history");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_whole_and_no_larger_after_coming_back_from_before_the_history() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    for id in 1..=3 {
        kafka.event(&event(None, user(id, "a"), id)).await;
    }
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let mut active = Events::open(&service, "/changes?state=active", None).await;
    let had = active.until("caught-up").await;
    assert_eq!(positions(&had).len(), 3);
    service.stop().await;
    // Of the two changes the table made anew tells the second alone, which leads from inactive to inactive.
    kafka.event(&event(Some(user(1, "a")), in_state(1, "b", "inactive"), 10)).await;
    let left = kafka.event(&event(Some(in_state(1, "b", "inactive")), in_state(1, "c", "inactive"), 11)).await;
    let gone = kafka.event(&event(Some(user(2, "a")), in_state(2, "b", "inactive"), 12)).await;
    let service = Service::start_with(&kafka, &store, |raw| raw.store.rebuild = true).await;
    service.ready().await;
    let mut again = Events::open(&service, "/changes?state=active", Some(&last_id(&had))).await;
    assert_eq!(positions(&again.until("caught-up").await), [left, gone], "who may have to be given up");
    let mut fresh = Events::open(&service, "/changes?state=active", None).await;
    let table = fresh.until("caught-up").await;
    assert_eq!(positions(&table), [Position { partition: 0, offset: 2 }], "who is there, and nobody else");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_hear_every_change_beside_one_that_does_not_read() {
    const READERS: usize = 1_000;
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    change_all(&kafka, 3, 0).await;
    let places = |raw: &mut Raw| {
        raw.http.connections_max = 2 * READERS;
        raw.changes.subscribers_max = READERS + 1;
        raw.http.preferred_sources = vec!["127.0.0.1".to_owned()];
    };
    let service = Service::start_with(&kafka, &store, places).await;
    service.ready().await;
    let asleep = Events::open(&service, "/changes", None).await;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(Events::open(&service, "/changes", None).await);
    }
    for reader in &mut readers {
        reader.until("caught-up").await;
    }
    let mut published = change_all(&kafka, 3, 1).await;
    published.extend(change_all(&kafka, 3, 2).await);
    published.sort();
    for reader in &mut readers {
        let mut told = positions(&reader.take(published.len()).await);
        told.sort();
        assert_eq!(told, published);
    }
    drop((readers, asleep));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_leave_places_for_queries_and_are_asked_to_come_again() {
    const PLACES: usize = 8;
    /// Three quarters of them.
    const SUBSCRIBERS: usize = 6;
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    change_all(&kafka, 1, 0).await;
    let service = Service::start_with(&kafka, &store, |raw| raw.http.connections_max = PLACES).await;
    service.ready().await;
    let mut readers = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut reader = Events::open(&service, "/changes", None).await;
        reader.until("caught-up").await;
        readers.push(reader);
    }
    let of_browser = get(service.http, "/changes", &[("accept", "text/event-stream")]).await;
    assert_eq!(
        (of_browser.status.as_u16(), &of_browser.headers["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let text = of_browser.body_text();
    assert!(text.starts_with("retry: 10000\nevent: busy\n"), "{text}");
    let of_another = service.get("/changes").await;
    assert_eq!((of_another.status.as_u16(), &of_another.headers["retry-after"]), (503, &"10".parse().unwrap()));
    assert_eq!(service.get("/users/0").await.status, 200, "queries have places");
    assert_eq!(service.metric("rollcall_projector_subscribers_refused_total").await, Some(2));
    readers.pop();
    let mut round = 0;
    testkit::eventually("the place is free again", PATIENCE, async || {
        // The end of a connection is noticed when something is sent.
        round += 1;
        change_all(&kafka, 1, round).await;
        let readers = service.metric("rollcall_projector_subscribers").await?;
        (readers < i64::try_from(SUBSCRIBERS).unwrap()).then_some(())
    })
    .await;
    Events::open(&service, "/changes", None).await.until("caught-up").await;
    drop(readers);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_nothing_of_a_change_is_not_woken_and_all_others_share_its_form() {
    const READERS: usize = 20;
    const CHANGES: i64 = 5;
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let (mut all, mut few) = (Vec::new(), Vec::new());
    for number in 0..READERS {
        all.push(Events::open(&service, "/changes", None).await);
        let path = ["/changes?userId=9", "/changes?state=inactive"][number % 2];
        few.push(Events::open(&service, path, None).await);
    }
    for reader in all.iter_mut().chain(&mut few) {
        reader.until("caught-up").await;
    }
    let mut published = Vec::new();
    for second in 0..CHANGES {
        published.push(kafka.event(&event(None, user(second, "a"), second)).await);
    }
    published.sort();
    let mut ids = Vec::new();
    for reader in &mut all {
        let events = reader.take(published.len()).await;
        ids.push(last_id(&events));
        let mut told = positions(&events);
        told.sort();
        assert_eq!(told, published);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "all have the same id then");
    assert_eq!(service.metric("rollcall_projector_changes_rendered_total").await, Some(CHANGES));
    let woken = service.metric("rollcall_projector_subscribers_woken_total").await.unwrap();
    assert!(woken <= CHANGES * READERS as i64, "{woken}");
    let last = kafka.event(&event(None, in_state(9, "a", "inactive"), 100)).await;
    for reader in &mut few {
        assert_eq!(positions(&reader.take(1).await), [last], "the first that they hear");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_back_at_once_share_what_they_read() {
    const READERS: usize = 50;
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let id = last_id(&Events::open(&service, "/changes", None).await.until("caught-up").await);
    let mut published = Vec::new();
    for round in 0..3 {
        published.extend(change_all(&kafka, 60, round).await);
    }
    let reached = published.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(service.get(&format!("/status?at_least={reached}")).await.status, 200);
    published.sort();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(Events::open(&service, "/changes", Some(&id)).await);
    }
    let one = user_id(7);
    for reader in &mut readers {
        let mut told = positions(&reader.until("caught-up").await);
        told.sort();
        assert_eq!(told, published);
    }
    let told = Events::open(&service, "/changes?userId=7", Some(&id)).await.until("caught-up").await;
    assert_eq!(positions(&told).len(), 3, "of the user alone");
    assert!(told.iter().filter_map(|event| event.data.as_ref()?.get("userId")).all(|id| *id == one.get()));
    let whole = Events::open(&service, "/changes?userId=7,8", None).await.until("caught-up").await;
    assert_eq!(positions(&whole).len(), 2, "the newest states of the two");
    service.stop().await;
}
