//! Events that name their schema by the id of a registry, through the whole service.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod support;

use domain::headers::REASSERTED;
use domain::topics::Names;
use domain::wire::{Framing, SCHEMAS, schema_id};
use service::registry::{Options as Registry, Patience, Schemas};
use service::settings;
use support::Service;
use testkit::deliveries::{CHANGED, CREATED};
use testkit::registry::FakeRegistry;
use testkit::wait::PATIENCE;
use testkit::{event, eventually};
use upkeep::verify::{Options, Report, verify};

fn settings(registry: &FakeRegistry) -> String {
    format!("[registry]\nurl = '{}'", registry.url())
}

async fn verified(service: &Service, registry: Option<&FakeRegistry>) -> Report {
    let raw = settings::Registry { url: registry.map(FakeRegistry::url).unwrap_or_default(), ..Default::default() };
    let registry: Registry = raw.options(&mut Default::default());
    let schemas = Schemas::open(registry, "vcc.users", Patience::COMMAND, &service::Metrics::new()).await.unwrap();
    let options = Options {
        kafka: service.log.options(),
        topics: Names::default(),
        schemas,
        threads: 2,
        settle: PATIENCE,
        now: support::arrival(),
        since: PATIENCE,
        retention: Default::default(),
        keep_winners: true,
    };
    tokio::task::spawn_blocking(move || verify(&options, |_, _| ())).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn framings_are_mixed_on_one_topic_and_repairs_keep_them() {
    let registry = FakeRegistry::start().await;
    registry.register("other-value", "\"string\"");
    let service = Service::start(&settings(&registry)).await;
    service.measures("rollcall_gate_in_force 1").await;
    let id = registry.register("vcc.users-value", SCHEMAS[0]);
    service.answered(CHANGED, "duplicate").await;
    service.answered(CREATED, "superseded").await;
    let late = service.values("vcc.users.late").await;
    assert_eq!(late[0].value.as_deref().and_then(schema_id), Some(id), "late deliveries are framed as well");

    // Another writer appends an older event in the other framing; the repair is the newest, byte for byte.
    service.log.event(&event::created(180, "Rachel", 1)).await;
    let records = eventually("the keeper repairs the key", PATIENCE, async || {
        let records = service.values("vcc.users").await;
        records.last()?.header(REASSERTED).is_some().then_some(records)
    })
    .await;
    let ids = records.iter().map(|record| record.value.as_deref().and_then(schema_id));
    assert_eq!(ids.clone().filter(|own| *own == Some(id)).count(), records.len() - 1);
    assert_eq!(ids.filter(|own| own.is_none()).count(), 1, "the other writer's");
    assert_eq!(records.last().unwrap().value, records[0].value);

    let report = verified(&service, Some(&registry)).await;
    assert_eq!((report.unknown.count, report.unreadable.count, report.dirty.count), (0, 0, 0), "{report:?}");
    assert_eq!(report.users, 1);
    let blind = verified(&service, None).await;
    assert_eq!(blind.unknown.count, records.len() as u64 - 1, "without the registry nobody knows what these ids are");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_goes_away_stops_nothing_but_reading_past_what_is_not_known() {
    let registry = FakeRegistry::start().await;
    let service = Service::start(&settings(&registry)).await;
    service.measures("rollcall_gate_in_force 1").await;
    // Another writer registers the same schema once more elsewhere, so that its id has to be looked up.
    let id = registry.register("x-value", &format!("{}\n", SCHEMAS[0]));
    registry.set_away(true);
    assert_eq!(service.answered(CHANGED, "duplicate").await.status, 200);
    service.log.framed(&event::changed(7, "a", "b", 2), Framing::Registered(id)).await;
    service.measures("rollcall_registry_waiting 1").await;
    assert_eq!(service.answered(CHANGED, "duplicate").await.status, 200, "the gate goes on with what it has read");
    registry.set_away(false);
    service.measures("rollcall_registry_waiting 0").await;
    service.measures("rollcall_gate_keys 2").await;
    service.stop().await;
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_a_refusal_to_start() {
    let registry = FakeRegistry::start().await;
    registry.set_away(true);
    let refused = Service::refused(&settings(&registry)).await;
    let shown = service::telemetry::chain(&refused);
    assert!(shown.contains("the schema registry at http://127.0.0.1"), "{shown}");
}
