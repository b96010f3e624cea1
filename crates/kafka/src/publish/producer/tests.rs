//! A producer that is replaced while a record waits, on the embedded broker.

use crate::embedded::EmbeddedBroker;
use crate::publish::{Limits, Outgoing, Publisher};
use std::time::Duration;

const TOPIC: &str = "users";
/// Long enough for a busy machine. A test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(120);

fn record(value: &str) -> Outgoing {
    Outgoing {
        topic: TOPIC.to_owned(),
        key: b"180".to_vec(),
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
        timestamp: domain::UnixMillis::from_millis(1_700_000_000_000),
        partition: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_still_acknowledged_after_the_credentials_have_changed() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let options = broker.client_options();
    let publisher = Publisher::open(&options, Limits { deadline: PATIENCE, ..Limits::default() }).unwrap();
    publisher.publish(record("before")).await.unwrap();
    broker.go_down().unwrap();
    let waiting = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish(record("during")).await }
    });
    while publisher.in_queue() == 0 {
        tokio::task::yield_now().await;
    }
    tokio::task::block_in_place(|| options.credentials.renew(None).unwrap());
    assert_eq!(publisher.in_queue(), 0, "of the new producer");
    broker.come_back().unwrap();
    assert!(waiting.await.unwrap().is_ok());
    assert!(publisher.publish(record("after")).await.is_ok());
    publisher.close(PATIENCE).await.unwrap();
}
