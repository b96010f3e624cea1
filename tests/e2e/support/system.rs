//! Ingest and projector in this process, on ports of their own, each from `run(config, listeners, shutdown)`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::topics::Names;
use domain::{UnixMillis, UserEvent};
use hyper::StatusCode;
use hyper::body::Bytes;
use ingest::pipeline;
use ingest::transport::{BodyPolicy, RawRequest, SenderPolicy, authenticate};
use kafka::ClientOptions;
use service::registry::{Patience, Schemas};
use service::secret::Secret;
use service::{Metrics, Shutdown, settings};
use tempfile::TempDir;
use testkit::registry::FakeRegistry;
use testkit::{Answer, Http, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::broker::Broker;

/// The secret that the sender of these tests puts into the webhook's address.
pub(crate) const SECRET: &str = "a secret of the tests";
/// Where it posts to, with the secret as it stands in a query.
pub(crate) const WEBHOOK: &str = "/webhooks/users?secret-key=a%20secret%20of%20the%20tests";
/// How long a service may take to be ready or to stop.
const SERVICE_MAX: Duration = Duration::from_secs(60);

/// A running service.
pub(crate) struct Running<Outcome> {
    pub(crate) http: Http,
    address: SocketAddr,
    admin: Http,
    shutdown: Shutdown,
    task: JoinHandle<Outcome>,
}

pub(crate) type Ingest = Running<Result<ingest::Summary, ingest::Error>>;
pub(crate) type Projector = Running<Result<projector::Summary, projector::RunError>>;

impl Ingest {
    /// Starts ingest with the configuration as `adjust` leaves it, ready or not.
    pub(crate) async fn start(
        options: &ClientOptions,
        names: &Names,
        adjust: impl FnOnce(&mut ingest::config::Raw),
    ) -> Self {
        Self::start_with_clock(options, names, now, adjust).await
    }

    /// Starts ingest on a machine with this clock.
    pub(crate) async fn start_with_clock(
        options: &ClientOptions,
        names: &Names,
        clock: fn() -> UnixMillis,
        adjust: impl FnOnce(&mut ingest::config::Raw),
    ) -> Self {
        let mut raw = ingest::config::Raw { kafka: kafka(options), topics: names.clone().into(), ..Default::default() };
        raw.security.secret_keys = vec![Secret::new(SECRET)];
        raw.http.close_delay_ms = 0;
        adjust(&mut raw);
        let config = raw.try_into().expect("the configuration has no fault");
        let (http, admin) = (listener().await, listener().await);
        let (client, admin_client) = (client_of(&http), client_of(&admin));
        let address = address_of(&http);
        let shutdown = Shutdown::new();
        let task = tokio::spawn(ingest::run(config, ingest::Listeners { http, admin }, clock, shutdown.clone()));
        Self { http: client, address, admin: admin_client, shutdown, task }
    }

    /// Delivers a webhook.
    pub(crate) async fn post(&self, body: impl Into<Bytes>) -> Answer {
        self.http.post(WEBHOOK, body).await
    }
}

impl Projector {
    /// Starts a projector on the store in a folder, with the configuration as `adjust` leaves it, ready or not.
    pub(crate) async fn start(
        options: &ClientOptions,
        names: &Names,
        dir: &Path,
        adjust: impl FnOnce(&mut projector::Raw),
    ) -> Self {
        let mut raw = projector::Raw { kafka: kafka(options), topics: names.clone().into(), ..Default::default() };
        raw.store.dir = dir.to_owned();
        raw.http.close_delay_ms = 0;
        adjust(&mut raw);
        let mut config: projector::Config = raw.try_into().expect("the configuration has no fault");
        config.projection.clock = now;
        let (http, admin) = (listener().await, listener().await);
        let (client, admin_http) = (client_of(&http), client_of(&admin));
        let address = address_of(&http);
        let shutdown = Shutdown::new();
        let task = tokio::spawn(projector::run(config, projector::Listeners { http, admin }, shutdown.clone()));
        Self { http: client, address, admin: admin_http, shutdown, task }
    }
}

impl<Outcome> Running<Outcome> {
    /// Waits until the service says that it is ready.
    pub(crate) async fn ready(&self) {
        eventually("the service is ready", SERVICE_MAX, async || {
            assert!(!self.task.is_finished(), "the service has ended instead of getting ready");
            (self.admin.get("/readyz").await.status == StatusCode::OK).then_some(())
        })
        .await;
    }

    /// Returns the URL of the service's own listener.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns a client of the admin listener.
    pub(crate) fn admin(&self) -> &Http {
        &self.admin
    }

    /// Returns what the service says of its readiness.
    pub(crate) async fn readiness(&self) -> Answer {
        self.admin.get("/readyz").await
    }

    /// Returns the service's metrics as text.
    pub(crate) async fn metrics(&self) -> String {
        self.admin.get("/metrics").await.body_text().to_owned()
    }

    /// Stops the service as an operator does, and returns what its run came to.
    pub(crate) async fn stop(self) -> Outcome {
        self.shutdown.trigger();
        let stopped = tokio::time::timeout(SERVICE_MAX, self.task).await;
        stopped.expect("the service stops in time").expect("the service does not panic")
    }
}

/// Returns the event of a delivery in clear text that arrives now, for a test that appends it past the gate.
pub(crate) fn event_of(body: &str) -> UserEvent {
    let request = RawRequest { query: String::new(), peer: Ipv4Addr::LOCALHOST.into(), forwarded_for: Vec::new() };
    let sender = authenticate(&request, &SenderPolicy::default()).expect("nobody is asked for a secret");
    let event = pipeline::accept(&sender.sent(body.to_owned().into()), &BodyPolicy::default(), now());
    event.expect("the delivery is right")
}

/// Both services on topics of their own, ready.
pub(crate) struct System {
    pub(crate) options: ClientOptions,
    pub(crate) names: Names,
    pub(crate) ingest: Ingest,
    pub(crate) projector: Projector,
    /// Empty without a registry.
    pub(crate) registry_url: String,
    /// It answers until it goes.
    _registry: Option<FakeRegistry>,
    /// The projector's; it goes when the system goes.
    pub(crate) store: TempDir,
}

impl System {
    pub(crate) async fn start(broker: &Broker, partitions: i32) -> Self {
        Self::start_with(broker, partitions, |_| {}).await
    }

    /// Starts a system whose projector has the configuration as `adjust` leaves it.
    pub(crate) async fn start_with(broker: &Broker, partitions: i32, adjust: impl FnOnce(&mut projector::Raw)) -> Self {
        let names = broker.make_topics(partitions).await;
        let adjust = |raw: &mut projector::Raw| {
            raw.topics.partitions = partitions;
            adjust(raw);
        };
        Self::start_on(broker, names, None, adjust).await
    }

    /// Starts a system whose events are framed by the id of a registry, and that writes the state topic.
    pub(crate) async fn start_with_registry_and_state_topic(broker: &Broker, partitions: i32) -> Self {
        let names = broker.make_topics(partitions).await;
        let names = broker.make_state_topic(names, partitions).await;
        Self::start_on(broker, names, Some(FakeRegistry::start().await), |_| {}).await
    }

    async fn start_on(
        broker: &Broker,
        names: Names,
        registry: Option<FakeRegistry>,
        adjust: impl FnOnce(&mut projector::Raw),
    ) -> Self {
        let options = broker.client_options();
        let store = TempDir::new().expect("a folder can be made");
        let url = registry.as_ref().map(FakeRegistry::url).unwrap_or_default();
        let ingest = Ingest::start(&options, &names, |raw| {
            raw.registry.url.clone_from(&url);
            raw.state_topic.enabled = names.state.is_some();
            if let Some(topic) = &names.state {
                raw.state_topic.topic.clone_from(topic);
            }
        })
        .await;
        let projector = Projector::start(&options, &names, store.path(), |raw| {
            raw.registry.url.clone_from(&url);
            adjust(raw);
        })
        .await;
        ingest.ready().await;
        projector.ready().await;
        Self { options, names, ingest, projector, registry_url: url, _registry: registry, store }
    }

    /// Returns the schemas as a command opens them.
    pub(crate) async fn schemas(&self) -> Schemas {
        let raw = settings::Registry { url: self.registry_url.clone(), ..Default::default() };
        let registry = raw.options(&mut Default::default());
        let opened = Schemas::open(registry, &self.names.users, Patience::COMMAND, &Metrics::new()).await;
        opened.expect("the registry answers")
    }

    /// Returns the current state of a user, once the projector has seen a delivery that was answered so.
    pub(crate) async fn user_after(&self, user_id: u64, delivery: &Answer) -> Answer {
        let position = delivery.text("/position");
        self.projector.http.get(&format!("/users/{user_id}?at_least={position}&wait_ms=30000")).await
    }

    /// Stops both services; neither may have failed.
    pub(crate) async fn stop(self) -> ingest::Summary {
        let summary = self.ingest.stop().await.expect("ingest ends well");
        self.projector.stop().await.expect("the projector ends well");
        summary
    }
}

fn kafka(options: &ClientOptions) -> settings::Kafka {
    let ClientOptions { bootstrap, client_id, group_prefix, properties, .. } = options.clone();
    settings::Kafka { bootstrap, client_id, group_prefix, properties, ..Default::default() }
}

/// The clock of both services, as the command line hands it to them.
pub(crate) fn now() -> UnixMillis {
    #[expect(clippy::disallowed_methods, reason = "these tests stand in for the command line")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    UnixMillis::from_millis(i64::try_from(since_epoch.as_millis()).expect("it is not the end of time"))
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free")
}

fn client_of(listener: &TcpListener) -> Http {
    Http::to(address_of(listener))
}

fn address_of(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a listener has an address")
}
