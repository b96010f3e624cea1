//! What the tests of this folder share: a running service, and requests to it.

use std::net::SocketAddr;
use std::time::Duration;

use domain::UnixMillis;
use projector::{Config, Listeners, Raw, RunError, Summary};
use service::Shutdown;
use tempfile::TempDir;
use testkit::broker::Log;
use testkit::{Answer, Http, eventually};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const TOPIC: &str = "vcc.users";
/// How long a condition is waited for before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a service that goes by a clock of the test looks at it: longer than a look takes, since nothing is read
/// meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A running service.
pub(crate) struct Service {
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    shutdown: Shutdown,
    running: JoinHandle<Result<Summary, RunError>>,
}

impl Service {
    pub(crate) async fn start(kafka: &Log, store: &TempDir) -> Self {
        Self::start_with(kafka, store, |_| {}).await
    }

    /// Starts a service that goes by this clock, and looks at it often.
    pub(crate) async fn start_at(kafka: &Log, store: &TempDir, clock: fn() -> UnixMillis) -> Self {
        Self::start_at_with(kafka, store, clock, |_| {}).await
    }

    pub(crate) async fn start_at_with(
        kafka: &Log,
        store: &TempDir,
        clock: fn() -> UnixMillis,
        change: impl FnOnce(&mut Raw),
    ) -> Self {
        let mut config = config(kafka, store, change);
        (config.projection.clock, config.projection.look_interval) = (clock, LOOK_INTERVAL);
        Self::run(config).await
    }

    /// Starts a service in which so many changes wait for the slowest subscriber.
    pub(crate) async fn start_waiting(kafka: &Log, store: &TempDir, changes_waiting_max: usize) -> Self {
        let mut config = config(kafka, store, |_| {});
        config.projection.changes_waiting_max = changes_waiting_max;
        Self::run(config).await
    }

    pub(crate) async fn start_with(kafka: &Log, store: &TempDir, change: impl FnOnce(&mut Raw)) -> Self {
        Self::run(config(kafka, store, change)).await
    }

    async fn run(config: Config) -> Self {
        let bind = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let listeners = Listeners { http: bind().await, admin: bind().await };
        let (http, admin) = (listeners.http.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let running = tokio::spawn(projector::run(config, listeners, shutdown.clone()));
        Self { http, admin, shutdown, running }
    }

    /// Tries to start a service on all addresses of this machine that is configured for the loopback, and returns why
    /// that fails.
    pub(crate) async fn refused_beyond_the_loopback(kafka: &Log, store: &TempDir) -> RunError {
        let bind = || async { TcpListener::bind("0.0.0.0:0").await.unwrap() };
        let listeners = Listeners { http: bind().await, admin: bind().await };
        projector::run(config(kafka, store, |_| {}), listeners, Shutdown::new()).await.unwrap_err()
    }

    pub(crate) async fn ready(&self) {
        let ready = async || (get(self.admin, "/readyz", &[]).await.status == 200).then_some(());
        eventually("the service is ready", PATIENCE, ready).await;
    }

    /// Gets a path. What waits for a position, and does not say for how long, has time on a busy machine too.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let patience = if path.contains("at_least=") && !path.contains("wait_ms=") { "&wait_ms=30000" } else { "" };
        get(self.http, &format!("{path}{patience}"), &[]).await
    }

    /// Returns the value of a metric, with its labels as they are written.
    pub(crate) async fn metric(&self, name: &str) -> Option<i64> {
        let metrics = get(self.admin, "/metrics", &[]).await;
        metrics.body_text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Returns how many rebuilds there were, for whatever reason.
    pub(crate) async fn rebuilds(&self) -> i64 {
        let metrics = get(self.admin, "/metrics", &[]).await;
        let counts = metrics.body_text().lines().filter(|line| line.starts_with("rollcall_projector_rebuilds_total{"));
        counts.map(|line| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum()
    }

    pub(crate) async fn stop(self) -> Summary {
        self.shutdown.trigger();
        self.running.await.unwrap().unwrap()
    }
}

fn config(kafka: &Log, store: &TempDir, change: impl FnOnce(&mut Raw)) -> Config {
    let mut raw = Raw::default();
    raw.store.dir = store.path().to_owned();
    raw.http.close_delay_ms = 0;
    raw.kafka.bootstrap = kafka.broker.bootstrap();
    raw.kafka.properties = kafka.options().properties;
    change(&mut raw);
    Config::try_from(raw).unwrap()
}

pub(crate) async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    request(address, "GET", path, headers).await
}

pub(crate) async fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    Http::to(address).exchange(&text(method, path, headers)).await
}

/// Sends a request, and returns the connection from which its answer comes.
pub(crate) async fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream {
    Http::to(address).open(&text(method, path, headers)).await
}

fn text(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    testkit::http::request(method, path, &lines, "")
}

/// Returns the place in a position that was answered.
pub(crate) fn place(named: &serde_json::Value) -> domain::Position {
    named.as_str().unwrap().parse::<domain::TopicPosition>().unwrap().position
}

/// Returns a user as answered, without the time as of which it was.
pub(crate) fn timeless(mut user: serde_json::Value) -> serde_json::Value {
    user["_meta"].as_object_mut().unwrap().remove("asOf").unwrap();
    user
}
