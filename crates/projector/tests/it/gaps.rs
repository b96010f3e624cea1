//! Deliveries that never came, and what closes the gaps they left.

use std::sync::atomic::{AtomicI64, Ordering};

use domain::UnixMillis;
use domain::topics::RETRIES_MAX_MS;
use serde_json::json;
use testkit::broker::Log;
use testkit::event::{at, event, user};
use testkit::eventually;

use crate::support::{PATIENCE, Service, place};

async fn until_unbroken(service: &Service, user: &str) {
    let unbroken = async || (service.get(user).await.json()["_meta"]["continuity"]["unbroken"] == true).then_some(());
    eventually("the gap is closed", PATIENCE, unbroken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_delivery_is_told_and_closed_by_the_late_one_wherever_it_is_kept() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let (mut first, mut second, mut third) = (user(7, "first"), user(7, "second"), user(7, "third"));
    first.state = Some("inactive".to_owned());
    (second.hourly, third.hourly) = (Some(1), Some(2));
    kafka.event(&event(None, first.clone(), 10)).await;
    let at = kafka.event(&event(Some(third.clone()), user(7, "newest"), 40)).await;
    let broken = service.get(&format!("/users/7?at_least={at}")).await;
    let named = broken.json()["_meta"]["position"].clone();
    assert_eq!(place(&named), at);
    let fields = ["hourly", "name", "state"];
    let until = "1970-01-23T18:07:40Z";
    let gaps = json!([{"position": named, "state": "lost", "awaitedUntil": until, "fields": fields}]);
    let continuity = json!({"stateIsWhole": true, "unbroken": false, "gaps": gaps});
    assert_eq!(broken.json()["_meta"]["continuity"], continuity);
    let status = service.get("/status").await.json();
    assert_eq!((&status["gaps"]["lost"], &status["gaps"]["listed"][0]["name"]), (&json!(1), &json!("newest")));

    // One of the two missed deliveries comes late and is appended all the same; the other the gate has kept apart.
    let at = kafka.event(&event(Some(first), second.clone(), 20)).await;
    let half = service.get(&format!("/users/7?at_least={at}")).await;
    assert_eq!(half.json()["_meta"]["continuity"]["unbroken"], false);
    kafka.late(&event(Some(second), third, 30)).await;
    until_unbroken(&service, "/users/7").await;
    let whole = service.get("/users/7").await;
    assert_eq!(
        (whole.json()["name"].as_str(), service.get("/status").await.json()["gaps"]["lost"].as_u64()),
        (Some("newest"), Some(0))
    );
    assert_eq!(whole.header("etag"), broken.header("etag"), "the tag is of the user, not of what is missing");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_delivery_that_is_seen_before_its_gap_leaves_none() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let (first, second, other) = (user(7, "first"), user(7, "second"), user(8, "other"));
    kafka.event(&event(None, first.clone(), 10)).await;
    kafka.late(&event(Some(first), second.clone(), 20)).await;
    // The late topic is read in its order: when the second user's gap is closed, the first user's late event has been
    // read.
    kafka.event(&event(None, user(8, "one"), 10)).await;
    let at = kafka.event(&event(Some(other.clone()), user(8, "newest"), 30)).await;
    assert_eq!(service.get(&format!("/users/8?at_least={at}")).await.json()["_meta"]["continuity"]["unbroken"], false);
    kafka.late(&event(Some(user(8, "one")), other, 20)).await;
    until_unbroken(&service, "/users/8").await;

    let at = kafka.event(&event(Some(second), user(7, "newest"), 30)).await;
    let whole = service.get(&format!("/users/7?at_least={at}")).await;
    assert_eq!(whole.json()["name"], "newest");
    assert_eq!(whole.json()["_meta"]["continuity"]["unbroken"], true);
    service.stop().await;
}

/// The time by which the service of the next test goes.
static NOW: AtomicI64 = AtomicI64::new(0);

fn clock() -> UnixMillis {
    UnixMillis::from_millis(NOW.load(Ordering::Relaxed))
}

/// Asserts that the user, the list, `/changes`, `/status` and the gauges say the same of the one gap that there is.
async fn assert_everybody_says(service: &Service, state: &str, why: &str) {
    let (awaited, lost) = if state == "awaited" { (1, 0) } else { (0, 1) };
    let gauges = async || {
        let awaited = service.metric("rollcall_projector_gaps{state=\"awaited\"}").await;
        Some((awaited?, service.metric("rollcall_projector_gaps{state=\"lost\"}").await?))
    };
    eventually(why, PATIENCE, async || (gauges().await == Some((awaited, lost))).then_some(())).await;
    let status = service.get("/status").await.json();
    assert_eq!([&status["gaps"]["awaited"], &status["gaps"]["lost"]], [awaited, lost], "{why}");
    assert_eq!(status["gaps"]["listed"][0]["state"], state, "{why}");
    let user = service.get("/users/7").await.json();
    let list = service.get("/users").await.json();
    assert_eq!(list["users"][0], user, "{why}");
    let continuity = &user["_meta"]["continuity"];
    assert_eq!(continuity["gaps"][0]["state"], state, "{why}");
    assert_eq!([&continuity["unbroken"], &continuity["stateIsWhole"]], [false, true], "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_delivery_is_awaited_then_lost_as_time_passes_and_after_a_restart() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    NOW.store(at(40).millis(), Ordering::Relaxed);
    let service = Service::start_at(&kafka, &store, clock).await;
    service.ready().await;
    kafka.event(&event(None, user(7, "first"), 10)).await;
    let shows = kafka.event(&event(Some(user(7, "missed")), user(7, "newest"), 40)).await;
    assert_eq!(service.get(&format!("/users/7?at_least={shows}")).await.status, 200);
    assert_everybody_says(&service, "awaited", "the vendor retries").await;
    NOW.store(at(40).millis() + RETRIES_MAX_MS - 1, Ordering::Relaxed);
    assert_everybody_says(&service, "awaited", "to the end").await;
    NOW.store(at(40).millis() + RETRIES_MAX_MS, Ordering::Relaxed);
    assert_everybody_says(&service, "lost", "without any record").await;
    service.stop().await;

    // With half a minute between two looks, what is there when the service is ready was counted at its start.
    let service = Service::start_with(&kafka, &store, |_| {}).await;
    service.ready().await;
    assert_eq!(service.metric("rollcall_projector_gaps{state=\"lost\"}").await, Some(1), "right after a restart");
    service.stop().await;

    let service = Service::start_at(&kafka, &store, clock).await;
    kafka.late(&event(Some(user(7, "first")), user(7, "missed"), 20)).await;
    until_unbroken(&service, "/users/7").await;
    let filled = async || {
        let lost = service.metric("rollcall_projector_gaps{state=\"lost\"}").await;
        (lost == Some(0)).then_some(())
    };
    eventually("the gauge is back", PATIENCE, filled).await;
    service.stop().await;
}
