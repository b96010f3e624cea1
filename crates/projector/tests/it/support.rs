//! What the tests of this folder share: an embedded broker, a running service, and a small HTTP client.

use std::net::SocketAddr;
use std::time::Duration;

use domain::{Facts, Position, UnixMillis, User, UserEvent, UserId, headers, wire};
use kafka::embedded::EmbeddedBroker;
use kafka::publish::{Limits, Outgoing, Publisher};
use projector::{Config, Listeners, Raw, RunError, Summary};
use service::Shutdown;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) const TOPIC: &str = "vcc.users";
pub(crate) const LATE: &str = "vcc.users.late";
/// How long a condition is waited for before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A broker with the topic, and a publisher on it.
pub(crate) struct Kafka {
    pub(crate) broker: EmbeddedBroker,
    publisher: Publisher,
}

impl Kafka {
    pub(crate) fn start(partitions: i32) -> Self {
        let broker = EmbeddedBroker::start(&[(TOPIC, partitions), (LATE, 1)]).unwrap();
        let publisher = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
        Self { broker, publisher }
    }

    pub(crate) async fn publish(&self, event: &UserEvent) -> Position {
        let headers =
            headers::for_event(event, None).into_iter().map(|(n, v)| (n.to_owned(), v.into_bytes())).collect();
        self.append(event.user_id, Some(wire::encode(event)), headers, event.received_at).await
    }

    /// Publishes a delivery where the gate puts those that came after a newer one.
    pub(crate) async fn publish_late(&self, event: &UserEvent) {
        let outgoing = Outgoing {
            topic: LATE.to_owned(),
            key: event.user_id.to_string().into_bytes(),
            value: Some(wire::encode(event)),
            headers: Vec::new(),
            timestamp: event.received_at,
            partition: None,
        };
        self.publisher.publish(outgoing).await.unwrap();
    }

    pub(crate) async fn forget(&self, id: i64, at: i64) -> Position {
        let (user_id, at) = (UserId::new(id).unwrap(), UnixMillis::from_millis(at));
        let headers =
            headers::for_forgotten(user_id, at).into_iter().map(|(n, v)| (n.to_owned(), v.into_bytes())).collect();
        self.append(user_id, None, headers, at).await
    }

    pub(crate) async fn append(
        &self,
        user_id: UserId,
        value: Option<Vec<u8>>,
        headers: Vec<(String, Vec<u8>)>,
        timestamp: UnixMillis,
    ) -> Position {
        let key = user_id.to_string().into_bytes();
        let outgoing = Outgoing { topic: TOPIC.to_owned(), key, value, headers, timestamp, partition: None };
        self.publisher.publish(outgoing).await.unwrap()
    }
}

/// A user with a name that says which it is.
pub(crate) fn user(id: i64, name: &str) -> User {
    let mut user = User::new(UserId::new(id).unwrap());
    user.name = Some(name.to_owned());
    user.username = Some(format!("user{id}"));
    user.email = Some(format!("user{id}@example.com"));
    user.extension = Some((id % 1000).to_string());
    user.state = Some("active".to_owned());
    user.is_agent = Some(id % 2 == 0);
    user.priv_group = Some(id % 5);
    user
}

/// The event that made `new` out of `old`, so many seconds after the epoch.
pub(crate) fn event(old: Option<User>, new: User, second: i64) -> UserEvent {
    UserEvent::new(Facts {
        old,
        new,
        timestamp: UnixMillis::from_millis(second * 1000).to_string(),
        received_at: UnixMillis::from_millis(second * 1000),
        password_changed: false,
        extra: Default::default(),
        omitted: Vec::new(),
    })
    .unwrap()
}

/// A running service.
pub(crate) struct Service {
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    shutdown: Shutdown,
    running: JoinHandle<Result<Summary, RunError>>,
}

impl Service {
    pub(crate) async fn start(kafka: &Kafka, store: &TempDir) -> Self {
        Self::start_with(kafka, store, |_| {}).await
    }

    pub(crate) async fn start_with(kafka: &Kafka, store: &TempDir, change: impl FnOnce(&mut Raw)) -> Self {
        let mut raw = Raw::default();
        raw.store.dir = store.path().to_owned();
        raw.kafka.bootstrap = kafka.broker.bootstrap();
        raw.kafka.properties = kafka.broker.client_options().properties;
        change(&mut raw);
        let config = Config::try_from(raw).unwrap();
        let bind = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let listeners = Listeners { http: bind().await, admin: bind().await };
        let (http, admin) = (listeners.http.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let running = tokio::spawn(projector::run(config, listeners, shutdown.clone()));
        Self { http, admin, shutdown, running }
    }

    pub(crate) async fn ready(&self) {
        let ready = async {
            while get(self.admin, "/readyz", &[]).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        get(self.http, path, &[]).await
    }

    pub(crate) async fn stop(self) -> Summary {
        self.shutdown.trigger();
        self.running.await.unwrap().unwrap()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    request(address, "GET", path, headers).await
}

pub(crate) async fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = send(address, method, path, headers).await;
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    parse(&String::from_utf8(bytes).unwrap())
}

pub(crate) async fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
    stream
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let chunked =
        headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked");
    Answer { status, headers, body: if chunked { unchunk(body) } else { body.to_owned() } }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(rest.get(..size).unwrap());
        body = rest.get(size + 2..).unwrap();
    }
    whole
}
