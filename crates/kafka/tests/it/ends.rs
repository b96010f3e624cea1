//! The ends of a topic: each by its own leader, and all the same without an open transaction.

use std::time::Duration;

use kafka::topics::{EndsProbe, Watermarks};

use crate::broker::{PATIENCE, TOPIC, broker, publish_all, publisher};

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_of_each_partition() {
    let broker = broker(3);
    let positions = publish_all(&publisher(&broker), 0..20).await;
    let options = broker.client_options();
    let ends = EndsProbe::new(&options, TOPIC);
    let found = ends.now(PATIENCE).await.unwrap();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    for (partition, found) in found {
        let records = positions.iter().filter(|position| position.partition == partition).count();
        let high = i64::try_from(records).unwrap();
        let found = found.unwrap();
        assert_eq!(found, Watermarks { partition, low: 0, stable: high, high });
        assert!(!found.is_held_back() && ends.holds(&[found]).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ends_are_known_again_when_the_cluster_answers() {
    let broker = broker(2);
    let ends = EndsProbe::new(&broker.client_options(), TOPIC);
    broker.go_down().unwrap();
    assert!(ends.now(Duration::from_millis(300)).await.is_err(), "nobody says how many partitions there are");
    broker.come_back().unwrap();
    let recovered = async { while !ends.now(PATIENCE).await.is_ok_and(|ends| ends.values().all(Result::is_ok)) {} };
    tokio::time::timeout(PATIENCE, recovered).await.unwrap();
    ends.close().await;
}
