//! Records that name their schema by the id of a registry: live, rebuilt, and while the registry does not answer.

use domain::wire::{Framing, SCHEMAS};
use tempfile::TempDir;
use testkit::broker::Log;
use testkit::event::{changed, created};
use testkit::eventually;
use testkit::registry::FakeRegistry;

use crate::support::{PATIENCE, Service};

const SUBJECT: &str = "vcc.users-value";

#[tokio::test(flavor = "multi_thread")]
async fn both_framings_are_read_live_and_rebuilt() {
    let registry = FakeRegistry::start().await;
    let id = registry.register(SUBJECT, SCHEMAS[0]);
    let (log, store, url) = (Log::start(1), TempDir::new().unwrap(), registry.url());
    log.event(&created(1, "a", 1)).await;
    log.framed(&created(2, "b", 1), Framing::Registered(id)).await;
    let projector = Service::start_with(&log, &store, |raw| raw.registry.url = url.clone()).await;
    projector.ready().await;
    log.framed(&changed(1, "a", "c", 2), Framing::Registered(id)).await;
    let last = log.event(&changed(2, "b", "d", 2)).await;
    let users = async |service: &Service| {
        let page = service.get(&format!("/users?at_least={last}&wait_ms=10000")).await.json();
        let users = page["users"].as_array().unwrap().iter();
        users.map(|user| user["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(users(&projector).await, ["c", "d"]);
    projector.stop().await;

    // A store keeps events so that they can be read without the registry's ids.
    let bare = Service::start(&log, &store).await;
    bare.ready().await;
    assert_eq!(users(&bare).await, ["c", "d"]);
    bare.stop().await;

    let other = TempDir::new().unwrap();
    let rebuilt = Service::start_with(&log, &other, |raw| raw.registry.url = url).await;
    rebuilt.ready().await;
    assert_eq!(users(&rebuilt).await, ["c", "d"]);
    rebuilt.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_id_cannot_be_looked_up_is_waited_for() {
    let registry = FakeRegistry::start().await;
    let (log, store, url) = (Log::start(1), TempDir::new().unwrap(), registry.url());
    let projector = Service::start_with(&log, &store, |raw| raw.registry.url = url).await;
    projector.ready().await;
    registry.set_away(true);
    let id = registry.register(SUBJECT, SCHEMAS[0]);
    log.framed(&created(1, "a", 1), Framing::Registered(id)).await;
    let waits = async |count: i64| {
        let waiting = async || (projector.metric("rollcall_registry_waiting").await == Some(count)).then_some(());
        eventually("a reader waits, or none", PATIENCE, waiting).await;
    };
    waits(1).await;
    assert_eq!(projector.get("/users/1").await.status, 404, "it is not passed over, and not guessed");
    registry.set_away(false);
    waits(0).await;
    eventually("the user is there", PATIENCE, async || (projector.get("/users/1").await.status == 200).then_some(()))
        .await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_unknown_for_want_of_an_id_is_read_once_the_id_is_known() {
    let registry = FakeRegistry::start().await;
    let (id, url) = (registry.register(SUBJECT, SCHEMAS[0]), registry.url());
    let other = registry.register("other-value", "\"string\"");
    let (log, store) = (Log::start(1), TempDir::new().unwrap());
    log.framed(&created(1, "before", 1), Framing::Registered(id)).await;
    let last = log.event(&created(2, "plain", 1)).await;
    let projector = Service::start(&log, &store).await;
    projector.ready().await;
    assert_eq!(status(&projector, 1, last).await, 404);
    log.framed(&created(3, "live", 1), Framing::Registered(id)).await;
    let last = log.framed(&created(4, "of something else", 1), Framing::Registered(other)).await;
    assert_eq!(status(&projector, 3, last).await, 404);
    projector.stop().await;

    let again = Service::start(&log, &store).await;
    again.ready().await;
    assert_eq!(again.rebuilds().await, 0, "nothing is known that was not");
    again.stop().await;
    for rebuilds in [1, 0] {
        let named = Service::start_with(&log, &store, |raw| raw.registry.url = url.clone()).await;
        named.ready().await;
        assert_eq!(named.rebuilds().await, rebuilds);
        assert_eq!(status(&named, 1, last).await, 200);
        assert_eq!((status(&named, 3, last).await, status(&named, 4, last).await), (200, 404));
        named.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_the_settings_is_known_at_the_next_start() {
    const ID: u32 = 17;
    let (log, store) = (Log::start(1), TempDir::new().unwrap());
    let last = log.framed(&created(1, "a", 1), Framing::Registered(ID)).await;
    for (ids, expected) in [(None, 404), (Some(ID), 200)] {
        let listed = |raw: &mut projector::Raw| raw.registry.ids.extend(ids.map(|id| (id.to_string(), 1)));
        let projector = Service::start_with(&log, &store, listed).await;
        projector.ready().await;
        assert_eq!(status(&projector, 1, last).await, expected);
        projector.stop().await;
    }
}

/// Returns the status of the answer about a user, once the record at `position` was read.
async fn status(projector: &Service, user: i64, position: domain::Position) -> u16 {
    projector.get(&format!("/users/{user}?at_least={position}&wait_ms=10000")).await.status.as_u16()
}
