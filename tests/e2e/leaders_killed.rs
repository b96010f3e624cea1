//! Three brokers, and the leader of the partition under load is killed, each in turn: what was acknowledged stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{Position, UnixMillis};
use log::ClientOptions;
use log::publish::{Limits, Outgoing, Publisher};
use log::topics::Names;

use crate::support::broker::{make_topics, read_to_end, where_kafka_runs};
use crate::support::cluster::Cluster;

/// How many deliveries are under way at once.
const WRITERS: u32 = 8;

#[test]
fn acknowledged_records_outlive_their_leaders() {
    where_kafka_runs("leaders_killed::acknowledged_records_outlive_their_leaders", async || {
        let cluster = Cluster::start().await;
        let options = ClientOptions::new(cluster.bootstrap());
        let names = Names::default();
        make_topics(&options, &names, 1, 3).await;
        let publisher = Publisher::open(&options, Limits::default()).expect("the options are usable");

        let done = AtomicBool::new(false);
        let writers = futures_util::future::join_all(
            (0..WRITERS).map(|writer| write_until(&done, &publisher, &names.users, writer)),
        );
        let outages = async {
            let mut killed = BTreeSet::new();
            for round in 0..cluster.size() {
                let leader = cluster.leader(round, &names.users, 0).await;
                cluster.kill(leader).await;
                cluster.start_again(leader).await;
                killed.insert(leader);
            }
            done.store(true, Ordering::Relaxed);
            killed
        };
        let (acknowledged, killed) = tokio::join!(writers, outages);

        let acknowledged: BTreeMap<Position, Vec<u8>> = acknowledged.into_iter().flatten().collect();
        let stored: BTreeMap<Position, Vec<u8>> = read_to_end(&options, &names.users, 1)
            .await
            .into_iter()
            .map(|record| (record.position, record.value.unwrap_or_default()))
            .collect();
        let lost: Vec<_> =
            acknowledged.iter().filter(|(position, value)| stored.get(position) != Some(value)).collect();
        println!(
            "killed {} leaders, {} of them different; {} acknowledged, {} stored, {} lost",
            cluster.size(),
            killed.len(),
            acknowledged.len(),
            stored.len(),
            lost.len()
        );
        assert_eq!(lost, Vec::new());
        assert!(acknowledged.len() > 1000, "there was load: {}", acknowledged.len());
    });
}

/// Publishes one record after the other and returns those that were acknowledged, by their positions.
async fn write_until(done: &AtomicBool, publisher: &Publisher, topic: &str, writer: u32) -> Vec<(Position, Vec<u8>)> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let value = format!("{writer}:{number}").into_bytes();
        let outgoing = Outgoing {
            topic: topic.to_owned(),
            key: b"180".to_vec(),
            value: Some(value.clone()),
            headers: Vec::new(),
            timestamp: UnixMillis::from_millis(1_700_000_000_000),
            partition: None,
        };
        // A record that was not acknowledged may be stored or not; nothing is promised of it.
        if let Ok(position) = publisher.publish(outgoing).await {
            acknowledged.push((position, value));
        }
    }
    acknowledged
}
