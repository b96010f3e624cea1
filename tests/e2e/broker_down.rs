//! Kafka freezes, or dies and is started again. Nothing is promised meanwhile, nothing promised before is lost, and
//! everything goes on afterwards without anyone being restarted.

use std::time::Duration;

use domain::topics::Names;
use hyper::StatusCode;
use kafka::ClientOptions;
use kafka::publish::{Error, Limits, Outgoing, Publisher};
use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::deliveries::CREATED;
use testkit::eventually;

use crate::support::broker::{Broker, make_topics, on_embedded, where_kafka_runs};
use crate::support::kafka::Kafka;
use crate::support::system::{Ingest, Projector};

/// How long a writer waits for an acknowledgement here: short, since the test waits it out.
const ACKNOWLEDGED_MAX: Duration = Duration::from_secs(3);
/// How long a client may take to find a broker again that is back.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// How much longer than that a sender may wait for its 503: generous, on a machine that does much else.
const ANSWERED_MAX: Duration = Duration::from_secs(30);

#[test]
fn ingest_tells_the_sender_to_come_again_when_kafka_is_frozen() {
    where_kafka_runs("broker_down::ingest_tells_the_sender_to_come_again_when_kafka_is_frozen", async || {
        let kafka = Kafka::start(&[]).await;
        let (options, names) = (ClientOptions::new(kafka.bootstrap()), Names::default());
        make_topics(&options, &names, 1, 1).await;
        come_again(&options, &names, async || kafka.pause().await, async || kafka.unpause().await).await;
    });
}

#[test]
fn ingest_tells_the_sender_to_come_again_when_the_embedded_broker_is_down() {
    on_embedded(async |broker| {
        let names = broker.make_topics(1).await;
        let Broker::Embedded(embedded) = broker else { unreachable!("it was asked for") };
        let down = async || embedded.go_down().expect("the embedded broker goes down");
        let up = async || embedded.come_back().expect("the embedded broker comes back");
        come_again(&broker.client_options(), &names, down, up).await;
    });
}

async fn come_again(options: &ClientOptions, names: &Names, down: impl AsyncFnOnce(), up: impl AsyncFnOnce()) {
    let store = TempDir::new().expect("a folder can be made");
    let deadline_ms = u64::try_from(ACKNOWLEDGED_MAX.as_millis()).expect("seconds, not ages");
    let ingest = Ingest::start(options, names, |raw| raw.webhook.publish_deadline_ms = deadline_ms).await;
    let projector = Projector::start(options, names, store.path(), |_| {}).await;
    ingest.ready().await;
    projector.ready().await;

    down().await;
    let refused = tokio::time::timeout(ACKNOWLEDGED_MAX + ANSWERED_MAX, ingest.post(CREATED)).await;
    let refused = refused.expect("the sender is answered within the deadline");
    up().await;
    let accepted = eventually("the same delivery is accepted", RECOVERY_MAX, async || {
        let answer = ingest.post(CREATED).await;
        (answer.status == StatusCode::OK).then_some(answer)
    })
    .await;
    let position = accepted.text("/position");
    let user = projector.http.get(&format!("/users/180?at_least={position}&wait_ms=30000")).await;

    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    assert_eq!(user.text("/name"), "Rachel Smith");
    ingest.stop().await.expect("ingest ends well");
    projector.stop().await.expect("the projector ends well");
}

#[test]
fn a_publisher_outlives_a_broker_that_freezes_and_one_that_dies() {
    where_kafka_runs("broker_down::a_publisher_outlives_a_broker_that_freezes_and_one_that_dies", async || {
        let kafka = Kafka::start(&[]).await;
        let options = ClientOptions::new(kafka.bootstrap());
        let topic = Names::default().users;
        make_topics(&options, &Names::default(), 1, 1).await;
        let publisher = Publisher::open(&options, Limits { deadline: ACKNOWLEDGED_MAX, ..Limits::default() })
            .expect("the options are usable");
        let mut acknowledged = Vec::new();

        acknowledged.push(until_acknowledged(&publisher, &topic, "before").await);
        kafka.pause().await;
        let frozen = publisher.publish(record(&topic, "while frozen")).await;
        kafka.unpause().await;
        acknowledged.push(until_acknowledged(&publisher, &topic, "after the frost").await);
        kafka.kill().await;
        let dead = publisher.publish(record(&topic, "while dead")).await;
        kafka.start_again().await;
        acknowledged.push(until_acknowledged(&publisher, &topic, "after the death").await);

        for unanswered in [frozen, dead] {
            let error = unanswered.expect_err("a broker that is not there acknowledges nothing");
            assert!(matches!(error, Error::NotAcknowledged { .. }), "{error:?}");
        }
        let stored = read_all(&options, &topic).await;
        for (position, value) in acknowledged {
            assert!(
                stored
                    .iter()
                    .any(|record| record.position == position && record.value == Some(value.as_bytes().to_vec())),
                "{value:?} at {position} is lost"
            );
        }
    });
}

async fn until_acknowledged<'a>(publisher: &Publisher, topic: &str, value: &'a str) -> (domain::Position, &'a str) {
    let position = eventually("the broker acknowledges", RECOVERY_MAX, async || {
        publisher.publish(record(topic, value)).await.ok()
    })
    .await;
    (position, value)
}

fn record(topic: &str, value: &str) -> Outgoing {
    testkit::broker::record(topic, "180", Some(value.as_bytes().to_vec()), testkit::event::at(1_700_000_000))
}
