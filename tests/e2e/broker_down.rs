//! Kafka freezes, or dies and is started again. Nothing is promised meanwhile, nothing promised before is lost, and
//! everything goes on afterwards without anyone being restarted.

use std::time::Duration;

use domain::UnixMillis;
use log::ClientOptions;
use log::publish::{Error, Limits, Outgoing, Publisher};
use log::topics::Names;

use crate::support::broker::{make_topics, read_to_end, where_kafka_runs};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;

/// How long a writer waits for an acknowledgement here: short, since the test waits it out.
const ACKNOWLEDGED_MAX: Duration = Duration::from_secs(3);
/// How long a client may take to find a broker again that is back.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

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
        let stored = read_to_end(&options, &topic, 1).await;
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
    Outgoing {
        topic: topic.to_owned(),
        key: b"180".to_vec(),
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
        timestamp: UnixMillis::from_millis(1_700_000_000_000),
        partition: None,
    }
}
