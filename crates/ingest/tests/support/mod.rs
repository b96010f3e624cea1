//! The service over real sockets and the embedded broker, for the tests of this crate.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(unreachable_pub, reason = "a module of a test binary has no outside")]

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use ingest::config::Raw;
use ingest::{Config, Listeners, Summary, Topics};
use kafka::embedded::EmbeddedBroker;
use serde_json::Value;
use service::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub const CREATED: &str = include_str!("../../../../schemas/golden/v1/user-created.json");
pub const CHANGED: &str = include_str!("../../../../schemas/golden/v1/user-changed.json");
pub const PATH: &str = "/webhooks/users?secret-key=s3cret";

/// Every wait ends here at the latest; none waits for a duration.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Service {
    pub broker: EmbeddedBroker,
    pub webhooks: SocketAddr,
    pub admin: SocketAddr,
    shutdown: Shutdown,
    ended: JoinHandle<Result<Summary, ingest::Error>>,
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub json: Value,
    pub text: String,
}

impl Service {
    pub async fn start(settings: &str) -> Self {
        let topics = Topics::default();
        let broker = EmbeddedBroker::start(&[(&topics.users, 3), (&topics.late, 1), (&topics.dead_letter, 1)]).unwrap();
        let text = format!("[security]\nsecret_keys = ['s3cret']\n{settings}");
        let mut raw: Raw = toml::from_str(&text).unwrap();
        raw.kafka.bootstrap = broker.bootstrap();
        let config = Config::try_from(raw).unwrap();
        let listener = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let listeners = Listeners { webhooks: listener().await, admin: listener().await };
        let (webhooks, admin) = (listeners.webhooks.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let ended = tokio::spawn(ingest::run(config, listeners, shutdown.clone()));
        Self { broker, webhooks, admin, shutdown, ended }
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    pub async fn send(&self, request: &str) -> Answer {
        exchange(self.webhooks, request).await
    }

    pub fn values(&self, topic: &str) -> Vec<kafka::Record> {
        let options = self.broker.client_options();
        let ranges = kafka::scan::ranges(&options, topic, PATIENCE).unwrap();
        let mut records = Vec::new();
        kafka::scan::scan(&options, topic, &ranges, PATIENCE, |record| {
            records.push(record.to_record());
            ControlFlow::Continue(())
        })
        .unwrap();
        records
    }

    pub async fn stop(self) -> Summary {
        self.stop_and_keep_broker().await.1
    }

    pub async fn stop_and_keep_broker(self) -> (EmbeddedBroker, Summary) {
        self.shutdown.trigger();
        let ended = tokio::time::timeout(PATIENCE, self.ended).await.expect("the service stops");
        (self.broker, ended.unwrap().unwrap())
    }
}

pub async fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read all of a body that it refuses.
    let _ended_early = stream.write_all(request.as_bytes()).await.is_err();
    let mut bytes = Vec::new();
    let _reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer").is_err();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        json: serde_json::from_str(body).unwrap_or(Value::Null),
        text: body.to_owned(),
    }
}
