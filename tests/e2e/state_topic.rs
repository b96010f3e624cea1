//! The state topic: after quiet, its last record of each key is what the projector answers, whatever came late, twice,
//! in one second, or from another writer, and a restart of the keeper appends nothing that is there.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::UserId;
use domain::topics::Names;
use hyper::StatusCode;
use kafka::publish::{Limits, Outgoing, Publisher};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::eventually;
use upkeep::verify::{Options, Report, verify};

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::system::{Ingest, Projector, now};

on_both_brokers!(the_state_topic_ends_in_what_the_projector_answers);

const PARTITIONS: i32 = 3;
/// How long the keeper may take.
const QUIET_MAX: Duration = Duration::from_secs(60);
const USERS: i64 = 6;
/// The user who is forgotten.
const FORGOTTEN: i64 = 3;
/// The user of whom another writer appends a value.
const SCRIBBLED: i64 = 4;

fn change(user: i64, from: &str, to: &str, second: u32) -> String {
    let state = |name: &str| json!({"userId": user, "name": name, "isAgent": true, "skills": [1.10]});
    let timestamp = format!("2024-03-01T10:00:{second:02}+01:00");
    json!({"old": state(from), "new": state(to), "timestamp": timestamp}).to_string()
}

async fn ingest(broker: &Broker, names: &Names) -> Ingest {
    let options = broker.client_options();
    let ingest = Ingest::start(&options, names, |raw| {
        raw.state_topic.enabled = true;
        raw.state_topic.topic = names.state.clone().expect("there is one");
    });
    let ingest = ingest.await;
    ingest.ready().await;
    ingest
}

/// Returns the last value of each key, and the number of records.
async fn state(broker: &Broker, names: &Names) -> (BTreeMap<i64, Option<Value>>, usize) {
    let topic = names.state.as_deref().expect("there is one");
    let records = read_all(&broker.client_options(), topic).await;
    let count = records.len();
    let last = records.into_iter().map(|record| {
        let key = String::from_utf8(record.key.expect("a key")).expect("text");
        (key.parse().expect("a user"), record.value.and_then(|value| serde_json::from_slice(&value).ok()))
    });
    (last.collect(), count)
}

/// Returns whether a state is what the projector answers: the fields of the vendor's table, by name.
fn is_answered(state: &Value, answer: &Value) -> bool {
    let own = ["extra", "occurredAt", "eventId"];
    let fields = state.as_object().expect("an object").iter().filter(|(name, _)| !own.contains(&name.as_str()));
    state["eventId"] == answer["_meta"]["eventId"]
        && state["occurredAt"] == answer["_meta"]["occurredAt"]
        && state["extra"] == r#"{"skills":[1.1]}"#
        && fields.clone().count() == 18
        && { fields }.all(|(name, value)| answer[name] == *value)
}

/// Delivers of each user the newest first, a late one, a tie and a repeat, and forgets one of them.
async fn deliver(ingest: &Ingest, names: &Names, publisher: &Publisher) {
    for user in 0..USERS {
        let newest = change(user, "B", "C", 2);
        for body in [newest.clone(), change(user, "A", "B", 1), change(user, "C", "D", 2), newest] {
            assert_eq!(ingest.post(body).await.status, StatusCode::OK);
        }
    }
    let forgotten = UserId::new(FORGOTTEN).expect("in range");
    let tombstone = Outgoing::forgotten(forgotten, &names.users, now(), now());
    publisher.publish(tombstone).await.expect("the tombstone is acknowledged");
}

/// Returns what another writer appends.
fn scribble(names: &Names) -> Outgoing {
    Outgoing {
        topic: names.state.clone().expect("there is one"),
        key: SCRIBBLED.to_string().into_bytes(),
        value: Some(b"{}".to_vec()),
        headers: Vec::new(),
        timestamp: now(),
        partition: None,
    }
}

/// Returns whether the state topic has what the projector answers, of every user.
async fn is_right(broker: &Broker, names: &Names, projector: &Projector) -> bool {
    let (last, _) = state(broker, names).await;
    for user in 0..USERS {
        let answer = projector.http.get(&format!("/users/{user}")).await;
        let is_right = match (last.get(&user).and_then(Option::as_ref), answer.status) {
            (Some(state), StatusCode::OK) => user != FORGOTTEN && is_answered(state, &answer.json()),
            (None, StatusCode::GONE) => user == FORGOTTEN,
            _ => false,
        };
        if !is_right {
            return false;
        }
    }
    true
}

async fn verified(broker: &Broker, names: &Names, settle: Duration) -> Report {
    let options = Options {
        kafka: broker.client_options(),
        topics: names.clone(),
        schemas: Default::default(),
        threads: 1,
        settle,
        now: now(),
        since: Duration::MAX,
        retention: Default::default(),
        keep_winners: false,
    };
    let report = tokio::task::spawn_blocking(move || verify(&options, |_, _| ()));
    report.await.expect("it does not panic").expect("the log can be read")
}

async fn the_state_topic_ends_in_what_the_projector_answers(broker: &Broker) {
    let names = broker.make_topics(PARTITIONS).await;
    let names = broker.make_state_topic(names, PARTITIONS).await;
    let (options, folder) = (broker.client_options(), TempDir::new().expect("a folder can be made"));
    let publisher = Publisher::open(&options, Limits::default()).expect("the options can be used");
    let projector = Projector::start(&options, &names, folder.path(), |_| {}).await;
    let first = ingest(broker, &names).await;
    deliver(&first, &names, &publisher).await;
    publisher.publish(scribble(&names)).await.expect("the record is acknowledged");
    projector.ready().await;
    eventually("the state topic has what the projector answers", QUIET_MAX, async || {
        is_right(broker, &names, &projector).await.then_some(())
    })
    .await;
    // Corrections that were decided on before the last records were read may still be on their way.
    first.stop().await.expect("ingest stops well");
    let count = state(broker, &names).await.1;

    let second = ingest(broker, &names).await;
    assert_eq!(second.post(change(0, "D", "E", 9)).await.status, StatusCode::OK);
    let again = eventually("the change is on the state topic", QUIET_MAX, async || {
        let (last, count) = state(broker, &names).await;
        (last[&0].as_ref().is_some_and(|state| state["name"] == "E")).then_some(count)
    })
    .await;
    assert_eq!(again, count + 1, "what was right before the restart is not appended again");
    let report = verified(broker, &names, QUIET_MAX).await;
    assert!(report.is_clean(), "{report:?}");

    second.stop().await.expect("ingest stops well");
    publisher.publish(scribble(&names)).await.expect("the record is acknowledged");
    let report = verified(broker, &names, Duration::ZERO).await;
    assert_eq!(report.behind.count, 1, "{report:?}");
    assert_eq!(report.behind.examples[0].user_id.get(), SCRIBBLED);
    publisher.close(QUIET_MAX).await.expect("nothing waits");
    projector.stop().await.expect("the projector stops well");
}
