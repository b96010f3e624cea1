//! Services, and Kafka itself, stopped at any moment under load and started again: no acknowledged event is lost, and
//! the state is the fold of the log.

use domain::topics::Names;
use kafka::ClientOptions;
use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::random::Random;

use crate::support::broker::{Broker, make_topics, on_both_brokers, where_kafka_runs};
use crate::support::kafka::Kafka;
use crate::support::load::{Load, assert_all_stored, assert_state_is_fold};
use crate::support::system::{Ingest, Projector};

on_both_brokers!(services_are_stopped_at_any_moment);

const PARTITIONS: i32 = 2;
/// How many times something is stopped.
const STOPS: u64 = 12;
/// How many deliveries at most are accepted between one stop and the next.
const DELIVERIES_BETWEEN_STOPS_MAX: u64 = 60;
/// How long ingest waits for Kafka here: short, since the senders wait it out while Kafka is dead.
const PUBLISH_DEADLINE_MS: u64 = 2000;

async fn services_are_stopped_at_any_moment(broker: &Broker) {
    let names = broker.make_topics(PARTITIONS).await;
    stop_at_any_moment(&broker.client_options(), &names, None).await;
}

#[test]
fn kafka_too_is_killed_at_any_moment() {
    where_kafka_runs("restart::kafka_too_is_killed_at_any_moment", async || {
        let kafka = Kafka::start(&[]).await;
        let (options, names) = (ClientOptions::new(kafka.bootstrap()), Names::default());
        make_topics(&options, &names, PARTITIONS, 1).await;
        stop_at_any_moment(&options, &names, Some(&kafka)).await;
    });
}

async fn stop_at_any_moment(options: &ClientOptions, names: &Names, kafka: Option<&Kafka>) {
    let store = TempDir::new().expect("a folder can be made");
    let start_ingest = || Ingest::start(options, names, |raw| raw.webhook.publish_deadline_ms = PUBLISH_DEADLINE_MS);
    let start_projector = || Projector::start(options, names, store.path(), |_| {});
    let mut ingest = start_ingest().await;
    let mut projector = start_projector().await;
    let load = Load::on(ingest.http.clone());

    let stops = async {
        let mut random = Random(0x5EED);
        for _ in 0..STOPS {
            load.progress(random.below(DELIVERIES_BETWEEN_STOPS_MAX)).await;
            match (random.below(3), kafka) {
                (0, _) => {
                    ingest.stop().await.expect("ingest ends well");
                    ingest = start_ingest().await;
                    load.turn_to(ingest.http.clone()).await;
                }
                (1, Some(kafka)) => {
                    kafka.kill().await;
                    kafka.start_again().await;
                }
                _ => {
                    projector.stop().await.expect("the projector ends well");
                    projector = start_projector().await;
                }
            }
        }
        load.progress(DELIVERIES_BETWEEN_STOPS_MAX).await;
        load.end();
        (ingest, projector)
    };
    let (accepted, (ingest, projector)) = tokio::join!(load.run(), stops);
    ingest.stop().await.expect("ingest ends well");

    let log = read_all(options, &names.users).await;
    assert_all_stored(&accepted, &log);
    assert_state_is_fold(&projector.http, &log).await;
    projector.stop().await.expect("the projector ends well");
    println!("{STOPS} stops; {} deliveries accepted, {} records stored, 0 lost", accepted.len(), log.len());
}
