//! `event.omit`: the fields are on no topic, a change of them alone is stored, and a switch of the setting makes no
//! gap.

use std::time::Duration;

use domain::topics::Names;
use hyper::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::eventually;
use upkeep::verify::{Options, verify};

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::system::{Ingest, Projector, now};

on_both_brokers!(omitted_fields_are_on_no_topic_and_a_switch_makes_no_gap);

/// How long the projector, the keeper and the state topic may take. The broker in memory gives up a member of the
/// group that left only when its session has ended, and three come and go here.
const QUIET_MAX: Duration = Duration::from_secs(240);
/// The user's states, one a second: names and wages.
const STATES: [(&str, i64); 6] =
    [("Ada", 90_001), ("Bob", 90_001), ("Bob", 90_002), ("Cid", 90_003), ("Dan", 90_004), ("Eve", 90_005)];

/// Returns the body of the change from a state to the next.
fn change(from: usize) -> String {
    let state = |(name, hourly): (&str, i64)| json!({"userId": 1, "name": name, "hourly": hourly, "monthly": 1.5});
    let timestamp = format!("2024-03-01T10:00:{from:02}+01:00");
    json!({"old": state(STATES[from]), "new": state(STATES[from + 1]), "timestamp": timestamp}).to_string()
}

async fn ingest(broker: &Broker, names: &Names, omit: &[&str]) -> Ingest {
    let options = broker.client_options();
    let ingest = Ingest::start(&options, names, |raw| {
        raw.state_topic.enabled = true;
        raw.state_topic.topic = names.state.clone().expect("there is one");
        raw.event.omit = omit.iter().map(|name| (*name).to_owned()).collect();
    });
    let ingest = ingest.await;
    ingest.ready().await;
    ingest
}

/// Delivers changes. Returns the user after them.
async fn deliver(ingest: &Ingest, projector: &Projector, changes: std::ops::Range<usize>) -> Value {
    let mut user = Value::Null;
    for from in changes {
        let answer = ingest.post(change(from)).await;
        assert_eq!((answer.status, &*answer.text("/status")), (StatusCode::OK, "stored"), "change {from}: {answer:?}");
        let path = format!("/users/1?at_least={}&wait_ms=30000", answer.text("/position"));
        user = projector.http.get(&path).await.json();
        assert_eq!(user["name"], STATES[from + 1].0, "{user}");
        assert_eq!(user["_meta"]["continuity"]["gaps"], json!([]), "{user}");
    }
    user
}

async fn omitted_fields_are_on_no_topic_and_a_switch_makes_no_gap(broker: &Broker) {
    let names = broker.make_topics(1).await;
    let names = broker.make_state_topic(names, 1).await;
    let (options, folder) = (broker.client_options(), TempDir::new().expect("a folder can be made"));
    let projector = Projector::start(&options, &names, folder.path(), |_| {}).await;

    let before = ingest(broker, &names, &[]).await;
    let user = deliver(&before, &projector, 0..1).await;
    assert_eq!(user["hourly"], 90_001);
    before.stop().await.expect("ingest stops well");
    // The first change of these is one of wages alone.
    let omitting = ingest(broker, &names, &["hourly", "monthly"]).await;
    let user = deliver(&omitting, &projector, 1..4).await;
    assert_eq!((&user["hourly"], &user["monthly"]), (&Value::Null, &Value::Null), "{user}");
    for topic in [&names.users, names.state.as_ref().expect("there is one")] {
        let records = eventually(topic, QUIET_MAX, async || {
            let records = read_all(&options, topic).await;
            let last = records.last().and_then(|record| record.value.clone())?;
            last.windows(3).any(|text| text == b"Dan").then_some(records)
        })
        .await;
        let wage = "90004".as_bytes();
        let last = records.last().and_then(|record| record.value.as_deref()).expect("there is one");
        assert!(!last.windows(wage.len()).any(|text| text == wage), "{topic}");
        if let Ok(state) = serde_json::from_slice::<Value>(last) {
            assert_eq!((&state["hourly"], &state["extra"]), (&Value::Null, &"{}".into()), "{state}");
        }
    }
    let users = read_all(&options, &names.users).await;
    let events = users.iter().map(|record| domain::wire::decode(record.value.as_deref().expect("a value")));
    let events: Vec<_> = events.collect::<Result<_, _>>().expect("our own values can be decoded");
    assert_eq!(events.last().expect("four events").omitted, ["hourly", "monthly"]);
    assert_eq!(Some(events[1].version), events[1].parent, "a change of wages alone changes nothing here");

    omitting.stop().await.expect("ingest stops well");
    let after = ingest(broker, &names, &[]).await;
    let user = deliver(&after, &projector, 4..5).await;
    assert_eq!(user["hourly"], 90_005);
    let verifying = Options {
        kafka: options,
        topics: names,
        schemas: Default::default(),
        threads: 1,
        settle: QUIET_MAX,
        now: now(),
        since: Duration::MAX,
        retention: Default::default(),
        keep_winners: true,
    };
    let report = tokio::task::spawn_blocking(move || verify(&verifying, |_, _| ()));
    let report = report.await.expect("it does not panic").expect("the log can be read");
    assert_eq!(report.gaps.lost.count + report.gaps.awaited.count, 0, "{report:?}");
    after.stop().await.expect("ingest stops well");
    projector.stop().await.expect("the projector stops well");
}
