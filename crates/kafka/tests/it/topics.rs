//! Requests about topics that the embedded broker supports. Other tests check the contract against Apache Kafka.

use std::time::Duration;

use domain::topics::Spec;
use kafka::client::Probe;
use kafka::topics::{Created, Error, Severity, check, create, describe};

use crate::broker::{PATIENCE, TOPIC, broker};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_there_is_left_as_it_is() {
    let broker = broker(4);
    let outcomes = create(&broker.client_options(), &[Spec::users(TOPIC, 1, 1)], PATIENCE).await.unwrap();
    assert_eq!(outcomes, [(TOPIC.to_owned(), Created::Before)]);
    let description = describe(&broker.client_options(), TOPIC, PATIENCE).await.unwrap();
    assert_eq!((description.partitions, description.replication), (4, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_cannot_make_topics_says_so() {
    let broker = broker(1);
    let error = create(&broker.client_options(), &[Spec::users("other", 1, 1)], PATIENCE).await.unwrap_err();
    let Error::NotCreated { source, .. } = error else { panic!("{error:?}") };
    let said = source.to_string();
    assert!(said.contains("`rollcall dev`") && said.contains("use a Kafka cluster"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_settings_are_a_note_and_a_missing_topic_is_refused() {
    let broker = broker(1);
    let specs = [Spec::users(TOPIC, 1, 1), Spec::users("nowhere", 1, 1)];
    let findings = check(&broker.client_options(), &specs, PATIENCE).await.unwrap();
    let severities: Vec<_> = findings.iter().map(|finding| (finding.topic.as_str(), finding.severity)).collect();
    assert_eq!(severities, [(TOPIC, Severity::Note), ("nowhere", Severity::Refuse)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_brokers_with_the_same_topic_are_distinguished() {
    let (one, other) = (broker(1), broker(1));
    let identity = |broker: &kafka::embedded::EmbeddedBroker| {
        let options = broker.client_options();
        async move { describe(&options, TOPIC, PATIENCE).await.unwrap().log }
    };
    assert_eq!(identity(&one).await, identity(&one).await);
    assert_ne!(identity(&one).await, identity(&other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_reports_whether_the_cluster_answers() {
    let broker = broker(1);
    let probe = Probe::new(&broker.client_options(), TOPIC).unwrap();
    probe.cluster_answers(PATIENCE).await.unwrap();
    broker.go_down().unwrap();
    probe.cluster_answers(Duration::from_millis(300)).await.unwrap_err();
    broker.come_back().unwrap();
    let recovered = async { while probe.cluster_answers(Duration::from_secs(1)).await.is_err() {} };
    tokio::time::timeout(PATIENCE, recovered).await.unwrap();
}
