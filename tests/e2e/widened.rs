//! A topic that somebody gave more partitions: both services and `topics check` say so, and a user with records on the
//! old partition and on the new one is forgotten on both, down to the bytes that the cleaner leaves.

use std::time::Duration;

use domain::topics::{Names, Spec};
use domain::{Letter, UserId};
use hyper::StatusCode;
use ingest::dead_letter;
use ingest::transport::BodyPolicy;
use kafka::ClientOptions;
use kafka::placement::partition_for;
use kafka::publish::{Outgoing, Publisher};
use kafka::topics::create;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use tempfile::TempDir;
use testkit::broker::{publisher, read_all};
use testkit::deliveries::delivery;
use testkit::eventually;
use upkeep::forget::{Log, forget};

use crate::support::broker::where_kafka_runs;
use crate::support::kafka::Kafka;
use crate::support::process::{Process, cluster_arguments};
use crate::support::system::{Ingest, Projector, Running, event_of, now};

const PARTITIONS: i32 = 1;
const WIDENED: i32 = 3;
/// A user whose key moves with the new partitions, and one whose records do nothing but close segments.
const USER: u64 = 181;
const ROLLER: u64 = 9_000;
/// How long the services may take to see new partitions, which they look for at intervals, or the cleaner may take.
const SEEN_MAX: Duration = Duration::from_secs(120);
/// How long Kafka may take to make or to widen a topic.
const ADMIN_MAX: Duration = Duration::from_secs(60);
/// How often segments are closed while the cleaner is waited for.
const ROLL_EVERY: Duration = Duration::from_millis(1_000);

#[test]
fn a_widened_topic_is_noticed_and_a_user_is_forgotten_on_every_partition() {
    where_kafka_runs("widened::a_widened_topic_is_noticed_and_a_user_is_forgotten_on_every_partition", async || {
        let kafka = Kafka::start(&[("KAFKA_LOG_CLEANER_BACKOFF_MS", "200")]).await;
        let (options, names) = (ClientOptions::new(kafka.bootstrap()), Names::default());
        make_topics(&options, &names).await;
        let store = TempDir::new().expect("a folder can be made");
        let ingest = Ingest::start(&options, &names, |raw| raw.topics.partitions = PARTITIONS).await;
        let lived = Projector::start(&options, &names, store.path(), |raw| raw.topics.partitions = PARTITIONS).await;
        ingest.ready().await;
        lived.ready().await;
        append(&publisher(&options), &names, USER, 0, None).await;
        let noticed = async |difference: i32| {
            until_measured(&ingest, difference).await;
            until_measured(&lived, difference).await;
        };
        noticed(0).await;
        widen(&options, &names).await;
        noticed(WIDENED - PARTITIONS).await;
        let check = ["topics", "check", "--replication", "1", "--set", "topics.partitions=1"].map(str::to_owned);
        let check: Vec<String> = check.into_iter().chain(cluster_arguments(&options, &names)).collect();
        let checked = Process::start(&check).finished().await;
        assert_eq!(checked.status.code(), Some(1));
        assert!(checked.stdout.contains("vcc.users: partitions is 3, expected 1 (warning)"), "{checked:?}");

        // A new client knows the new partitions.
        let publisher = publisher(&options);
        let home = partition_for(USER.to_string().as_bytes(), WIDENED);
        assert_ne!(home, 0, "the key of this user moves");
        append(&publisher, &names, USER, 1, None).await;
        let user_id: UserId = USER.to_string().parse().expect("an identifier");
        let mentions = move |letter: &Letter| dead_letter::mentions(letter, &BodyPolicy::default(), user_id);
        let log = Log::new(options.clone(), names.clone());
        let forgotten = forget(&log, &publisher, mentions, user_id, None, now()).await;
        let tombstones = forgotten.expect("the user is forgotten").positions;
        let partitions: Vec<i32> = tombstones.iter().map(|position| position.partition).collect();
        assert_eq!(partitions, [0, home]);

        until_the_cleaner_has_removed(&options, &names, &publisher).await;
        let empty = TempDir::new().expect("a folder can be made");
        let rebuilt = Projector::start(&options, &names, empty.path(), |_| {}).await;
        rebuilt.ready().await;
        for projector in [lived, rebuilt] {
            let reached = projector.http.get(&format!("/users/{USER}?at_least={}&wait_ms=30000", tombstones[1])).await;
            assert_eq!(reached.status, StatusCode::GONE, "{reached:?}");
            projector.stop().await.expect("the projector ends well");
        }
        ingest.stop().await.expect("ingest ends well");
    });
}

async fn make_topics(options: &ClientOptions, names: &Names) {
    let [users, late, dead_letter] = Spec::contract(names, PARTITIONS, 1).try_into().expect("three topics");
    let users =
        users.with("min.compaction.lag.ms", "0").with("min.cleanable.dirty.ratio", "0.01").with("segment.ms", "1000");
    create(options, &[users, late, dead_letter], ADMIN_MAX).await.expect("Kafka makes the topics");
}

async fn widen(options: &ClientOptions, names: &Names) {
    let client = ClientConfig::new().set("bootstrap.servers", &options.bootstrap).create();
    let client: AdminClient<DefaultClientContext> = client.expect("the options are usable");
    let wanted = NewPartitions::new(&names.users, usize::try_from(WIDENED).expect("a few"));
    let options = AdminOptions::new().operation_timeout(Some(ADMIN_MAX));
    let widened = client.create_partitions([&wanted], &options).await.expect("Kafka answers");
    assert!(widened.iter().all(Result::is_ok), "{widened:?}");
}

async fn until_measured<Outcome>(service: &Running<Outcome>, difference: i32) {
    let line = format!("rollcall_topic_partitions_difference {difference}");
    eventually(&line, SEEN_MAX, async || {
        let metrics = service.metrics().await;
        metrics.lines().any(|found| found == line).then_some(())
    })
    .await;
}

async fn append(publisher: &Publisher, names: &Names, user: u64, change: u64, partition: Option<i32>) {
    let record = Outgoing::event(&event_of(&delivery(user, change)), &names.users, None);
    publisher.publish(Outgoing { partition, ..record }).await.expect("it is stored");
}

/// Waits until no record of the user has a value, closing the segments of every partition meanwhile.
async fn until_the_cleaner_has_removed(options: &ClientOptions, names: &Names, publisher: &Publisher) {
    let key = USER.to_string();
    let removed = async {
        for change in 0.. {
            for partition in 0..WIDENED {
                append(publisher, names, ROLLER, change, Some(partition)).await;
            }
            let records = read_all(options, &names.users).await;
            let of_user = records.iter().filter(|record| record.key.as_deref() == Some(key.as_bytes()));
            if of_user.clone().all(|record| record.value.is_none()) {
                return of_user.count();
            }
            tokio::time::sleep(ROLL_EVERY).await;
        }
        0
    };
    let tombstones = tokio::time::timeout(SEEN_MAX, removed).await.expect("the cleaner removes the user's events");
    assert!(tombstones >= 2, "{tombstones} tombstones are left");
}
