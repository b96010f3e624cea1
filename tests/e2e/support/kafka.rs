//! Apache Kafka in a container.

use std::path::Path;
use std::time::Duration;

use testcontainers::core::{ContainerPort, ExecCommand, Mount, WaitFor};
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};
use testkit::eventually;
use tokio::sync::OnceCell;

use super::engine;

pub(crate) const IMAGE: &str = "apache/kafka";
/// The version that `deploy/kafka-image/build` provides.
pub(crate) const TAG: &str = "4.3.1";
/// Where clients outside the container connect to, inside it.
const CLIENTS_PORT: u16 = 9092;
/// Where brokers, and tools in the container, connect to.
const BROKERS_PORT: u16 = 9094;
/// Where a broker keeps its logs, in its container.
const LOGS: &str = "/tmp/kraft-combined-logs";
/// How long a broker may take to be back after it was stopped or killed.
const BACK_MAX: Duration = Duration::from_secs(120);

/// One broker, alone, that is its own controller.
pub(crate) struct Kafka {
    container: ContainerAsync<GenericImage>,
    bootstrap: String,
}

impl Kafka {
    /// Returns the broker that all tests of this run share, starting it for the first of them.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Kafka> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(&[])).await
    }

    /// Starts a broker of a test's own, with more server properties, given by the names of their variables.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_mounted(variables, None).await
    }

    /// Starts a broker of a test's own that keeps its logs in a folder of this machine.
    pub(crate) async fn start_in(logs: &Path) -> Self {
        Self::start_with_folder(&[], logs, LOGS).await
    }

    /// Starts a broker of a test's own that has a folder of this machine at this path.
    pub(crate) async fn start_with_folder(variables: &[(&str, &str)], folder: &Path, at: &str) -> Self {
        Self::start_mounted(variables, Some(Mount::bind_mount(folder.to_string_lossy(), at))).await
    }

    async fn start_mounted(variables: &[(&str, &str)], mount: Option<Mount>) -> Self {
        let node = Node { id: 1, host: "localhost".to_owned(), port: engine::free_port() };
        let request = node.request(std::slice::from_ref(&node));
        let request = variables.iter().fold(request, |request, (name, value)| request.with_env_var(*name, *value));
        let request = mount.into_iter().fold(request, |request, mount| request.with_mount(mount));
        Self { container: engine::start(request, None).await, bootstrap: node.bootstrap() }
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Freezes the broker: connections stay open and nothing answers.
    pub(crate) async fn pause(&self) {
        self.container.pause().await.expect("the engine freezes a container");
    }

    /// Lets a frozen broker go on.
    pub(crate) async fn unpause(&self) {
        self.container.unpause().await.expect("the engine lets a container go on");
    }

    /// Runs one of Kafka's own tools against the broker.
    ///
    /// # Errors
    /// What the tool printed, if it failed.
    pub(crate) async fn tool(&self, name: &str, arguments: &[&str]) -> Result<String, String> {
        tool(&self.container, name, arguments).await
    }

    /// Changes the access list.
    ///
    /// # Errors
    /// What the tool printed, if it failed.
    pub(crate) async fn change_access(&self, arguments: &[&str]) -> Result<String, String> {
        // The image of `deploy/kafka-image` has no script for it.
        let command = ["/opt/kafka/bin/kafka-run-class.sh", "org.apache.kafka.tools.AclCommand"];
        run(&self.container, &command, arguments).await
    }

    /// Kills the broker without warning.
    pub(crate) async fn kill(&self) {
        kill(&self.container).await;
    }

    /// Starts the broker again on its old address, with what it had stored, and waits until it serves clients.
    pub(crate) async fn start_again(&self) {
        start_again(&self.container).await;
    }
}

/// The place of one broker among the others of its cluster.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) id: usize,
    /// Its name for the others.
    pub(crate) host: String,
    /// Its port on this machine.
    pub(crate) port: u16,
}

impl Node {
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the container that runs this node in a cluster of these nodes, each of them a broker and a controller.
    pub(crate) fn request(&self, cluster: &[Self]) -> ContainerRequest<GenericImage> {
        let voters: Vec<String> = cluster.iter().map(|node| format!("{}@{}:9093", node.id, node.host)).collect();
        let replicas = cluster.len().to_string();
        // With three replicas one may be missing and writes go on.
        let in_sync_min = (cluster.len() / 2 + cluster.len() % 2).to_string();
        GenericImage::new(IMAGE, TAG)
            .with_wait_for(WaitFor::message_on_stdout("Kafka Server started"))
            .with_mapped_port(self.port, ContainerPort::Tcp(CLIENTS_PORT))
            .with_env_var("CLUSTER_ID", "cm9sbGNhbGwtdGVzdHMtMA")
            .with_env_var("KAFKA_NODE_ID", self.id.to_string())
            .with_env_var("KAFKA_PROCESS_ROLES", "broker,controller")
            .with_env_var("KAFKA_CONTROLLER_QUORUM_VOTERS", voters.join(","))
            .with_env_var("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
            .with_env_var("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKERS")
            .with_env_var(
                "KAFKA_LISTENERS",
                format!("CLIENTS://:{CLIENTS_PORT},CONTROLLER://:9093,BROKERS://:{BROKERS_PORT}"),
            )
            .with_env_var(
                "KAFKA_ADVERTISED_LISTENERS",
                format!("CLIENTS://{},BROKERS://{}:{BROKERS_PORT}", self.bootstrap(), self.host),
            )
            .with_env_var(
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
                "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,BROKERS:PLAINTEXT",
            )
            .with_env_var("KAFKA_LOG_DIRS", LOGS)
            .with_env_var("KAFKA_DEFAULT_REPLICATION_FACTOR", &replicas)
            .with_env_var("KAFKA_MIN_INSYNC_REPLICAS", &in_sync_min)
            .with_env_var("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", &replicas)
            .with_env_var("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", &replicas)
            .with_env_var("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", &in_sync_min)
            // The default of 50 partitions each costs time at every start and serves no test.
            .with_env_var("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "5")
            .with_env_var("KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS", "5")
            .with_env_var("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0")
            // As in production: a topic comes into being by being made.
            .with_env_var("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
            .with_env_var("KAFKA_HEAP_OPTS", "-Xms256m -Xmx512m")
    }
}

/// Kills a container's process without warning.
pub(crate) async fn kill(container: &ContainerAsync<GenericImage>) {
    let docker = engine::negotiated_client().await.expect("the engine was asked before");
    docker.kill_container(container.id(), None).await.expect("the engine kills a container");
}

/// Starts a stopped or killed broker and waits until it serves clients again.
pub(crate) async fn start_again(container: &ContainerAsync<GenericImage>) {
    container.start().await.expect("the engine starts a container again");
    eventually("the broker serves clients again", BACK_MAX, async || {
        tool(container, "kafka-broker-api-versions", &[]).await.ok()
    })
    .await;
}

/// Runs one of Kafka's own tools in a container, against the broker in it.
///
/// # Errors
/// What the tool printed, if it failed.
pub(crate) async fn tool(
    container: &ContainerAsync<GenericImage>,
    name: &str,
    arguments: &[&str],
) -> Result<String, String> {
    run(container, &[&format!("/opt/kafka/bin/{name}.sh")], arguments).await
}

/// Runs a command of Kafka's in a container, with the address of the broker and more arguments.
async fn run(container: &ContainerAsync<GenericImage>, command: &[&str], arguments: &[&str]) -> Result<String, String> {
    let bootstrap = format!("localhost:{BROKERS_PORT}");
    let command = [command, &["--bootstrap-server", &bootstrap], arguments].concat();
    let mut run = container.exec(ExecCommand::new(command)).await.map_err(|error| error.to_string())?;
    let output = run.stdout_to_vec().await.map_err(|error| error.to_string())?;
    let errors = run.stderr_to_vec().await.map_err(|error| error.to_string())?;
    match run.exit_code().await {
        Ok(Some(0)) => Ok(String::from_utf8_lossy(&output).into_owned()),
        _ => Err(String::from_utf8_lossy(&[output, errors].concat()).into_owned()),
    }
}
