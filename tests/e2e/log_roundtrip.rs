//! What is published is what a reader gets, where the acknowledgement said that it would be.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::topics::Spec;
use domain::{Position, UnixMillis};
use kafka::publish::{Limits, Outgoing, Publisher};
use kafka::topics::check;
use testkit::broker::read_all;

use crate::support::broker::{Broker, on_both_brokers, on_kafka};

on_both_brokers!(published_records_are_read_back);

const PARTITIONS: i32 = 3;
/// How long the cluster may take to describe three topics.
const CHECK_MAX: Duration = Duration::from_secs(60);

fn outgoing(topic: &str, user: u32) -> Outgoing {
    Outgoing {
        topic: topic.to_owned(),
        key: user.to_string().into_bytes(),
        // Every seventh record is a tombstone: it must come back as one, not as an empty value.
        value: (!user.is_multiple_of(7)).then(|| format!("value of {user}").into_bytes()),
        headers: vec![("ce_id".to_owned(), format!("id of {user}").into_bytes())],
        timestamp: UnixMillis::from_millis(1_700_000_000_000 + i64::from(user)),
        partition: None,
    }
}

async fn published_records_are_read_back(broker: &Broker) {
    let topic = broker.make_topics(PARTITIONS).await.users;
    let options = broker.client_options();
    let publisher = Publisher::open(&options, Limits::default()).expect("the options are usable");

    let mut published: BTreeMap<Position, Outgoing> = BTreeMap::new();
    for user in 0..100 {
        let outgoing = outgoing(&topic, user);
        let position = publisher.publish(outgoing.clone()).await.expect("the broker takes a record");
        published.insert(position, outgoing);
    }
    let records = read_all(&options, &topic).await;

    assert_eq!(published.len(), 100, "no two records share a position");
    assert_eq!(records.len(), 100);
    for record in records {
        let published = &published[&record.position];
        assert_eq!(record.key.as_ref(), Some(&published.key));
        assert_eq!(record.value, published.value);
        assert_eq!(record.headers, published.headers);
        assert_eq!(record.timestamp, published.timestamp);
        assert_eq!(record.position.partition, kafka::placement::partition_for(&published.key, PARTITIONS));
    }
}

#[test]
fn topics_that_were_made_keep_the_contract() {
    // Real Kafka alone describes the settings of a topic.
    on_kafka("log_roundtrip::topics_that_were_made_keep_the_contract", async |kafka| {
        let names = kafka.make_topics(PARTITIONS).await;
        let as_made = Spec::contract(&names, PARTITIONS, 1);
        let otherwise: Vec<Spec> =
            as_made.clone().into_iter().map(|spec| spec.with("max.message.bytes", "4096")).collect();

        let findings = check(&kafka.client_options(), &as_made, CHECK_MAX).await.expect("Kafka describes topics");
        assert_eq!(findings, Vec::new());
        let findings = check(&kafka.client_options(), &otherwise, CHECK_MAX).await.expect("Kafka describes topics");
        assert_eq!(findings.len(), 3, "a difference is found on each topic: {findings:?}");
    });
}
