//! A forgotten user is gone from every file of the store and from every answer.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use domain::{Checkpoint, Position, User, UserId};
use futures_util::future::join_all;
use projector::store::StoreReader;
use projector::{Announced, Changes, Item, Options, Projection};
use rusqlite::Connection;
use tempfile::TempDir;
use testkit::broker::Log;
use testkit::event::{at, event, user_id};
use testkit::eventually;

use crate::events::{Event, Events, last_id};
use crate::support::{PATIENCE, Service, get};

/// So many that rows are moved between the pages of the store.
const USERS: i64 = 2_000;
/// Every so many users, one is forgotten.
const FORGOTTEN_OF: i64 = 10;

fn is_forgotten(id: i64) -> bool {
    id % FORGOTTEN_OF == 0
}

/// The text that every personal field of a user has, and of no other.
fn mark(id: i64) -> String {
    format!("zq{id:05}zq")
}

/// The user after so many changes, with fields of other lengths each time.
fn person(id: i64, round: i64) -> User {
    let text = |name: &str| Some(format!("{name}-{}-{round}", mark(id)));
    User {
        name: Some(format!("{}{}", mark(id), "x".repeat(usize::try_from((id * 7 + round * 31) % 90).unwrap()))),
        username: text("user"),
        email: text("mail"),
        extension: text("ext"),
        contact_phone: text("contact"),
        mobile_phone: text("mobile"),
        outbound_phone: text("outbound"),
        state: Some(["active", "inactive"][usize::from(round % 2 == 1)].to_owned()),
        is_agent: Some(id % 2 == 0),
        ..User::new(user_id(id))
    }
}

/// Publishes a state of each user.
async fn publish(kafka: &Log, round: i64) -> Vec<Position> {
    let events: Vec<_> = (0..USERS)
        .map(|id| event((round > 0).then(|| person(id, round - 1)), person(id, round), round * USERS + id))
        .collect();
    join_all(events.iter().map(|event| kafka.event(event))).await
}

async fn forget(kafka: &Log) -> Vec<Position> {
    let forgotten = (0..USERS).filter(|id| is_forgotten(*id));
    join_all(forgotten.map(|id| kafka.forget(user_id(id), at(1_000_000)))).await
}

/// Waits until the table has these positions.
async fn reached(service: &Service, positions: &[Position]) {
    let mut newest = std::collections::BTreeMap::new();
    for position in positions {
        let offset = newest.entry(position.partition).or_insert(position.offset);
        *offset = position.offset.max(*offset);
    }
    let positions: Vec<String> = newest.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
    let path = format!("/status?wait_ms=20000&at_least={}", positions.join(","));
    assert_eq!(service.get(&path).await.status, 200);
}

/// Waits until the service says that all is erased.
async fn erased(service: &Service, forgotten: &[Position]) {
    let done = async || {
        let status = service.get("/status").await.json();
        let up_to = |partition: i32| {
            let all = status["partitions"].as_array().unwrap();
            all.iter().find(|found| found["partition"] == partition).unwrap()["erasedUpTo"].as_i64().unwrap()
        };
        forgotten.iter().all(|position| up_to(position.partition) > position.offset).then(|| status.clone())
    };
    let status = eventually("the forgotten are erased", PATIENCE, done).await;
    assert!(status["erasureHeldBack"].is_null(), "{status}");
    for partition in status["partitions"].as_array().unwrap() {
        assert_eq!(partition["erasedUpTo"], partition["nextOffset"], "nothing waits");
    }
}

/// Returns the users whose marks are in these bytes.
fn marks(bytes: &[u8]) -> Vec<i64> {
    let mut found = Vec::new();
    for window in bytes.windows(9) {
        if window.starts_with(b"zq") && window.ends_with(b"zq") {
            found.extend(std::str::from_utf8(&window[2..7]).ok().and_then(|digits| digits.parse::<i64>().ok()));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Returns the forgotten users that are in any file of the folder, and asserts that all others are.
fn left_in_files(dir: &Path) -> Vec<i64> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<i64> = files.flat_map(|path| marks(&fs::read(path).unwrap())).collect();
    found.sort_unstable();
    found.dedup();
    let (forgotten, others): (Vec<i64>, Vec<i64>) = found.into_iter().partition(|id| is_forgotten(*id));
    assert_eq!(others.len() as i64, USERS - USERS / FORGOTTEN_OF, "everybody else is there");
    forgotten
}

/// Asserts that no answer has a forgotten user, whatever a subscriber has read before.
async fn assert_gone_from_answers(service: &Service, ids: &[String]) {
    let mut answers = Vec::new();
    for id in (0..USERS).filter(|id| is_forgotten(*id)).take(20) {
        let one = service.get(&format!("/users/{id}")).await;
        assert_eq!(one.status, 410, "{id}");
        answers.push(one.body_text().to_owned());
        for round in 0..3 {
            let User { username, email, extension, .. } = person(id, round);
            for (field, value) in [("username", username), ("email", email), ("extension", extension)] {
                let answer = service.get(&format!("/users/by-{field}/{}", value.unwrap())).await;
                assert_eq!(answer.status, 404, "{id}");
                answers.push(answer.body_text().to_owned());
            }
        }
        let listed = service.get(&format!("/users?q={}", mark(id))).await;
        assert_eq!(listed.json()["users"].as_array().unwrap().len(), 0);
    }
    for path in ["/users?limit=1000", "/users?state=active&limit=1000", "/users?q=user&limit=1000", "/status"] {
        answers.push(service.get(path).await.body_text().to_owned());
    }
    answers.push(get(service.http, "/users", &[("accept", "application/x-ndjson")]).await.body_text().to_owned());
    for id in ids {
        let told = Events::open(service, "/changes", Some(id)).await.until("caught-up").await;
        answers.push(format!("{told:?}"));
    }
    for answer in &answers {
        let left: Vec<_> = marks(answer.as_bytes()).into_iter().filter(|id| is_forgotten(*id)).collect();
        let begins: String = answer.chars().take(300).collect();
        assert!(left.is_empty(), "{left:?} in {begins}");
    }
    assert!(answers.iter().any(|answer| marks(answer.as_bytes()).len() > 1_000), "others are there");
}

fn names(events: &[Event], user: i64) -> Vec<&str> {
    let of = |event: &&Event| event.data.as_ref().is_some_and(|data| data["userId"] == user);
    events.iter().filter(of).filter_map(|event| event.name.as_deref()).collect()
}

async fn resume_id(service: &Service, from: Option<&str>) -> String {
    last_id(&Events::open(service, "/changes", from).await.until("caught-up").await)
}

/// Copies the folder as it is: what a process leaves that is killed now.
fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.path().join(entry.file_name()));
        match fs::read_link(&from) {
            Ok(target) => std::os::unix::fs::symlink(target, to).unwrap(),
            Err(_) => drop(fs::copy(from, to).unwrap()),
        }
    }
    to
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_user_is_in_no_file_and_in_no_answer() {
    let (kafka, store) = (Log::start(3), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let mut ids = vec![String::new()];
    for round in 0..3 {
        reached(&service, &publish(&kafka, round).await).await;
        ids.push(resume_id(&service, ids.last().map(String::as_str)).await);
    }
    let forgotten = forget(&kafka).await;
    reached(&service, &forgotten).await;
    erased(&service, &forgotten).await;

    assert_eq!(left_in_files(store.path()), [] as [i64; 0]);
    assert_gone_from_answers(&service, &ids).await;
    let told = Events::open(&service, "/changes", Some(&ids[1])).await.until("caught-up").await;
    assert_eq!(names(&told, 0), ["forgotten"], "a subscriber behind it hears that alone");
    assert_eq!(names(&told, 1), ["changed", "changed"], "and of others each change");
    // Filters do not keep it from anybody who may hold a state of before.
    for path in ["/changes?state=active", "/changes?state=inactive", "/changes?isAgent=true"] {
        let told = Events::open(&service, path, Some(&ids[1])).await.until("caught-up").await;
        assert_eq!(names(&told, 0), ["forgotten"], "{path}");
    }
    let metrics = get(service.admin, "/metrics", &[]).await;
    assert!(metrics.body_text().contains("rollcall_projector_erasures_pending 0"), "{}", metrics.body_text());
    service.stop().await;
    assert_eq!(left_in_files(store.path()), [] as [i64; 0]);

    let service = Service::start_with(&kafka, &store, |raw| raw.store.rebuild = true).await;
    service.ready().await;
    assert_eq!(left_in_files(store.path()), [] as [i64; 0], "after a rebuild from a log that still has them");
    assert_gone_from_answers(&service, &ids).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_another_process_holds_back_is_said_to_be_and_outlives_a_crash() {
    let (kafka, store) = (Log::start(3), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    reached(&service, &publish(&kafka, 0).await).await;
    let foreign = Connection::open(store.path().join("users.db")).unwrap();
    foreign.execute_batch("BEGIN").unwrap();
    let user: UserId = foreign.query_row("SELECT min(user_id) FROM users", [], |row| Ok(user_id(row.get(0)?))).unwrap();
    assert_eq!(user, user_id(0));
    reached(&service, &publish(&kafka, 1).await).await;
    let forgotten = forget(&kafka).await;
    reached(&service, &forgotten).await;
    let held_back = async || {
        let status = service.get("/status").await.json();
        let reason = status["erasureHeldBack"].as_str()?.to_owned();
        let partitions = status["partitions"].as_array().unwrap().clone();
        assert!(partitions.iter().all(|one| one["erasedUpTo"].as_i64() < one["nextOffset"].as_i64()), "{status}");
        Some(reason)
    };
    let reason = eventually("the erasure is held back", PATIENCE, held_back).await;
    assert!(reason.contains("another process"), "{reason}");
    let pending = get(service.admin, "/metrics", &[]).await;
    let expected = format!("rollcall_projector_erasures_pending {}", USERS / FORGOTTEN_OF);
    assert!(pending.body_text().contains(&expected), "{}", pending.body_text());

    // The process is killed now. The cluster is away when the next one starts, and it erases all the same.
    let (killed, silent) = (copy(store.path()), copy(store.path()));
    assert!(!left_in_files(killed.path()).is_empty(), "there was something to erase");
    drop(foreign);
    erased(&service, &forgotten).await;
    assert_eq!(left_in_files(store.path()), [] as [i64; 0]);
    service.stop().await;

    let next = Service::start(&kafka, &killed).await;
    next.ready().await;
    erased(&next, &forgotten).await;
    assert_eq!(left_in_files(killed.path()), [] as [i64; 0]);
    next.stop().await;

    kafka.broker.go_down().unwrap();
    let cut_off = Service::start(&kafka, &silent).await;
    let is_clean = async || {
        let reader = StoreReader::open(&silent.path().join("users.db")).unwrap();
        let is_empty = reader.erasures().unwrap().is_empty();
        drop(reader);
        is_empty.then_some(())
    };
    eventually("erased without the cluster", PATIENCE, is_clean).await;
    assert_eq!(left_in_files(silent.path()), [] as [i64; 0]);
    cut_off.stop().await;
}

/// Takes what is there until a subscriber has heard of the user's forgetting; returns what it heard of the user.
async fn heard_of(changes: &mut Changes, user: UserId) -> Vec<Arc<Announced>> {
    let mut heard = Vec::new();
    loop {
        let item = tokio::time::timeout(PATIENCE, changes.next()).await.unwrap().unwrap();
        if let Item::State(announced) | Item::Change(announced) = item
            && announced.change.user_id == user
        {
            heard.push(announced);
            if heard.last().unwrap().change.forgotten_at.is_some() {
                return heard;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_is_not_given_what_was_forgotten_while_it_waited() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let options = Options { kafka: kafka.options(), ..Options::new("", &kafka.names.users, store.path()) };
    let table = Projection::open(options).unwrap();
    table.ready().await.unwrap();
    for id in 0..20 {
        kafka.event(&event(None, person(id, 0), id)).await;
    }
    let last = kafka.event(&event(Some(person(19, 0)), person(19, 1), 20)).await;
    table.wait_for(last, PATIENCE).await.unwrap();

    // One reads the table, one the history, and one is given what is new; each has taken the first of it.
    let mut of_table = table.subscribe(Checkpoint::default());
    let mut of_history = table.subscribe(Checkpoint::from_next_offsets([(0, 2)]));
    let mut live = table.subscribe(table.checkpoint());
    of_table.next().await.unwrap();
    of_history.next().await.unwrap();
    assert!(matches!(live.next().await.unwrap(), Item::CaughtUp));
    for id in 0..20 {
        kafka.event(&event(Some(person(id, 0)), person(id, 2), 30 + id)).await;
    }
    let back = event(Some(person(13, 2)), person(13, 3), 101);
    let forgotten = [kafka.forget(user_id(12), at(100)).await, kafka.forget(user_id(13), at(100)).await];
    table.wait_for(forgotten[1], PATIENCE).await.unwrap();

    for (changes, name) in [(&mut of_table, "table"), (&mut of_history, "history"), (&mut live, "live")] {
        let heard = heard_of(changes, user_id(12)).await;
        assert!(heard.iter().all(|heard| heard.change.event.is_none()), "{name}: {heard:?}");
    }
    // One who comes back is heard of again.
    kafka.event(&back).await;
    let heard = heard_of(&mut live, user_id(13)).await;
    assert_eq!(heard.len(), 1);
    let item = tokio::time::timeout(PATIENCE, live.next()).await.unwrap().unwrap();
    assert!(
        matches!(item, Item::Change(announced) if announced.change.event == Some(domain::wire::encode(&back).into()))
    );
    table.close().await.unwrap();
}
