//! What `/status` says of the process: readiness, lateness, the last hour, subscribers.

use domain::{Facts, UserEvent};
use serde_json::{Value, json};
use testkit::broker::Log;
use testkit::event::{at, changed, user};
use testkit::eventually;

use crate::events::Events;
use crate::support::{PATIENCE, Service};

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_what_people_look_for_when_something_is_wrong() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = Service::start_at(&kafka, &store, || at(600)).await;
    service.ready().await;
    let late = UserEvent::new(Facts {
        old: None,
        new: user(7, "a"),
        timestamp: at(100).to_string(),
        received_at: at(130),
        password_changed: false,
        extra: Default::default(),
        omitted: Vec::new(),
    });
    kafka.event(&late.unwrap()).await;
    let last = kafka.event(&changed(7, "a", "b", 200)).await;
    let mut events = Events::open(&service, "/changes", None).await;
    events.until("caught-up").await;
    let status = service.get(&format!("/status?at_least={last}")).await.json();
    assert_eq!(status["ready"], json!({ "isReady": true, "lacks": [] }));
    assert_eq!(status["rebuild"], Value::Null);
    assert_eq!((&status["subscribers"]["now"], &status["subscribers"]["refused"]), (&json!(1), &json!(0)));
    let buckets: Vec<(&Value, &Value)> = status["lateness"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| (&bucket["upToMs"], &bucket["deliveries"]))
        .collect();
    assert_eq!(buckets.len(), 7);
    assert_eq!(buckets[0], (&json!(1_000), &json!(1)));
    assert_eq!(buckets[2], (&json!(60_000), &json!(1)));
    assert_eq!(buckets[6].0, &Value::Null);
    // Where the log ends is asked now and then; who subscribes is noted with it.
    let noted = async || {
        let status = service.get("/status").await.json();
        let minute = status["recent"][0].clone();
        (minute["subscribers"] == 1 && minute["lag"].is_number()).then_some(minute)
    };
    let minute = eventually("the minute is noted", PATIENCE, noted).await;
    assert_eq!(minute["at"], at(600).to_string());
    assert_eq!((&minute["events"], &minute["latenessMaxMs"]), (&json!(2), &json!(30_000)));
    assert_eq!(service.metric("rollcall_projector_lateness_seconds_count").await, Some(2));
    drop(events);
    service.stop().await;
}
