//! The container engine: whether it can run Apache Kafka, how it is spoken with, who removes what tests started in it.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::{HostConfig, NetworkCreateRequest};
use testcontainers::bollard::query_parameters::CreateImageOptionsBuilder;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};
use tokio::sync::{Mutex, OnceCell};

/// Marks every container and network of a run, so that they can be found and removed together.
const RUN_LABEL: &str = "live.vcc.rollcall.run";
/// How long a pull of the Kafka image may take before the tests go on without it.
const PULL_MAX: Duration = Duration::from_secs(300);
/// How long a broker may take to start on a machine that compiles and tests at the same time.
const START_MAX: Duration = Duration::from_secs(120);

/// Returns whether real Kafka must be there, so that a test which cannot have it fails instead of being left out.
pub(crate) fn kafka_is_required() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the one switch of the test run is in the environment")]
    let switch = std::env::var("ROLLCALL_REQUIRE_KAFKA");
    switch.is_ok_and(|value| value == "1")
}

/// Tells why an image cannot be run, or nothing if it can. Asked once in a run: the answer does not change.
pub(crate) async fn why_unavailable(image: &str, tag: &str) -> Option<&'static str> {
    static ANSWER: OnceCell<Option<String>> = OnceCell::const_new();
    ANSWER.get_or_init(|| ask(image, tag)).await.as_deref()
}

async fn ask(image: &str, tag: &str) -> Option<String> {
    let docker = match negotiated_client().await {
        Ok(docker) => docker,
        Err(error) => return Some(format!("no container engine answers: {error}")),
    };
    let name = format!("{image}:{tag}");
    if docker.inspect_image(&name).await.is_ok() {
        return None;
    }
    let options = CreateImageOptionsBuilder::new().from_image(image).tag(tag).build();
    let pull = docker.create_image(Some(options), None, None).try_for_each(|_| async { Ok(()) });
    let cause = match tokio::time::timeout(PULL_MAX, pull).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not done after {} s", PULL_MAX.as_secs()),
    };
    Some(format!("no image {name}, and it cannot be pulled ({cause}); deploy/kafka-image/build makes one"))
}

/// Returns a client that speaks a version of the API which the engine knows.
pub(crate) async fn negotiated_client() -> Result<Docker, String> {
    let docker = docker_client_instance().await.map_err(|error| error.to_string())?;
    docker.negotiate_version().await.map_err(|error| error.to_string())
}

/// Starts a container that is removed when its handle is dropped or, at the latest, when this process is gone.
pub(crate) async fn start(
    request: ContainerRequest<GenericImage>,
    network: Option<String>,
) -> ContainerAsync<GenericImage> {
    let reaper = &*REAPER;
    request
        .with_label(RUN_LABEL, &reaper.run)
        .with_startup_timeout(START_MAX)
        .with_host_config_modifier(move |host_config| before_creation(host_config, network.as_deref()))
        .start()
        .await
        .expect("the container starts")
}

/// Runs inside `start`, when testcontainers has its client and has not used it yet.
///
/// The client asks for the newest version of the API that it knows, which an engine older than that refuses. It is
/// shared by everything that is alive at the time, its version included, so that negotiating it here lowers it for
/// `start` as well. There is no other moment: between two containers the library drops its client.
fn before_creation(host_config: &mut HostConfig, network: Option<&str>) {
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async {
            let docker = negotiated_client().await.expect("the engine was asked before");
            if let Some(name) = network {
                ensure_network(&docker, name).await;
                host_config.network_mode = Some(name.to_owned());
            }
        });
    });
    // The ports are for this machine alone.
    for binding in host_config.port_bindings.iter_mut().flat_map(|ports| ports.values_mut()).flatten().flatten() {
        binding.host_ip = Some(Ipv4Addr::LOCALHOST.to_string());
    }
}

async fn ensure_network(docker: &Docker, name: &str) {
    // The engine makes two networks of one name if it is asked twice.
    static MAKING: Mutex<()> = Mutex::const_new(());
    let _making = MAKING.lock().await;
    if docker.inspect_network(name, None).await.is_ok() {
        return;
    }
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        labels: Some([(RUN_LABEL.to_owned(), REAPER.run.clone())].into()),
        ..NetworkCreateRequest::default()
    };
    docker.create_network(request).await.expect("the engine makes a network");
}

/// Returns a port of the loopback address that nobody listens on, another one each time.
///
/// Kafka tells its clients where to find it, so its port on the host must be known before it starts and stay the same
/// when it is started again; a port that the engine picks is neither. While it is down nobody else may get the port: so
/// it is not one of those that systems give to outgoing connections, from 32768 on, or 49152.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 15_000;
    const PORTS: u32 = 15_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Runs at the same time begin far from each other.
    let begin = std::process::id().wrapping_mul(101);
    (0..PORTS)
        .map(|_| FIRST + begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS)
        .map(|port| u16::try_from(port).expect("it is below 30,000"))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a port is free")
}

/// Removes what this run has started once this process is gone, however it ended.
///
/// A container in a static is never dropped, and a killed process drops nothing.
struct Reaper {
    run: String,
    _child: Child,
}

static REAPER: LazyLock<Reaper> = LazyLock::new(|| {
    let run = std::process::id().to_string();
    let script = format!(
        "docker ps --all --quiet --filter label={RUN_LABEL}={run} | xargs -r docker rm --force --volumes
         docker network ls --quiet --filter label={RUN_LABEL}={run} | xargs -r docker network rm"
    );
    Reaper { run, _child: afterwards("", &script) }
});

/// Runs `begin` in a shell, and `end` when this process is gone, however it ended: the shell waits for the end of its
/// standard input, whose other end nobody else holds. It has a process group of its own: the Ctrl-C that ends the tests
/// must not end it.
pub(crate) fn afterwards(begin: &str, end: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("{begin}\ncat >/dev/null\n{end}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("there is a shell")
}

/// Leaves out a test for which something of Kafka's ecosystem is missing, and says so; with
/// `ROLLCALL_REQUIRE_ECOSYSTEM=1` it fails.
pub(crate) fn leave_out_of_ecosystem(test: &str, reason: &str) {
    #[expect(clippy::disallowed_methods, reason = "this switch of the test run is in the environment too")]
    let switch = std::env::var("ROLLCALL_REQUIRE_ECOSYSTEM");
    assert!(switch.as_deref() != Ok("1"), "{test} cannot run: {reason}");
    tell_left_out(test, reason);
}

/// Says in one line that a test was left out. Straight to the stream, past what the test harness holds back of a test
/// that passes: who reads the output of a run must see what it did not show.
pub(crate) fn tell_left_out(test: &str, reason: &str) {
    let test = test.trim_start_matches("e2e::");
    writeln!(std::io::stderr(), "left out: {test}: {reason}").expect("standard error can be written");
}
