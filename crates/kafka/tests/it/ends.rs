//! The ends of a topic: each by its own leader, and all the same without an open transaction.

use kafka::topics::{Watermarks, ends, held_since, watermarks};

use crate::broker::{PATIENCE, TOPIC, broker, publish_all, publisher};

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_of_each_partition() {
    let broker = broker(3);
    let positions = publish_all(&publisher(&broker), 0..20).await;
    let options = broker.client_options();
    let found = ends(&options, TOPIC, PATIENCE).await.unwrap();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    for (partition, found) in found {
        let records = positions.iter().filter(|position| position.partition == partition).count();
        let high = i64::try_from(records).unwrap();
        let found = found.unwrap();
        assert_eq!(found, Watermarks { partition, low: 0, stable: high, high });
        assert!(!found.is_held_back());
        assert_eq!(held_since(&options, TOPIC, found).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ends_are_known_again_when_the_cluster_answers() {
    let broker = broker(2);
    broker.go_down().unwrap();
    let deadline = std::time::Duration::from_millis(300);
    assert!(
        ends(&broker.client_options(), TOPIC, deadline).await.is_err(),
        "nobody says how many partitions there are"
    );
    broker.come_back().unwrap();
    assert_eq!(watermarks(&broker.client_options(), TOPIC, PATIENCE).await.unwrap().len(), 2);
}
