//! The leader of one partition is gone, and the cluster answers: what is not known of that partition is never said to
//! be nothing, and what is known of the others stays.

use std::time::Duration;

use domain::topics::Names;
use hyper::StatusCode;
use kafka::ClientOptions;
use serde_json::Value;
use tempfile::TempDir;
use testkit::deliveries::delivery;
use testkit::eventually;

use crate::support::broker::{make_topics, where_kafka_runs};
use crate::support::cluster::Cluster;
use crate::support::system::{Ingest, Projector};

/// How long a condition is waited for: longer than a cluster needs to give up a broker.
const PATIENCE: Duration = Duration::from_secs(120);
const PARTITIONS: i32 = 3;
/// The partition whose leader goes.
const GONE: i32 = 1;

#[test]
fn the_lag_of_a_partition_without_a_leader_is_unknown() {
    where_kafka_runs("leader_gone::the_lag_of_a_partition_without_a_leader_is_unknown", async || {
        let cluster = Cluster::start().await;
        let (options, names) = (ClientOptions::new(cluster.bootstrap()), Names::default());
        make_topics(&options, &names, PARTITIONS, 1).await;
        let store = TempDir::new().expect("a folder can be made");
        let ingest = Ingest::start(&options, &names, |_| {}).await;
        let projector = Projector::start(&options, &names, store.path(), |_| {}).await;
        ingest.ready().await;
        projector.ready().await;
        for user in 0..30 {
            assert_eq!(ingest.post(delivery(user, 0)).await.status, StatusCode::OK);
        }
        ingest.stop().await.expect("ingest ends well");
        let level = |status: &Value| lags(status) == [Some(0); 3] && read(status) == 30;
        let before = until(&projector, "all is read", level).await;

        let leader = cluster.leader(0, &names.users, GONE).await;
        cluster.kill(leader).await;
        // The others are on other brokers, and the topic has one replica of each.
        let unknown = [Some(0), None, Some(0)];
        let gone = until(&projector, "the lag is unknown", |status| lags(status) == unknown && answers(status)).await;
        let later = |status: &Value| lags(status) == unknown && last_answer(status) > last_answer(&gone);
        let later = until(&projector, "the cluster goes on answering", later).await;
        assert_eq!(later["asOf"], gone["asOf"], "the table is as of the partition that is longest behind");
        assert!(gone["asOf"].as_str() >= before["asOf"].as_str());
        let detail = later["phaseDetail"].as_str().unwrap_or_default();
        assert_eq!(later["trouble"], "the leader of partition 1 does not answer", "{later}");
        assert!(detail.ends_with("the leader of partition 1 does not answer"), "{later}");
        let (metrics, status) = (projector.metrics().await, projector.http.get("/status").await.json());
        if lags(&status) == unknown {
            let shown = [0, 1, 2].map(|partition| metrics.contains(&format!("{LAG}{partition}\"}} 0")));
            assert_eq!(shown, [true, false, true], "{metrics}");
            assert!(!metrics.contains(&format!("{LAG}{GONE}\"")), "absent, not 0: {metrics}");
        }

        cluster.start_again(leader).await;
        let newer = |status: &Value| level(status) && status["asOf"].as_str() > gone["asOf"].as_str();
        until(&projector, "all is known again", newer).await;
        projector.stop().await.expect("the projector ends well");
    });
}

const LAG: &str = "rollcall_projector_lag{messaging_destination_partition_id=\"";

async fn until(projector: &Projector, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(what, PATIENCE, async || {
        let status = projector.http.get("/status").await.json();
        is_so(&status).then_some(status)
    })
    .await
}

fn lags(status: &Value) -> Vec<Option<i64>> {
    let partitions = status["partitions"].as_array().map_or(&[][..], Vec::as_slice);
    partitions.iter().map(|partition| partition["lag"].as_i64()).collect()
}

fn read(status: &Value) -> i64 {
    let partitions = status["partitions"].as_array().map_or(&[][..], Vec::as_slice);
    partitions.iter().filter_map(|partition| partition["nextOffset"].as_i64()).sum()
}

fn answers(status: &Value) -> bool {
    status["cluster"]["answers"] == true
}

fn last_answer(status: &Value) -> Option<&str> {
    status["cluster"]["lastAnswer"].as_str()
}
