//! Very large users: what is in memory at once stops at about a mebibyte, and nobody is left out.

use std::collections::BTreeSet;

use domain::User;
use serde_json::Value;
use testkit::broker::Log;
use testkit::event::{event, user};

use crate::events::Events;
use crate::support::{Service, get};

const USERS: i64 = 24;
const NAME_BYTES: usize = 250_000;
/// A step, the event that goes beyond it, and what JSON adds.
const STEP_BYTES_MAX: usize = (1 << 20) + 2 * NAME_BYTES;

fn large(id: i64, letter: &str) -> User {
    User { extension: Some("same".to_owned()), ..user(id, &letter.repeat(NAME_BYTES)) }
}

fn ids(users: &Value) -> Vec<i64> {
    users.as_array().unwrap().iter().map(|user| user["userId"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_streams_stop_at_a_mebibyte_and_leave_nobody_out() {
    let (kafka, store) = (Log::start(12), tempfile::tempdir().unwrap());
    for id in 0..USERS {
        kafka.event(&event(None, large(id, "a"), 1)).await;
    }
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let everybody: Vec<i64> = (0..USERS).collect();

    let (mut next, mut found) = (Some("/users?limit=1000".to_owned()), Vec::new());
    while let Some(path) = next {
        let page = service.get(&path).await;
        assert!(page.body.len() < STEP_BYTES_MAX, "{path}: {} bytes", page.body.len());
        let page = page.json();
        found.extend(ids(&page["users"]));
        next = page["next"].as_str().map(|next| format!("/{next}"));
    }
    assert_eq!(found, everybody);

    let lines = get(service.http, "/users", &[("accept", "application/x-ndjson")]).await;
    assert_eq!(lines.body_text().lines().count(), everybody.len());
    let matching = service.get("/users/by-extension/same").await.json();
    assert_eq!(ids(&matching["users"]), everybody);

    let mut events = Events::open(&service, "/changes", None).await;
    let table = events.until("caught-up").await;
    let first = table.last().unwrap().id.clone().unwrap();
    assert_eq!(seen(&table), everybody.iter().copied().collect());
    for id in 0..USERS {
        kafka.event(&event(Some(large(id, "a")), large(id, "b"), 2)).await;
    }
    events.take(everybody.len()).await;
    let mut later = Events::open(&service, "/changes", Some(&first)).await;
    let history = later.until("caught-up").await;
    assert_eq!(seen(&history), everybody.iter().copied().collect());
    drop((events, later));
    service.stop().await;
}

fn seen(events: &[crate::events::Event]) -> BTreeSet<i64> {
    events.iter().filter_map(|event| event.data.as_ref()?["userId"].as_i64()).collect()
}
