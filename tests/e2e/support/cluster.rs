//! Three brokers in three containers: replicas, leaders, and what happens when one of them is gone.

use std::time::Duration;

use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};
use testkit::eventually;

use super::engine;
use super::kafka::{self, Node};

const BROKERS: usize = 3;
/// How long the replicas of a broker that came back may take to catch up.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(120);

/// Three brokers, each a controller as well. New topics have three replicas, two of which must have a record before it
/// is acknowledged.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    containers: Vec<ContainerAsync<GenericImage>>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        // The name of the network is that of a port which nobody else can have got.
        let network = format!("rollcall-{}", engine::free_port());
        let nodes: Vec<Node> =
            (1..=BROKERS).map(|id| Node { id, host: format!("{network}-{id}"), port: engine::free_port() }).collect();
        // Together, since a broker is ready only when most of the controllers are.
        let starts = nodes.iter().map(|node| {
            let request = node.request(&nodes).with_container_name(&node.host);
            tokio::spawn(engine::start(request, Some(network.clone())))
        });
        let mut containers = Vec::new();
        for start in starts.collect::<Vec<_>>() {
            containers.push(start.await.expect("a broker of the cluster starts"));
        }
        Self { nodes, containers }
    }

    /// Returns the addresses of all brokers, so that a client finds the others when one is gone.
    pub(crate) fn bootstrap(&self) -> String {
        self.nodes.iter().map(Node::bootstrap).collect::<Vec<_>>().join(",")
    }

    /// Returns how many brokers there are; they are numbered from 0.
    pub(crate) fn size(&self) -> usize {
        self.nodes.len()
    }

    /// Kills a broker without warning.
    pub(crate) async fn kill(&self, broker: usize) {
        kafka::kill(&self.containers[broker]).await;
    }

    /// Starts a killed broker again and waits until every replica in the cluster has caught up.
    pub(crate) async fn start_again(&self, broker: usize) {
        kafka::start_again(&self.containers[broker]).await;
        eventually("all replicas are in sync", CAUGHT_UP_MAX, async || {
            let behind =
                self.tool(broker, "kafka-topics", &["--describe", "--under-replicated-partitions"]).await.ok()?;
            behind.trim().is_empty().then_some(())
        })
        .await;
    }

    /// Returns the broker that leads a partition.
    pub(crate) async fn leader(&self, asked: usize, topic: &str, partition: i32) -> usize {
        let description = self
            .tool(asked, "kafka-topics", &["--describe", "--topic", topic])
            .await
            .expect("the cluster describes a topic");
        let line = description
            .lines()
            .find(|line| line.contains(&format!("Partition: {partition}\t")))
            .expect("the partition is described");
        let (_, leader) = line.split_once("Leader: ").expect("the partition has a leader");
        let id = leader.split_whitespace().next().and_then(|id| id.parse().ok());
        let id: usize = id.expect("a leader is a number");
        self.nodes.iter().position(|node| node.id == id).expect("the leader is one of ours")
    }

    async fn tool(&self, broker: usize, name: &str, arguments: &[&str]) -> Result<String, String> {
        kafka::tool(&self.containers[broker], name, arguments).await
    }
}
