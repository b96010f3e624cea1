//! Kafka Connect: the state topic as a table of PostgreSQL, with upserts and deletions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use kafka::publish::{Limits, Outgoing, Publisher};
use testkit::deliveries::{delivery, name};
use testkit::event::user_id;
use testkit::eventually;

use super::postgres::Postgres;
use super::tools::{Background, built};
use super::topic::PARTITIONS;
use crate::support::apicurio::Apicurio;
use crate::support::broker::{Broker, on_kafka};
use crate::support::engine::{free_port, leave_out_of_ecosystem};
use crate::support::system::{Ingest, now};

const BUILD: &[&[&str]] = &[&["mvn", "-q", "-B", "dependency:copy-dependencies"]];
const USERS: u64 = 10;
/// The user who is forgotten, and the one who changes.
const FORGOTTEN: i64 = 5;
const CHANGED: u64 = 6;
/// How long the worker may take to start and to write.
const WRITE_MAX: Duration = Duration::from_secs(300);

#[test]
#[ignore = "slow: .ci/full runs it"]
fn connect_keeps_a_table_of_postgresql() {
    on_kafka("examples::connect_keeps_a_table_of_postgresql", connect);
}

async fn connect(broker: &Broker) {
    let ready = async {
        let dir = built("connect", BUILD)?;
        Ok::<_, String>((dir, Apicurio::shared().await?, Postgres::start().await?))
    };
    let (dir, registry, postgres) = match ready.await {
        Ok(ready) => ready,
        Err(why) => return leave_out_of_ecosystem("examples::connect_keeps_a_table_of_postgresql", &why),
    };
    let options = broker.client_options();
    let names = broker.make_topics(PARTITIONS).await;
    let names = broker.make_state_topic(names, PARTITIONS).await;
    let state = names.state.clone().expect("it was made");
    let ingest = Ingest::start(&options, &names, |raw| {
        raw.registry.url = registry.url();
        raw.state_topic.enabled = true;
        raw.state_topic.topic = state.clone();
    });
    let ingest = ingest.await;
    ingest.ready().await;
    for user in 1..=USERS {
        assert_eq!(ingest.post(delivery(user, 0)).await.status, StatusCode::OK);
    }

    let rest = format!("http://localhost:{}", free_port());
    adapted(&dir, "worker.properties", &[("localhost:9092", &options.bootstrap), ("http://localhost:8083", &rest)]);
    adapted(
        &dir,
        "users.properties",
        &[
            ("topics=vcc.users.state", &format!("topics={state}")),
            ("jdbc:postgresql://localhost:5432/rollcall", &postgres.jdbc()),
            ("http://localhost:8080/apis/registry/v2", &registry.own_url()),
        ],
    );
    drop(fs::remove_file(dir.join("connect.offsets")));
    let command = ["java", "-Xmx512m", "-cp", "target/dependency/*", "org.apache.kafka.connect.cli.ConnectStandalone"];
    let command = [&command[..], &["run.worker.properties", "run.users.properties"]].concat();
    let _running = Background::start(&dir, "connect.log", &command);

    let mut expected: BTreeMap<u64, String> = (1..=USERS).map(|user| (user, name(user, 0))).collect();
    written(&postgres, &expected).await;
    // Upsert and deletion, while it runs.
    assert_eq!(ingest.post(delivery(CHANGED, 1)).await.status, StatusCode::OK);
    let publisher = Publisher::open(&options, Limits::default()).expect("the options are usable");
    let forgotten = Outgoing::forgotten(user_id(FORGOTTEN), &names.users, now(), now());
    publisher.publish(forgotten).await.expect("the broker takes a record");
    expected.insert(CHANGED, name(CHANGED, 1));
    expected.remove(&FORGOTTEN.unsigned_abs());
    written(&postgres, &expected).await;
    ingest.stop().await.expect("ingest ends well");
}

/// Writes a copy of a file of the example that has the addresses of this run.
fn adapted(dir: &Path, file: &str, places: &[(&str, &str)]) {
    let mut text = fs::read_to_string(dir.join(file)).expect("the example has the file");
    for (place, address) in places {
        assert!(text.contains(place), "{file} has {place}");
        text = text.replace(place, address);
    }
    fs::write(dir.join(format!("run.{file}")), text).expect("the folder can be written");
}

/// Waits until the table has the users, each with its name, and nobody else.
async fn written(postgres: &Postgres, expected: &BTreeMap<u64, String>) {
    eventually("the table has the users", WRITE_MAX, async || {
        let rows = postgres.rows(r#"SELECT "userId", name FROM users"#)?;
        let rows = rows.iter().map(|row| Some((row["userId"].as_u64()?, row["name"].as_str()?.to_owned())));
        (rows.collect::<Option<BTreeMap<_, _>>>()? == *expected).then_some(())
    })
    .await;
}
