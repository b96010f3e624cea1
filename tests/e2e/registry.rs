//! A real schema registry: Apicurio, in memory. Both framings and two versions of the schema are mixed on one topic,
//! and every reader reads all of it.
//!
//! Left out, with a line that says so, where there is no Java, or Maven cannot fetch the registry.

use std::time::Duration;

use domain::UserEvent;
use domain::headers::REASSERTED;
use domain::topics::Names;
use domain::wire::{self, Framing, SCHEMAS, schema_id};
use kafka::ClientOptions;
use kafka::publish::{Limits, Outgoing, Publisher};
use serde_json::{Value, json};
use service::registry::{Options as Registry, Patience, Schemas};
use service::{Metrics, settings};
use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::deliveries::{CHANGED, CREATED};
use testkit::event::{changed, created};
use testkit::{Http, eventually};
use upkeep::verify::{Options, Report, verify};

use crate::support::apicurio::Apicurio;
use crate::support::broker::{Broker, on_both_brokers};
use crate::support::engine::leave_out_of_ecosystem;
use crate::support::system::{Ingest, Projector, now};

on_both_brokers!(framings_and_versions_are_mixed_on_one_topic);

/// How long a service may take to do what is waited for.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The length of the marker and the fingerprint.
const SINGLE_OBJECT_LEN: usize = 10;

async fn framings_and_versions_are_mixed_on_one_topic(broker: &Broker) {
    let test = "registry::framings_and_versions_are_mixed_on_one_topic";
    let registry = match Apicurio::shared().await {
        Ok(registry) => registry,
        Err(why) => return leave_out_of_ecosystem(test, why),
    };
    let (names, options) = (broker.make_topics(1).await, broker.client_options());
    let ingest = Ingest::start(&options, &names, |raw| raw.registry.url = registry.url()).await;
    ingest.ready().await;
    let store = TempDir::new().expect("a folder can be made");
    let projector = projector(&options, &names, &store, registry).await;

    // What ingest writes names the schema by an id, which the registry knows as the released file.
    ingest.post(CREATED).await;
    let delivered = ingest.post(CHANGED).await.text("/position");
    let records = read_all(&options, &names.users).await;
    let id = records[0].value.as_deref().and_then(schema_id).expect("the framing is Confluent's");
    assert_eq!(registry.get(&format!("/schemas/ids/{id}")).await["schema"], SCHEMAS[0]);
    let subject = format!("{}-value", names.users);
    assert_eq!(registry.get(&format!("/config/{subject}")).await["compatibilityLevel"], "FULL_TRANSITIVE");

    // Others write as well: in the other framing, with a version 2, and with the schema of something else.
    let version_2 = registry.register(&subject, &version_2().to_string()).await.json()["id"].as_u64();
    let version_2 = u32::try_from(version_2.expect("an optional field is compatible")).expect("it is an id");
    assert_eq!(registry.register(&subject, &incompatible()).await.status, 409, "FULL_TRANSITIVE is in force");
    let stranger = registry.register(&format!("{subject}-other"), "\"string\"").await.json()["id"].as_u64();
    let stranger = u32::try_from(stranger.expect("it is registered")).expect("it is an id");
    let publisher = Publisher::open(&options, Limits::default()).expect("the options are usable");
    let append = async |event: &UserEvent, value: Vec<u8>| {
        let record = Outgoing { value: Some(value), ..Outgoing::event(event, &names.users, None) };
        publisher.publish(record).await.expect("the broker takes a record");
    };
    let plain = created(1, "plain", 1);
    append(&plain, wire::encode(&plain)).await;
    let second = changed(2, "a", "of version 2", 2);
    append(&second, in_version_2(&second, version_2)).await;
    let strange = created(3, "nobody knows", 3);
    append(&strange, Framing::Registered(stranger).encode(&strange)).await;
    // An older event comes last: the keeper appends the newer one again, with the bytes that version 2 wrote.
    let older = changed(2, "0", "a", 1);
    append(&older, wire::encode(&older)).await;
    let records = eventually("the keeper repairs the key", WAIT_MAX, async || {
        let records = read_all(&options, &names.users).await;
        records.last()?.header(REASSERTED).is_some().then_some(records)
    });
    assert_eq!(records.await.last().and_then(|last| last.value.clone()), Some(in_version_2(&second, version_2)));

    let report = verified(&options, &names, registry).await;
    assert_eq!((report.unknown.count, report.unreadable.count, report.dirty.count), (1, 0, 0), "{report:?}");
    let live = users(&projector.http, &delivered).await;
    assert_eq!(
        live,
        [("1".to_owned(), "plain".to_owned()), ("2".to_owned(), "of version 2".to_owned()), known_180(&live)]
    );
    projector.stop().await.expect("the projector ends well");
    let rebuilt = TempDir::new().expect("a folder can be made");
    let again = self::projector(&options, &names, &rebuilt, registry).await;
    assert_eq!(users(&again.http, &delivered).await, live, "rebuilt as it was live");
    again.stop().await.expect("the projector ends well");
    ingest.stop().await.expect("ingest ends well");
}

async fn projector(options: &ClientOptions, names: &Names, store: &TempDir, registry: &Apicurio) -> Projector {
    let projector = Projector::start(options, names, store.path(), |raw| raw.registry.url = registry.url()).await;
    projector.ready().await;
    projector
}

/// Returns the schema of a version 2: a further optional field at the end.
pub(crate) fn version_2() -> Value {
    let mut schema: Value = serde_json::from_str(SCHEMAS[0]).expect("a schema is JSON");
    let fields = schema["fields"].as_array_mut().expect("it is a record");
    fields.push(json!({ "name": "campaign", "type": ["null", "string"], "default": null }));
    schema
}

fn incompatible() -> String {
    SCHEMAS[0].replace(r#"{"name": "timestamp", "type": "string""#, r#"{"name": "timestamp", "type": "long""#)
}

/// Returns the event as version 2 has it: its campaign is "summer".
pub(crate) fn in_version_2(event: &UserEvent, id: u32) -> Vec<u8> {
    let datum = &wire::encode(event)[SINGLE_OBJECT_LEN..];
    [&[0], id.to_be_bytes().as_slice(), datum, b"\x02\x0csummer"].concat()
}

async fn verified(options: &ClientOptions, names: &Names, registry: &Apicurio) -> Report {
    let raw = settings::Registry { url: registry.url(), ..Default::default() };
    let registry: Registry = raw.options(&mut Default::default());
    let schemas = Schemas::open(registry, &names.users, Patience::COMMAND, &Metrics::new()).await;
    let options = Options {
        kafka: options.clone(),
        topics: names.clone(),
        schemas: schemas.expect("the registry answers"),
        threads: 1,
        settle: WAIT_MAX,
        now: now(),
        since: WAIT_MAX,
        retention: Default::default(),
        keep_winners: false,
    };
    let verified = tokio::task::spawn_blocking(move || verify(&options, |_, _| ()));
    verified.await.expect("verifying does not panic").expect("the log can be read")
}

/// Returns the users with their names, once the projector has read the repair.
async fn users(http: &Http, position: &str) -> Vec<(String, String)> {
    eventually("every user is there", WAIT_MAX, async || {
        let users = http.get(&format!("/users?at_least={position}&wait_ms=30000")).await.json();
        let users = users["users"].as_array()?.iter();
        let users: Vec<_> = users
            .map(|user| (user["userId"].to_string(), user["name"].as_str().unwrap_or_default().to_owned()))
            .collect();
        users.iter().any(|(_, name)| name == "of version 2").then_some(users)
    })
    .await
}

fn known_180(users: &[(String, String)]) -> (String, String) {
    let known = users.iter().find(|(id, _)| id == "180");
    known.cloned().expect("the user of the deliveries is there")
}
