//! Deliveries that never came, and what closes the gaps they left.

use serde_json::json;
use testkit::broker::Log;
use testkit::event::{event, user};
use testkit::eventually;

use crate::support::{PATIENCE, Service};

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
    let gaps = json!([{"position": at.to_string(), "fields": ["hourly", "name", "state"]}]);
    assert_eq!(broken.json()["_meta"]["continuity"], json!({"unbroken": false, "gaps": gaps}));
    assert_eq!(service.get("/status").await.json()["gaps"]["open"], 1);

    // One of the two missed deliveries comes late and is appended all the same; the other the gate has kept apart.
    let at = kafka.event(&event(Some(first), second.clone(), 20)).await;
    let half = service.get(&format!("/users/7?at_least={at}")).await;
    assert_eq!(half.json()["_meta"]["continuity"]["unbroken"], false);
    kafka.late(&event(Some(second), third, 30)).await;
    until_unbroken(&service, "/users/7").await;
    let whole = service.get("/users/7").await;
    assert_eq!(
        (whole.json()["name"].as_str(), service.get("/status").await.json()["gaps"]["open"].as_u64()),
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
