//! Several changes of one second, in any order and again: all end in the last state of the sender, for ever, and a
//! table that is rebuilt from the last records alone has it too.

use std::time::Duration;

use domain::headers::SECOND;
use domain::wire::schema_id;
use hyper::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::eventually;
use upkeep::verify::{Options, verify};

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::system::{Projector, System, now};

on_both_brokers!(
    every_order_of_a_tied_second_ends_in_the_senders_last_state,
    so_it_does_with_a_registry_and_the_state_topic,
);

const PARTITIONS: i32 = 2;
/// How long the keeper may take.
const QUIET_MAX: Duration = Duration::from_secs(60);
/// Three changes, each built on the one before, in every order, and after it the first of them again: a retry after a
/// lost 200.
const ORDERS: [[usize; 4]; 6] = [[0, 1, 2, 0], [0, 2, 1, 0], [1, 0, 2, 0], [1, 2, 0, 0], [2, 0, 1, 0], [2, 1, 0, 0]];
const STATES: [&str; 4] = ["A", "B", "C", "D"];

/// The change of user `user` from the n-th state to the next.
fn change(user: usize, from: usize) -> String {
    let state = |state: usize| json!({"userId": user, "name": STATES[state]});
    json!({"old": state(from), "new": state(from + 1), "timestamp": "2024-03-01T10:00:00+01:00"}).to_string()
}

async fn every_order_of_a_tied_second_ends_in_the_senders_last_state(broker: &Broker) {
    let system = System::start(broker, PARTITIONS).await;
    every_order_ends_in_the_last_state(broker, system).await;
}

async fn so_it_does_with_a_registry_and_the_state_topic(broker: &Broker) {
    let system = System::start_with_registry_and_state_topic(broker, PARTITIONS).await;
    let (options, state) = (broker.client_options(), system.names.state.clone().expect("there is one"));
    every_order_ends_in_the_last_state(broker, system).await;
    let states = read_all(&options, &state).await;
    assert!(states.iter().all(|state| state.value.as_deref().and_then(schema_id).is_some()), "{states:?}");
}

async fn every_order_ends_in_the_last_state(broker: &Broker, system: System) {
    for (user, order) in ORDERS.iter().enumerate() {
        for from in order {
            let answer = system.ingest.post(change(user, *from)).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            assert_ne!(answer.json()["status"], "superseded", "a tie is never superseded");
        }
    }
    let options = broker.client_options();
    // One record of each user carries the whole second, as the last.
    eventually("the keeper is at rest", QUIET_MAX, async || {
        let records = read_all(&options, &system.names.users).await;
        let last = |user: usize| {
            let key = user.to_string();
            records.iter().rfind(|record| record.key.as_deref() == Some(key.as_bytes()))
        };
        (0..ORDERS.len()).all(|user| last(user).is_some_and(|last| last.header(SECOND).is_some())).then_some(())
    })
    .await;

    let verifying = Options {
        kafka: options.clone(),
        topics: system.names.clone(),
        schemas: system.schemas().await,
        threads: 1,
        settle: QUIET_MAX,
        now: now(),
        since: Duration::MAX,
        retention: Default::default(),
        keep_winners: false,
    };
    let report = tokio::task::spawn_blocking(move || verify(&verifying, |_, _| ()));
    let report = report.await.expect("it does not panic").expect("the log can be read");
    assert!(report.is_clean() && report.gaps.awaited.count == 0, "{report:?}");

    let (lived, empty) = (&system.projector, TempDir::new().expect("a folder can be made"));
    let url = system.registry_url.clone();
    let rebuilt = Projector::start(&options, &system.names, empty.path(), |raw| raw.registry.url = url).await;
    rebuilt.ready().await;
    for user in 0..ORDERS.len() {
        let path = format!("/users/{user}");
        let named = eventually("the projector has read on", QUIET_MAX, async || {
            let answer = lived.http.get(&path).await;
            (answer.json()["name"] == "D").then_some(answer)
        })
        .await;
        let again = rebuilt.http.get(&path).await;
        assert_eq!(named.header("etag"), again.header("etag"), "user {user}");
        assert_eq!(user_alone(&named.json()), user_alone(&again.json()), "user {user}");
    }
    rebuilt.stop().await.expect("the projector ends well");
    system.stop().await;
}

/// The user without what depends on the log that was read.
fn user_alone(user: &Value) -> Value {
    let mut user = user.clone();
    user.as_object_mut().expect("a user is an object").remove("_meta");
    user
}
