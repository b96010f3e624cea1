//! The schema registry: what is asked of it, and what happens while it does not answer.

#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::sync::Arc;
use std::time::Duration;

use domain::wire::{Framing, Ids, SCHEMAS};
use service::Metrics;
use service::config::Faults;
use service::registry::{Error, Options, Patience, Schemas};
use service::settings::Registry;
use testkit::eventually;
use testkit::registry::FakeRegistry;
use testkit::wait::PATIENCE;

const USERS: &str = "vcc.users";
const LATE: &str = "vcc.users.late";
const SUBJECT: &str = "vcc.users-value";

fn options(registry: Registry) -> Options {
    let mut faults = Faults::default();
    let options = registry.options(&mut faults);
    faults.or(options).unwrap()
}

fn at(registry: &FakeRegistry) -> Registry {
    Registry { url: registry.url(), ..Registry::default() }
}

async fn open(registry: Registry) -> Result<Schemas, Error> {
    Schemas::open(options(registry), USERS, Patience::SERVICE, &Metrics::new()).await
}

fn value(id: u32) -> [u8; 5] {
    let [a, b, c, d] = id.to_be_bytes();
    [0, a, b, c, d]
}

fn unlisted(ids: &Ids, id: u32) -> Option<u32> {
    ids.unlisted(&value(id))
}

#[tokio::test]
async fn the_writer_registers_its_schema_and_sets_the_compatibility() {
    let registry = FakeRegistry::start().await;
    registry.register("other-value", "\"string\"");
    let schemas = open(at(&registry)).await.unwrap();
    assert_eq!(schemas.register(&[USERS, LATE]).await.unwrap(), Framing::Registered(2));
    for subject in [SUBJECT, "vcc.users.late-value"] {
        assert_eq!(registry.compatibility(subject).as_deref(), Some("FULL_TRANSITIVE"));
    }
    assert_eq!(unlisted(&schemas.known(), 2), None, "its own id is known");
    let again = open(at(&registry)).await.unwrap();
    assert_eq!(unlisted(&again.known(), 2), None, "a reader asks for it when it starts");
}

#[tokio::test]
async fn without_leave_to_register_everything_must_be_there() {
    let registry = FakeRegistry::start().await;
    let asked = || Registry { auto_register: false, ..at(&registry) };
    let schemas = open(asked()).await.unwrap();
    let error = schemas.register(&[USERS]).await.unwrap_err();
    assert!(matches!(error, Error::NotRegistered { .. }), "{error}");
    registry.register(SUBJECT, SCHEMAS[0]);
    let error = schemas.register(&[USERS]).await.unwrap_err();
    assert!(error.to_string().contains("BACKWARD, expected FULL_TRANSITIVE"), "{error}");
    registry.set_compatibility(SUBJECT, "FULL_TRANSITIVE");
    assert_eq!(schemas.register(&[USERS]).await.unwrap(), Framing::Registered(1));
    let writes =
        registry.requests().into_iter().filter(|request| request.ends_with("versions") || request.starts_with("PUT"));
    assert_eq!(writes.count(), 0, "nothing is written to the registry");
}

#[tokio::test]
async fn a_registry_that_does_not_answer_at_the_start_is_an_error() {
    let registry = FakeRegistry::start().await;
    registry.set_away(true);
    let error = open(at(&registry)).await.unwrap_err();
    assert!(matches!(error, Error::Unanswered { .. }), "{error}");
    registry.set_away(false);
    let elsewhere = Registry { url: registry.url().replace("ccompat", "other"), ..at(&registry) };
    let error = open(elsewhere).await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 404, .. }), "{error}");
    registry.demand("Bearer x");
    let error = open(at(&registry)).await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 401, .. }), "{error}");
}

#[tokio::test]
async fn requests_carry_what_they_are_authorized_by() {
    let registry = FakeRegistry::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "t0ken\n").unwrap();
    registry.demand("Bearer t0ken");
    let with_token = open(Registry { token_file: file.path().to_owned(), ..at(&registry) }).await.unwrap();
    registry.demand("Basic dTpw");
    open(Registry { username: "u".to_owned(), password: Some(service::Secret::new("p")), ..at(&registry) })
        .await
        .unwrap();
    // A token that was renewed is read without a restart.
    registry.demand("Bearer next");
    assert!(with_token.register(&[USERS]).await.is_err());
    std::fs::write(file.path(), "next").unwrap();
    with_token.register(&[USERS]).await.unwrap();
}

#[tokio::test]
async fn an_id_that_cannot_be_looked_up_is_waited_for() {
    let registry = FakeRegistry::start().await;
    let metrics = Metrics::new();
    let schemas = Schemas::open(options(at(&registry)), USERS, Patience::SERVICE, &metrics).await.unwrap();
    let (ours, other) = (registry.register(SUBJECT, SCHEMAS[0]), registry.register("x-value", "\"string\""));
    registry.set_away(true);
    let mut settling = Box::pin(schemas.settle([ours, other, 99]));
    let is_waiting = eventually("a reader waits", PATIENCE, async || {
        metrics.encode().contains("rollcall_registry_waiting 1").then_some(())
    });
    tokio::select! {
        settled = &mut settling => panic!("nothing is concluded while it is away: {settled:?}"),
        () = is_waiting => {}
    }
    registry.set_away(false);
    let ids = settling.await.unwrap();
    assert_eq!([ours, other, 99].map(|id| unlisted(&ids, id)), [None; 3]);
    assert!(metrics.encode().contains("rollcall_registry_waiting 0"));
    let asked = registry.requests().len();
    schemas.settle([ours, other, 99]).await.unwrap();
    assert_eq!(registry.requests().len(), asked, "what is known is not asked for");
}

#[tokio::test]
async fn a_command_waits_no_longer_than_its_patience() {
    let registry = FakeRegistry::start().await;
    let schemas =
        Schemas::open(options(at(&registry)), USERS, Patience::of(Duration::ZERO), &Metrics::new()).await.unwrap();
    registry.set_away(true);
    let error = schemas.settle([5]).await.unwrap_err();
    assert!(error.to_string().contains("schema id 5"), "{error}");
}

#[tokio::test]
async fn without_a_registry_ids_are_as_configured() {
    let schemas = open(Registry { ids: [("7".to_owned(), 1)].into(), ..Registry::default() }).await.unwrap();
    assert_eq!(schemas.register(&[USERS]).await.unwrap(), Framing::SingleObject);
    let ids: Arc<Ids> = schemas.settle([7, 8]).await.unwrap();
    assert_eq!((unlisted(&ids, 7), unlisted(&ids, 8)), (None, Some(8)));
}
