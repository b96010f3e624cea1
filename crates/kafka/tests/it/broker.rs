//! A broker for a test, and steps that many tests share.

use std::time::Duration;

use domain::{Position, UnixMillis};
use kafka::embedded::EmbeddedBroker;
use kafka::publish::{Limits, Outgoing, Publisher};
use kafka::{Record, tail};

pub(crate) const TOPIC: &str = "users";
/// Long enough for a busy machine. A test that waits this long fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn broker(partitions: i32) -> EmbeddedBroker {
    EmbeddedBroker::start(&[(TOPIC, partitions)]).unwrap()
}

pub(crate) fn publisher(broker: &EmbeddedBroker) -> Publisher {
    Publisher::open(&broker.client_options(), Limits::default()).unwrap()
}

pub(crate) fn outgoing(key: &str, value: &str) -> Outgoing {
    Outgoing {
        topic: TOPIC.to_owned(),
        key: key.as_bytes().to_vec(),
        value: Some(value.as_bytes().to_vec()),
        headers: vec![("ce_id".to_owned(), format!("id of {value}").into_bytes())],
        timestamp: UnixMillis::from_millis(1_700_000_000_000),
        partition: None,
    }
}

/// Publishes a range of records with key `k<n>` and value `v<n>`, and returns their positions.
pub(crate) async fn publish_all(publisher: &Publisher, range: std::ops::Range<u32>) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in range {
        let record = outgoing(&format!("k{number}"), &format!("v{number}"));
        positions.push(publisher.publish(record).await.unwrap());
    }
    positions
}

/// Reads until each of `partitions` partitions has reported its end. Returns the records and the ends.
pub(crate) async fn read_to_end(tail: &mut tail::Tail, partitions: usize) -> (Vec<Record>, Vec<(i32, i64)>) {
    let mut records = Vec::new();
    let mut ends = std::collections::BTreeMap::new();
    while ends.len() < partitions {
        match tokio::time::timeout(PATIENCE, tail.next()).await.unwrap().unwrap() {
            tail::TailEvent::Records(batch) => records.extend(batch),
            tail::TailEvent::EndReached { partition, next_offset } => {
                ends.insert(partition, next_offset);
            }
            tail::TailEvent::PartitionsAdded(added) => panic!("nobody added {added:?}"),
            // A busy machine can be slow for so long.
            tail::TailEvent::Stalled(_) => {}
        }
    }
    (records, ends.into_iter().collect())
}

/// Reads until `count` records have arrived.
pub(crate) async fn read(tail: &mut tail::Tail, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        if let tail::TailEvent::Records(batch) = tokio::time::timeout(PATIENCE, tail.next()).await.unwrap().unwrap() {
            records.extend(batch);
        }
    }
    records
}

/// Returns records as `key=value` texts, sorted.
pub(crate) fn texts(records: &[Record]) -> Vec<String> {
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap_or_default()).unwrap();
    let mut texts: Vec<String> =
        records.iter().map(|record| format!("{}={}", text(&record.key), text(&record.value))).collect();
    texts.sort();
    texts
}
