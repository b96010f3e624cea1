//! Records that are broken or unknown never take their user away: live, after a restart, and rebuilt.

use domain::{Position, wire};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::broker::{Log, record};
use testkit::event::{at, event, user};
use testkit::eventually;

use crate::events::{Event, Events, last_id};
use crate::support::{PATIENCE, Service, TOPIC, timeless};

/// Returns the value of a change of user 7 whose head can be read and whose body cannot.
fn broken() -> Vec<u8> {
    let mut value = wire::encode(&event(Some(user(7, "good")), user(7, "broken"), 20));
    value.truncate(value.len() - 20);
    assert!(wire::decode_head(&value).is_ok() && wire::check(&value).is_err());
    value
}

/// Returns the same in a schema that this release does not know.
fn of_a_later_release() -> Vec<u8> {
    let mut value = wire::encode(&event(Some(user(7, "good")), user(7, "later"), 20));
    value[wire::MARKER.len()] ^= 1;
    value
}

async fn append(kafka: &Log, value: Vec<u8>, second: i64) -> Position {
    kafka.append(record(TOPIC, "7", Some(value), at(second))).await
}

async fn started(kafka: &Log, store: &TempDir) -> Service {
    let service = Service::start(kafka, store).await;
    service.ready().await;
    service
}

/// Returns user 7 as it is answered once `reached` was read: by its identifier, in lists and look-ups alike.
async fn answered(service: &Service, reached: Position) -> Value {
    let user = service.get(&format!("/users/7?at_least={reached}")).await;
    assert_eq!(user.status, 200, "{}", user.body_text());
    let user = timeless(user.json());
    for path in ["/users", "/users?state=active", "/users/by-username/user7"] {
        assert_eq!(timeless(service.get(path).await.json()["users"][0].take()), user, "{path}");
    }
    user
}

/// Returns the position that a user is answered with, as it is named once it has moved.
fn moved(user: &Value, from: Position, to: Position) -> Value {
    let named = user["_meta"]["position"].as_str().unwrap();
    json!(named.replace(&format!("/{from}@"), &format!("/{to}@")))
}

async fn counted(service: &Service) -> [u64; 2] {
    let status = service.get("/status").await.json();
    [&status["unreadable"]["records"], &status["unknown"]["users"]].map(|count| count.as_u64().unwrap())
}

async fn until_metric(service: &Service, name: &str, value: i64) {
    let found = async || (service.metric(name).await == Some(value)).then_some(());
    eventually(name, PATIENCE, found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_known_schema_with_broken_bytes_leaves_its_user_as_it_was() {
    let (kafka, store, other) = (Log::start(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let service = started(&kafka, &store).await;
    let good = kafka.event(&event(None, user(7, "good"), 10)).await;
    let expected = answered(&service, good).await;
    let reached = append(&kafka, broken(), 20).await;
    assert_eq!(answered(&service, reached).await, expected, "live");
    assert_eq!(counted(&service).await, [1, 0]);
    until_metric(&service, "rollcall_projector_records_total{outcome=\"unreadable\"}", 1).await;
    service.stop().await;

    let reached = append(&kafka, broken(), 21).await;
    let service = started(&kafka, &store).await;
    assert_eq!(answered(&service, reached).await, expected, "over a store that was there");
    assert_eq!(counted(&service).await, [2, 0]);
    service.stop().await;
    let service = started(&kafka, &other).await;
    assert_eq!(answered(&service, reached).await, expected, "rebuilt");
    assert_eq!(counted(&service).await, [2, 0]);
    service.stop().await;
}

/// Returns the data of an event, without the names of the fields that have changed, which are none.
fn unchanged(event: &Event) -> Value {
    let mut data = event.data.clone().unwrap();
    let changed = data["_meta"].as_object_mut().unwrap().remove("changed");
    let is_change = event.name.as_deref() == Some("changed");
    assert_eq!(changed, is_change.then(|| json!([])), "{event:?}");
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_ends_in_unknown_records_is_answered_as_last_known_and_since_when() {
    const GAUGE: &str = "rollcall_projector_unknown_users";
    let (kafka, store, other) = (Log::start(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let service = started(&kafka, &store).await;
    let good = kafka.event(&event(None, user(7, "good"), 10)).await;
    let known = answered(&service, good).await;
    assert_eq!(known["_meta"].get("unknownSince"), None);
    let mut events = Events::open(&service, "/changes", None).await;
    let before = last_id(&events.until("caught-up").await);

    let first = append(&kafka, of_a_later_release(), 20).await;
    let reached = append(&kafka, of_a_later_release(), 21).await;
    let mut expected = known.clone();
    expected["_meta"]["unknownSince"] = json!(at(20).to_string());
    assert_eq!(answered(&service, reached).await, expected, "live");
    assert_eq!(counted(&service).await, [2, 1]);
    until_metric(&service, GAUGE, 1).await;
    let mut announced = expected.clone();
    announced["_meta"]["position"] = moved(&known, good, first);
    assert_eq!(unchanged(&events.next().await.unwrap()), announced, "to who listens");
    let mut late = Events::open(&service, "/changes", Some(&before)).await;
    let missed = late.until("caught-up").await;
    assert_eq!((missed.len(), unchanged(&missed[0])), (2, announced.clone()), "to who comes back");
    service.stop().await;

    for (store, why) in [(&store, "over a store that was there"), (&other, "rebuilt")] {
        let service = started(&kafka, store).await;
        assert_eq!(answered(&service, reached).await, expected, "{why}");
        assert_eq!(counted(&service).await, [2, 1], "{why}");
        assert_eq!(service.metric(GAUGE).await, Some(1), "{why}");
        // What was announced may be no longer known, and is told from the table then.
        for id in [None, Some(before.as_str())] {
            let told = Events::open(&service, "/changes", id).await.until("caught-up").await;
            assert_eq!((told.len(), unchanged(&told[0])), (2, announced.clone()), "{why}, from {id:?}");
        }
        service.stop().await;
    }

    let service = started(&kafka, &store).await;
    let mut events = Events::open(&service, "/changes", None).await;
    events.until("caught-up").await;
    // The same delivery again changes nothing but this.
    let again = kafka.event(&event(None, user(7, "good"), 10)).await;
    let position = moved(&known, good, again);
    let mut expected = known;
    expected["_meta"]["position"] = position;
    assert_eq!(answered(&service, again).await, expected, "known again");
    assert_eq!(unchanged(&events.next().await.unwrap()), expected);
    assert_eq!(counted(&service).await, [2, 0]);
    until_metric(&service, GAUGE, 0).await;
    service.stop().await;
}
