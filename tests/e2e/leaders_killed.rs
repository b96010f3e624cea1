//! Three brokers, and the leader of a partition under load is killed, again and again: what was acknowledged stays.

use std::collections::BTreeSet;

use domain::topics::Names;
use kafka::ClientOptions;
use tempfile::TempDir;
use testkit::broker::read_all;

use crate::support::broker::{make_topics, where_kafka_runs};
use crate::support::cluster::Cluster;
use crate::support::load::{Load, assert_all_stored, assert_state_is_fold};
use crate::support::system::{Ingest, Projector};

const PARTITIONS: i32 = 3;
const REPLICAS: i32 = 3;
/// How many deliveries are accepted between one killing and the next.
const DELIVERIES_BETWEEN_KILLS: u64 = 50;

#[test]
fn acknowledged_events_outlive_their_leaders() {
    where_kafka_runs("leaders_killed::acknowledged_events_outlive_their_leaders", async || {
        let cluster = Cluster::start().await;
        let (options, names) = (ClientOptions::new(cluster.bootstrap()), Names::default());
        make_topics(&options, &names, PARTITIONS, REPLICAS).await;
        let store = TempDir::new().expect("a folder can be made");
        let ingest = Ingest::start(&options, &names, |_| {}).await;
        let projector = Projector::start(&options, &names, store.path(), |_| {}).await;
        let load = Load::on(ingest.http.clone());

        let outages = async {
            let mut killed = BTreeSet::new();
            for round in 0..cluster.size() {
                load.progress(DELIVERIES_BETWEEN_KILLS).await;
                let partition = i32::try_from(round).expect("there are few brokers");
                let leader = cluster.leader(round, &names.users, partition).await;
                cluster.kill(leader).await;
                load.progress(DELIVERIES_BETWEEN_KILLS).await;
                cluster.start_again(leader).await;
                killed.insert(leader);
            }
            load.end();
            killed
        };
        let (accepted, killed) = tokio::join!(load.run(), outages);
        ingest.stop().await.expect("ingest ends well");

        let log = read_all(&options, &names.users).await;
        assert_all_stored(&accepted, &log);
        assert_state_is_fold(&projector.http, &log).await;
        projector.stop().await.expect("the projector ends well");
        println!(
            "killed {} leaders, {} of them different; {} deliveries accepted, {} records stored, 0 lost",
            cluster.size(),
            killed.len(),
            accepted.len(),
            log.len()
        );
    });
}
