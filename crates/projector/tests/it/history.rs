//! The history of a user: what changed when, as far as this table has seen it.

use domain::{User, UserEvent};
use kafka::publish::Outgoing;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::broker::Log;
use testkit::event::{at, event, user, user_id};
use testkit::eventually;

use crate::support::{PATIENCE, Service, get, place};

const HISTORY: &str = "/users/7/history";

/// Starts a service whose table is made at second 5, before all deliveries of these tests.
async fn start(kafka: &Log, store: &TempDir) -> Service {
    let service = Service::start_at(kafka, store, || at(5)).await;
    service.ready().await;
    service
}

fn named(name: &str, state: &str) -> User {
    User { state: Some(state.to_owned()), ..user(7, name) }
}

/// Returns the history once it has so many entries.
async fn history(service: &Service, entries: usize) -> Value {
    let read = async || {
        let body = service.get(HISTORY).await.json();
        (body["changes"].as_array()?.len() == entries).then_some(body)
    };
    eventually("the history has as many entries", PATIENCE, read).await
}

/// Returns each entry in short: its kind and its changed fields with their values.
fn told(history: &Value) -> Vec<Value> {
    let entries = history["changes"].as_array().unwrap().iter();
    let fields = |entry: &Value| -> Vec<Value> {
        let fields = entry["fields"].as_array().unwrap().iter();
        fields.map(|field| json!([field["name"], field["before"], field["after"]])).collect()
    };
    entries.map(|entry| json!([entry["kind"], entry["comparedWith"], fields(entry)])).collect()
}

async fn append(kafka: &Log, event: &UserEvent) {
    kafka.event(event).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_has_its_fields_and_each_delivery_that_changed_nothing_says_why() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = start(&kafka, &store).await;
    let (first, second) = (named("Rachel", "active"), named("Rachel", "inactive"));
    let created = event(None, first.clone(), 10);
    append(&kafka, &created).await;
    let change = event(Some(first.clone()), second.clone(), 30);
    append(&kafka, &change).await;
    append(&kafka, &change).await;
    // Delivered late, and appended all the same; then one that ingest has set aside.
    append(&kafka, &event(Some(named("Ray", "active")), first.clone(), 9)).await;
    // The two topics are read beside each other.
    history(&service, 4).await;
    kafka.late(&event(Some(named("Roy", "active")), named("Ray", "active"), 8)).await;
    let body = history(&service, 5).await;
    let expected = [
        json!(["superseded", "old", [["name", "Roy", "Ray"]]]),
        json!(["late", "old", [["name", "Ray", "Rachel"]]]),
        json!(["repeated", "nothing", []]),
        json!(["changed", "held", [["state", "active", "inactive"]]]),
    ];
    assert_eq!(told(&body)[..4], expected);
    let entries = body["changes"].as_array().unwrap();
    assert_eq!((&entries[4]["type"], &entries[4]["comparedWith"]), (&"created".into(), &"nothing".into()));
    let names: Vec<&str> =
        entries[4]["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["email", "extension", "isAgent", "name", "privGroup", "state", "username"]);
    assert!(entries[4]["fields"][0].get("before").is_none(), "there was nobody");
    let changed = &entries[3];
    assert_eq!(changed["eventId"], change.event_id.to_string());
    assert_eq!(
        (&changed["occurredAt"], &changed["receivedAt"]),
        (&json!(at(30).to_string()), &json!(at(30).to_string()))
    );
    assert_eq!(place(&changed["position"]).offset, 1);
    let topic = |entry: &Value| entry["position"].as_str().unwrap().split_once('/').unwrap().0.to_owned();
    assert_ne!(topic(&entries[0]), topic(changed), "a late delivery is on another topic");
    assert_eq!((&body["historySince"], &body["beginsWith"]), (&json!(at(5).to_string()), &json!("table")));
    assert_eq!((&body["hasMore"], &body["userId"]), (&json!(false), &json!(7)));
    service.stop().await;

    let service = start(&kafka, &store).await;
    assert_eq!(told(&history(&service, 5).await), told(&body), "after a restart too");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_told_where_it_opened_and_where_it_closed() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = start(&kafka, &store).await;
    let (first, missed, last) = (named("a", "active"), named("b", "inactive"), named("c", "inactive"));
    append(&kafka, &event(None, first.clone(), 10)).await;
    append(&kafka, &event(Some(missed.clone()), last, 30)).await;
    let open = history(&service, 2).await;
    let opened = &open["changes"][0];
    let gap = json!({
        "state": "awaited",
        "awaitedUntil": "1970-01-23T18:07:30Z",
        "fields": ["name", "state"],
    });
    assert_eq!(opened["gapOpened"], gap);
    // The state held, not the one that the sender had.
    assert_eq!(told(&open)[0], json!(["changed", "held", [["name", "a", "c"], ["state", "active", "inactive"]]]));

    kafka.late(&event(Some(first), missed, 20)).await;
    let closed = history(&service, 3).await;
    assert_eq!(closed["changes"][0]["gapsClosed"], json!([opened["position"]]));
    assert_eq!(closed["changes"][1]["gapOpened"]["state"], "closed");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_appended_again_is_no_delivery_and_one_who_was_forgotten_has_no_history() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = start(&kafka, &store).await;
    let created = event(None, named("Rachel", "active"), 10);
    append(&kafka, &created).await;
    let mut again = Outgoing::event(&created, &kafka.names.users, None);
    again.headers.push((domain::headers::REASSERTED.to_owned(), b"0".to_vec()));
    let last = kafka.append(again).await;
    let body = service.get(&format!("{HISTORY}?at_least={last}")).await.json();
    assert_eq!(body["changes"].as_array().unwrap().len(), 1, "{body}");

    let forgotten = kafka.forget(user_id(7), at(20)).await;
    let gone = service.get(&format!("{HISTORY}?at_least={forgotten}")).await;
    assert_eq!(gone.status, 410, "{gone:?}");
    assert!(!gone.body_text().contains("Rachel"));
    // Back by a newer event: the history begins with the marker.
    let back = kafka.event(&event(Some(named("Rachel", "active")), named("R.", "active"), 30)).await;
    let body = service.get(&format!("{HISTORY}?at_least={back}")).await.json();
    let kinds: Vec<&Value> = body["changes"].as_array().unwrap().iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["changed", "forgotten"], "{body}");
    assert_eq!(service.get("/users/8/history").await.status, 404);
    assert_eq!(service.get("/users/x/history").await.status, 400);
    let late = get(service.http, &format!("{HISTORY}?at_least=0:99&wait_ms=1"), &[]).await;
    assert_eq!(late.status, 503);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_begins_anew_and_says_so() {
    let (kafka, store, other) = (Log::start(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let service = start(&kafka, &store).await;
    append(&kafka, &event(None, named("a", "active"), 10)).await;
    append(&kafka, &event(Some(named("a", "active")), named("b", "active"), 20)).await;
    kafka.late(&event(None, named("z", "active"), 6)).await;
    let lived = history(&service, 3).await;
    service.stop().await;

    let service = Service::start_at(&kafka, &other, || at(50)).await;
    service.ready().await;
    let state = service.get("/users/7").await.json();
    assert_eq!(state["name"], "b", "the state is whole");
    let anew = service.get(HISTORY).await.json();
    assert_eq!(anew["changes"], json!([]));
    assert_eq!((&anew["historySince"], &anew["beginsWith"]), (&json!(at(50).to_string()), &json!("table")));
    assert_ne!(anew["historySince"], lived["historySince"]);

    // The first change is compared with what its sender says, since the table has kept no state before.
    append(&kafka, &event(Some(named("b", "active")), named("c", "active"), 60)).await;
    assert_eq!(told(&history(&service, 1).await), [json!(["changed", "old", [["name", "b", "c"]]])]);
    service.stop().await;
}
