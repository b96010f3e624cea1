//! Kafka, the topic or a permission is away: what is there is answered, and what can come back is waited for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::UnixMillis;
use projector::{Options, Phase, Projection};
use testkit::broker::Log;
use testkit::event::{event, user};
use testkit::eventually;
use testkit::wait::PATIENCE;

use crate::events::Events;
use crate::support::{Service, TOPIC, get};

const LATER: &str = "made.later";

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_store_is_answered_from_while_kafka_is_away() {
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    for id in 1..=3 {
        kafka.event(&event(None, user(id, "before"), id)).await;
    }
    service.ready().await;
    service.stop().await;

    kafka.broker.go_down().unwrap();
    let service = Service::start(&kafka, &store).await;
    let answer = async || Some(service.get("/users/3").await).filter(|answer| answer.status == 200);
    let stored = eventually("the stored table answers", PATIENCE, answer).await;
    assert_eq!(stored.json()["name"], "before");
    assert!(stored.header("rollcall-positions").is_some());
    let as_of = stored.header("rollcall-as-of").unwrap();
    assert_eq!(stored.json()["_meta"]["asOf"], as_of);
    // It is young enough to count while the cluster is away.
    service.ready().await;
    assert_eq!(service.metric("rollcall_projector_users").await, Some(3));
    assert_eq!(service.get("/users?limit=10").await.json()["users"].as_array().unwrap().len(), 3);
    let status = service.get("/status").await.json();
    assert!(status["phaseDetail"].as_str().unwrap().contains("table of an earlier run"), "{status}");
    let mut events = Events::open(&service, "/changes", None).await;
    events.until("caught-up").await;

    assert_eq!(status["asOf"], as_of);

    kafka.broker.come_back().unwrap();
    let position = kafka.event(&event(Some(user(3, "before")), user(3, "after"), 10)).await;
    let reached = async || (service.get(&format!("/status?at_least={position}")).await.status == 200).then_some(());
    eventually("the table goes on", PATIENCE, reached).await;
    assert_eq!(service.get("/users/3").await.json()["name"], "after");
    let next = events.next().await.unwrap();
    assert_eq!(next.name.as_deref(), Some("changed"), "the stream goes on: {next:?}");
    assert_eq!(next.data.unwrap()["name"], "after");
    service.ready().await;
    assert_eq!(service.rebuilds().await, 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_table_that_is_too_old_answers_and_is_not_ready() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    kafka.event(&event(None, user(1, "x"), 1)).await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    service.stop().await;
    kafka.broker.go_down().unwrap();
    let service = Service::start_at(&kafka, &store, an_hour_later).await;
    let answers = async || (service.get("/users/1").await.status == 200).then_some(());
    eventually("the stored table answers", PATIENCE, answers).await;
    let says =
        async || get(service.admin, "/readyz", &[]).await.body_text().contains("the table is as of").then_some(());
    eventually("readiness says that it is old", PATIENCE, says).await;
    service.stop().await;
}

#[expect(clippy::disallowed_methods, reason = "the store has the time of the system")]
fn an_hour_later() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(3_600);
    UnixMillis::from_millis(i64::try_from(since.as_millis()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_yet_is_waited_for() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let options = Options { kafka: kafka.options(), ..Options::new("", LATER, store.path()) };
    let table = Projection::open(options).unwrap();
    let missing = waits(&table, "does not exist").await;
    assert!(matches!(missing, Phase::Starting { .. }), "{missing}");
    kafka.broker.create_topic(LATER, 1).unwrap();
    tokio::time::timeout(PATIENCE, table.ready()).await.unwrap().unwrap();
    table.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_missing_is_waited_for() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    kafka.event(&event(None, user(1, "x"), 1)).await;
    kafka.broker.deny_ends();
    let options = Options { kafka: kafka.options(), ..Options::new("", TOPIC, store.path()) };
    let table = Projection::open(options).unwrap();
    let denied = waits(&table, "authorization").await;
    assert!(matches!(denied, Phase::Starting { .. }), "{denied}");
    kafka.broker.allow_ends();
    tokio::time::timeout(PATIENCE, table.ready()).await.unwrap().unwrap();
    table.close().await.unwrap();
}

/// Waits until the projection waits for that, or ends.
async fn waits(table: &Projection, text: &str) -> Phase {
    let mut phase = table.phase();
    let waits = phase.wait_for(|phase| phase.to_string().contains(text) || phase.is_final());
    tokio::time::timeout(PATIENCE, waits).await.unwrap().unwrap().clone()
}
