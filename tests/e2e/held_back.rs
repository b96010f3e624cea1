//! A transaction of any producer on the topic of users holds back every reader while it is open. Everybody says so, and
//! nobody concludes anything from the part of the log that can be read; when it ends, however it ends, all goes on.

use std::time::Duration;

use domain::topics::{MAX_COMPACTION_LAG, MIN_COMPACTION_LAG, Names, Spec};
use hyper::{Method, StatusCode};
use kafka::ClientOptions;
use kafka::publish::Outgoing;
use serde_json::Value;
use tempfile::TempDir;
use testkit::broker::publisher;
use testkit::deliveries::delivery;
use testkit::event::user_id;
use testkit::eventually;

use crate::support::broker::{Broker, on_kafka};
use crate::support::process::{Finished, Process, cluster_arguments};
use crate::support::system::{Ingest, Projector, System, event_of, now};
use crate::support::transaction::Transaction;

/// How long a condition is waited for: longer than a command waits for the end of a transaction.
const PATIENCE: Duration = Duration::from_secs(120);
/// When the keeper of these tests appends a tombstone once more.
const RENEWED_AFTER_MS: &str = "3000";
/// What everybody says.
const HELD_BACK: &str = "held back by an open transaction since ";

#[test]
fn until_a_transaction_is_committed() {
    on_kafka("held_back::until_a_transaction_is_committed", async |broker| held_back(broker, true).await);
}

#[test]
fn until_a_transaction_is_aborted() {
    on_kafka("held_back::until_a_transaction_is_aborted", async |broker| held_back(broker, false).await);
}

async fn held_back(broker: &Broker, is_committed: bool) {
    let system = System::start_with(broker, 1, |raw| raw.ready.behind_max_seconds = 20).await;
    let delivered = system.ingest.post(delivery(1, 0)).await;
    assert_eq!(system.user_after(1, &delivered).await.status, StatusCode::OK);
    all_is_well(&system).await;
    assert!(verify(&system).await.status.success());

    let event = event_of(&delivery(2, 0));
    let transaction = Transaction::prepare(&system.options, &system.names).await.append(&event).await;
    let stored = system.ingest.post(delivery(3, 0)).await;
    assert_eq!(stored.text("/status"), "stored");
    the_projector_says_so(&system).await;
    until(&system.ingest, "the gate is withdrawn", is_held_back).await;
    let empty = TempDir::new().expect("a folder can be made");
    let begun = Projector::start(&system.options, &system.names, empty.path(), |_| {}).await;
    a_new_table_has_what_can_be_read(&begun).await;
    assert_eq!(system.ingest.post(delivery(1, 0)).await.text("/status"), "stored", "nothing is known to be a repeat");
    let before = end_offset(&system).await;
    let (verified, forgotten) = tokio::join!(verify(&system), forget(&system, 3));
    for refused in [verified, forgotten] {
        assert!(!refused.status.success() && refused.stderr.contains(HELD_BACK), "{refused:?}");
    }
    assert_eq!(end_offset(&system).await, before, "no tombstone was written");

    let user = if is_committed {
        transaction.commit().await;
        StatusCode::OK
    } else {
        transaction.abort().await;
        StatusCode::NOT_FOUND
    };
    assert_eq!(system.user_after(3, &stored).await.status, StatusCode::OK);
    all_is_well(&system).await;
    begun.ready().await;
    begun.stop().await.expect("the projector ends well");
    assert_eq!(status_of(&system, 2).await, user);
    assert_eq!(system.ingest.post(delivery(1, 0)).await.text("/status"), "duplicate");
    let verified = verify(&system).await;
    assert!(verified.status.success(), "{verified:?}");
    let forgotten = forget(&system, 3).await;
    assert!(forgotten.status.success(), "{forgotten:?}");
    eventually("the user is gone", PATIENCE, async || (status_of(&system, 3).await == StatusCode::GONE).then_some(()))
        .await;
    system.stop().await;
}

#[test]
fn the_keeper_appends_nothing_twice() {
    on_kafka("held_back::the_keeper_appends_nothing_twice", the_keeper_appends_nothing_twice_while_held_back);
}

/// What the keeper appends is held back, too: it does not see it.
async fn the_keeper_appends_nothing_twice_while_held_back(broker: &Broker) {
    let (options, names) = (broker.client_options(), Names::default());
    let of = |topic: &str| format!("keeper.{topic}");
    let (users, late, dead_letter) = (of(&names.users), of(&names.late), of(&names.dead_letter));
    let names = Names { users, late, dead_letter, ..names };
    let [users, late, dead_letter] = Spec::contract(&names, 1, 1).try_into().expect("three topics");
    let users = users.with(MIN_COMPACTION_LAG, "0").with(MAX_COMPACTION_LAG, RENEWED_AFTER_MS);
    kafka::topics::create(&options, &[users, late, dead_letter], PATIENCE).await.expect("Kafka makes the topics");
    let ingest = Ingest::start(&options, &names, |_| {}).await;
    ingest.ready().await;
    until(&ingest, "the gate is in force", is_in_force).await;
    let transaction = Transaction::prepare(&options, &names).await;
    let publisher = publisher(&options);
    // Due within seconds: while the transaction is open.
    publisher.publish(Outgoing::forgotten(user_id(1), &names.users, now(), now())).await.expect("it is stored");
    let transaction = transaction.append(&event_of(&delivery(2, 0))).await;
    until(&ingest, "the gate is withdrawn", is_held_back).await;
    // As long as three attempts of a keeper take that does not know.
    let verified = command(&options, &names, &["verify"]).await;
    assert!(verified.stderr.contains(HELD_BACK), "{verified:?}");
    transaction.commit().await;
    let renewals = "rollcall_keeper_renewals_total";
    until(&ingest, "the tombstone is renewed", |metrics| value(metrics, renewals) == Some(1.0)).await;
    until(&ingest, "the gate is in force again", is_in_force).await;
    assert_eq!(value(&ingest.metrics().await, renewals), Some(1.0));
    ingest.stop().await.expect("ingest ends well");
}

/// Waits until both services are as they are without a transaction.
async fn all_is_well(system: &System) {
    eventually("the services have read to the end of the log", PATIENCE, async || {
        let metrics = [system.projector.metrics().await, system.ingest.metrics().await];
        let status = system.projector.http.get("/status").await.json();
        let partition = &status["partitions"][0];
        let is_read = partition["lag"] == 0 && partition["heldBack"] == Value::Null;
        let is_ready = system.projector.readiness().await.status == StatusCode::OK;
        (is_read && is_ready && is_in_force(&metrics[1]) && value(&metrics[0], LAG) == Some(0.0)).then_some(())
    })
    .await;
}

const LAG: &str = "rollcall_projector_lag{messaging_destination_partition_id=\"0\"}";

/// Waits until status, metrics and readiness of the projector say that it is held back, and since when.
async fn the_projector_says_so(system: &System) {
    let projector = &system.projector;
    let refused = eventually("the projector is not ready", PATIENCE, async || {
        let answer = projector.readiness().await;
        (answer.status == StatusCode::SERVICE_UNAVAILABLE).then(|| answer.body_text().to_owned())
    })
    .await;
    assert!(refused.contains(HELD_BACK), "{refused}");
    let status = projector.http.get("/status").await.json();
    let partition = &status["partitions"][0];
    let offset = |name: &str| partition[name].as_i64().unwrap_or_else(|| panic!("{name} is missing in {status}"));
    assert!(offset("lag") >= 2 && offset("nextOffset") == 1 && offset("endOffset") >= 3, "{status}");
    assert!(partition["heldBack"].as_str().is_some_and(|text| text.starts_with(HELD_BACK)), "{status}");
    assert!(value(&projector.metrics().await, LAG).is_some_and(|lag| lag >= 2.0));
    assert!(status["asOf"].as_str() < status["cluster"]["lastAnswer"].as_str(), "{status}");
}

/// Waits until a projector that was started meanwhile answers, and says that it is not at the end of the log.
async fn a_new_table_has_what_can_be_read(projector: &Projector) {
    eventually("the table is made", PATIENCE, async || {
        let answer = projector.http.send(Method::GET, "/users/1", "").await.ok()?;
        (answer.status == StatusCode::OK).then_some(())
    })
    .await;
    let readiness = projector.readiness().await;
    assert_eq!(readiness.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(readiness.body_text().contains(HELD_BACK), "{readiness:?}");
}

async fn until(ingest: &Ingest, what: &str, is_so: impl Fn(&str) -> bool) {
    eventually(what, PATIENCE, async || is_so(&ingest.metrics().await).then_some(())).await;
}

fn is_in_force(metrics: &str) -> bool {
    value(metrics, "rollcall_gate_in_force") == Some(1.0)
}

fn is_held_back(metrics: &str) -> bool {
    !is_in_force(metrics) && value(metrics, "rollcall_gate_withdrawn{reason=\"held_back\"}") == Some(1.0)
}

async fn end_offset(system: &System) -> i64 {
    let ends = kafka::topics::watermarks(&system.options, &system.names.users, PATIENCE).await.expect("Kafka answers");
    ends[0].high
}

async fn status_of(system: &System, user: u64) -> StatusCode {
    system.projector.http.send(Method::GET, &format!("/users/{user}"), "").await.expect("it answers").status
}

async fn verify(system: &System) -> Finished {
    command(&system.options, &system.names, &["verify", "--projector", &system.projector.url()]).await
}

async fn forget(system: &System, user: u64) -> Finished {
    command(&system.options, &system.names, &["forget", &user.to_string(), "--yes"]).await
}

async fn command(options: &ClientOptions, names: &Names, arguments: &[&str]) -> Finished {
    let cluster = cluster_arguments(options, names);
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).chain(cluster).collect();
    Process::start(&arguments).finished().await
}

/// Returns the value of a metric, named with its labels.
fn value(metrics: &str, name: &str) -> Option<f64> {
    let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    metrics.lines().find_map(of)
}
