//! Kafka under the measurements: a cluster that is given, one in a container, or the in-memory one.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::topics::{Names, Spec};
use kafka::ClientOptions;
use kafka::embedded::EmbeddedBroker;

use crate::Outcome;
use crate::arguments::Common;

const IMAGE: &str = "apache/kafka:4.3.1";
/// By this label `.ci/docker down` finds what a killed run has left.
const LABEL: &str = "live.vcc.rollcall.run=bench";
/// What the broker logs when it serves clients.
const STARTED: &str = "Kafka Server started";
const TOPICS_WAIT_MAX: Duration = Duration::from_secs(60);

/// A broker that answers.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) options: ClientOptions,
    /// Its process, where it is on this machine and not this one.
    pub(crate) pid: Option<u32>,
    embedded: Option<EmbeddedBroker>,
    _container: Option<Container>,
}

/// A container that is removed when its handle is dropped.
#[derive(Debug)]
struct Container {
    name: String,
    client: Child,
}

impl Broker {
    /// Starts the broker that the options ask for.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn start(common: &Common) -> Outcome<Self> {
        if common.embedded {
            let broker = EmbeddedBroker::start(&[])?;
            return Ok(Self { options: broker.client_options(), pid: None, embedded: Some(broker), _container: None });
        }
        if let Some(bootstrap) = &common.bootstrap {
            let options = ClientOptions::new(bootstrap);
            return Ok(Self { options, pid: common.broker_pid, embedded: None, _container: None });
        }
        let (clients, controller) = (free_port()?, free_port()?);
        eprintln!("starting {IMAGE} on port {clients}");
        let container = Container::start(clients, controller)?;
        let options = ClientOptions::new(format!("127.0.0.1:{clients}"));
        Ok(Self { options, pid: Some(container.pid()?), embedded: None, _container: Some(container) })
    }

    /// Makes the topics of a run, which nothing is on, and returns their names.
    ///
    /// # Errors
    /// If the broker does not take them.
    pub(crate) async fn make_topics(&self, partitions: i32) -> Outcome<Names> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let (process, nth) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        self.make_topics_named(&format!("bench.{process}.{nth}"), partitions).await
    }

    /// Makes the topics of this name where they are missing, and returns the names of all.
    ///
    /// # Errors
    /// If the broker does not take them.
    pub(crate) async fn make_topics_named(&self, name: &str, partitions: i32) -> Outcome<Names> {
        let names = Names {
            users: name.to_owned(),
            late: format!("{name}.late"),
            dead_letter: format!("{name}.dead-letter"),
            state: None,
        };
        let specs = Spec::contract(&names, partitions, 1);
        match &self.embedded {
            Some(broker) => specs.iter().try_for_each(|spec| broker.create_topic(&spec.topic, spec.partitions))?,
            None => drop(kafka::topics::create(&self.options, &specs, TOPICS_WAIT_MAX).await?),
        }
        Ok(names)
    }
}

impl Container {
    /// Starts Kafka on the network of this machine: a port that Docker publishes goes through a proxy of its own.
    fn start(clients: u16, controller: u16) -> Outcome<Self> {
        let name = format!("rollcall-bench-{}", std::process::id());
        let listeners = format!("CLIENTS://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controller}");
        let variables = [
            "CLUSTER_ID=cm9sbGNhbGwtYmVuY2gtMDA".to_owned(),
            "KAFKA_NODE_ID=1".to_owned(),
            "KAFKA_PROCESS_ROLES=broker,controller".to_owned(),
            format!("KAFKA_CONTROLLER_QUORUM_VOTERS=1@127.0.0.1:{controller}"),
            "KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER".to_owned(),
            "KAFKA_INTER_BROKER_LISTENER_NAME=CLIENTS".to_owned(),
            format!("KAFKA_LISTENERS={listeners}"),
            format!("KAFKA_ADVERTISED_LISTENERS=CLIENTS://127.0.0.1:{clients}"),
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1".to_owned(),
            "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS=5".to_owned(),
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0".to_owned(),
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE=false".to_owned(),
            "KAFKA_HEAP_OPTS=-Xms1g -Xmx1g".to_owned(),
        ];
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "--network", "host", "--name", &name, "--label", LABEL]);
        for variable in &variables {
            command.args(["--env", variable]);
        }
        command.arg(IMAGE).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut client = command.spawn().map_err(|error| format!("docker does not start: {error}"))?;
        let output = client.stdout.take().ok_or("the output of docker is piped")?;
        let container = Self { name, client };
        let mut lines = BufReader::new(output).lines();
        if !lines.by_ref().map_while(Result::ok).any(|line| line.contains(STARTED)) {
            return Err(format!("{IMAGE} ended before it served clients").into());
        }
        // Read on: a full pipe would stop the broker.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(container)
    }

    /// Returns the number of its process on this machine.
    fn pid(&self) -> Outcome<u32> {
        let command = ["inspect", "--format", "{{.State.Pid}}", &self.name];
        let output = Command::new("docker").args(command).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let removed = Command::new("docker").args(["rm", "--force", &self.name]).stdout(Stdio::null()).status();
        if removed.and_then(|_| self.client.wait()).is_err() {
            eprintln!("the container {} may still run", self.name);
        }
    }
}

/// Returns a port of the loopback that nobody listens on at the moment, another one each time.
///
/// Not one of those that systems give to outgoing connections, from 32768 on: the load opens many of them before the
/// service listens.
///
/// # Errors
/// If there is none.
pub(crate) fn free_port() -> Outcome<u16> {
    const FIRST: u32 = 15_000;
    const PORTS: u32 = 15_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Runs at the same time begin far from each other.
    let begin = std::process::id().wrapping_mul(101);
    for _ in 0..PORTS {
        let nth = begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + nth % PORTS)?;
        if TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
}
