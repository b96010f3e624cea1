//! `/changes` as a browser's `EventSource` needs it, and what a change says of itself.

use domain::User;
use serde_json::{Value, json};
use testkit::broker::Log;
use testkit::event::{at, event, user, user_id};
use testkit::eventually;

use crate::events::{Event, Events, last_id};
use crate::support::{PATIENCE, Service, request};

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(|event| event.name.as_deref()).collect()
}

/// Returns the names of the fields that each event says have changed; null where it says nothing of that.
fn changed(events: &[Event]) -> Vec<Value> {
    events.iter().map(|event| event.data.as_ref().unwrap()["_meta"]["changed"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_the_first_table_and_is_then_given_it() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    kafka.event(&event(None, user(1, "a"), 1)).await;
    kafka.broker.go_down().unwrap();
    let service = Service::start(&kafka, &store).await;
    assert_eq!(service.get("/users/1").await.status, 503, "there is no table");
    let head = request(service.http, "HEAD", "/changes", &[]).await;
    assert_eq!((head.status.as_u16(), head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(head.header("cache-control"), Some("no-store, no-transform"));
    let mut events = Events::open(&service, "/changes", None).await;
    let mut again = Events::open(&service, "/changes", Some("an id that nobody can read")).await;
    // The time of `at_least` is over before there is a table, and an EventSource gives up on 503.
    let asked = "/changes?at_least=0:0&wait_ms=1";
    let head = request(service.http, "HEAD", asked, &[]).await;
    assert_eq!((head.status.as_u16(), head.header("content-type")), (200, Some("text/event-stream")));
    let mut at_least = Events::open(&service, asked, None).await;
    let waiting = async || (service.metric("rollcall_projector_subscribers").await? == 3).then_some(());
    eventually("all wait", PATIENCE, waiting).await;
    kafka.broker.come_back().unwrap();
    assert_eq!(names(&events.until("caught-up").await), ["user", "caught-up"]);
    let again = again.until("caught-up").await;
    assert_eq!(names(&again), ["started-over", "user", "caught-up"]);
    let reason = again[0].data.as_ref().unwrap()["reason"].as_str().unwrap();
    assert!(reason.starts_with("the id cannot be read"), "{reason}");
    assert_eq!(names(&at_least.until("caught-up").await), ["user", "caught-up"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_names_the_fields_that_differ_from_the_state_before() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    kafka.event(&event(None, user(1, "a"), 1)).await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let mut all = Events::open(&service, "/changes", None).await;
    let mut few = Events::open(&service, "/changes?fields=name", None).await;
    let table = all.until("caught-up").await;
    assert_eq!(changed(&table), [Value::Null, Value::Null], "of a state it is not known");
    few.until("caught-up").await;

    let skilled = |name: &str| User { extra: [("skills".to_owned(), "[1]".to_owned())].into(), ..user(1, name) };
    let inactive = User { state: Some("inactive".to_owned()), ..skilled("b") };
    kafka.event(&event(Some(user(1, "a")), inactive.clone(), 2)).await;
    // The delivery that made it active again is missing: the sender has changed the name alone.
    kafka.event(&event(Some(skilled("b")), skilled("c"), 3)).await;
    kafka.event(&event(None, user(2, "a"), 4)).await;
    let mut told = all.take(3).await;
    kafka.forget(user_id(2), at(5)).await;
    told.extend(all.take(1).await);
    let expected = [json!(["name", "skills", "state"]), json!(["name", "state"])];
    assert_eq!(changed(&told[..2]), expected);
    let created = changed(&told[2..]);
    assert!(created[0].as_array().unwrap().contains(&json!("name")), "of a new user, all that is there: {created:?}");
    assert_eq!(created[1], Value::Null, "{:?}", told[3].name);
    assert_eq!(changed(&few.take(2).await), [json!(["name"]), json!(["name"])], "of those that are shown");

    let mut later = Events::open(&service, "/changes", Some(&last_id(&table))).await;
    let kept = later.until("caught-up").await;
    assert_eq!(names(&kept), ["changed", "changed", "forgotten", "caught-up"]);
    // The first table has no change of the user before these, but the sender says what it was.
    assert_eq!(changed(&kept[..2]), expected);
    service.stop().await;
}
