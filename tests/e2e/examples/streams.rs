//! Kafka Streams: calls joined with the table of users.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka::publish::{Limits, Outgoing, Publisher};
use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::eventually;

use super::tools::{Background, CLASS_PATH, JAVA, built};
use super::topic::{FORGOTTEN, PARTITIONS, Topic};
use crate::support::broker::{Broker, on_kafka};
use crate::support::engine::leave_out_of_ecosystem;
use crate::support::system::now;

/// How long the application may take to start and to join.
const JOIN_MAX: Duration = Duration::from_secs(120);

#[test]
#[ignore = "slow: .ci/full runs it"]
fn streams_joins_calls_with_users() {
    on_kafka("examples::streams_joins_calls_with_users", streams);
}

async fn streams(broker: &Broker) {
    let ready = async {
        let dir = built("java", JAVA)?;
        Ok::<_, String>((dir, Topic::mixed(broker).await?))
    };
    let (dir, topic) = match ready.await {
        Ok(ready) => ready,
        Err(why) => return leave_out_of_ecosystem("examples::streams_joins_calls_with_users", &why),
    };
    let Broker::Kafka(kafka, _) = broker else { unreachable!("it runs on Kafka only") };
    for name in ["calls", "calls.with-users"] {
        let partitions = PARTITIONS.to_string();
        let create = ["--create", "--topic", name, "--partitions", &partitions];
        kafka.tool("kafka-topics", &create).await.expect("Kafka makes a topic");
    }
    let publisher = Publisher::open(&topic.options, Limits::default()).expect("the options are usable");
    let mut expected = BTreeMap::from([(FORGOTTEN.to_string(), "call by nobody on the roll".to_owned())]);
    expected.extend(
        topic
            .users
            .iter()
            .map(|(id, user)| (id.to_string(), format!("call by {}", user["name"].as_str().expect("each has a name")))),
    );
    for key in expected.keys() {
        let call = Outgoing {
            topic: "calls".to_owned(),
            key: key.clone().into_bytes(),
            value: Some(b"call".to_vec()),
            headers: Vec::new(),
            timestamp: now(),
            partition: None,
        };
        publisher.publish(call).await.expect("the broker takes a record");
    }
    let state = TempDir::new().expect("a folder can be made");
    let tables = format!("-Djava.io.tmpdir={}", state.path().display());
    let command = ["java", &tables, "-cp", CLASS_PATH, "example.CallsWithUsers", &topic.bootstrap];
    let command = [&command[..], &["../../../schemas", &topic.apicurio]].concat();
    let _running = Background::start(&dir, "streams.log", &command);
    let joined = eventually("every call is joined", JOIN_MAX, async || {
        let records = read_all(&topic.options, "calls.with-users").await;
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.expect("it is there")).expect("it is text");
        let joined: Vec<_> = records.into_iter().map(|record| (text(record.key), text(record.value))).collect();
        (joined.len() >= expected.len()).then_some(joined)
    });
    assert_eq!(joined.await.into_iter().collect::<BTreeMap<_, _>>(), expected);
}
