//! The service on real sockets with the embedded broker, for the tests of this crate.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(unreachable_pub, reason = "a module of a test binary has no outside")]

use domain::UnixMillis;
use ingest::config::Raw;
use ingest::{Config, Listeners, Summary};
use service::Shutdown;
use testkit::broker::Log;
use testkit::wait::PATIENCE;
use testkit::{Answer, Http, eventually};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const PATH: &str = "/webhooks/users?secret-key=a-secret-of-the-tests";

pub struct Service {
    pub log: Log,
    pub http: Http,
    pub admin: Http,
    shutdown: Shutdown,
    ended: JoinHandle<Result<Summary, ingest::Error>>,
}

impl Service {
    pub async fn start(settings: &str) -> Self {
        Self::start_at(settings, arrival).await
    }

    /// Starts the service with another clock.
    pub async fn start_at(settings: &str, clock: fn() -> UnixMillis) -> Self {
        let log = Log::start(3);
        let text = format!("[security]\nsecret_keys = ['a-secret-of-the-tests']\n{settings}");
        let mut raw: Raw = toml::from_str(&text).unwrap();
        raw.kafka.bootstrap = log.broker.bootstrap();
        raw.http.close_delay_ms = 0;
        let config = Config::try_from(raw).unwrap();
        let listener = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let listeners = Listeners { http: listener().await, admin: listener().await };
        let client = |listener: &TcpListener| Http::to(listener.local_addr().unwrap());
        let (http, admin) = (client(&listeners.http), client(&listeners.admin));
        let shutdown = Shutdown::new();
        let ended = tokio::spawn(ingest::run(config, listeners, clock, shutdown.clone()));
        Self { log, http, admin, shutdown, ended }
    }

    /// Returns the reason why the service does not start.
    pub async fn refused(settings: &str) -> ingest::Error {
        let ended = tokio::time::timeout(PATIENCE, Self::start(settings).await.ended).await;
        ended.expect("the service does not run").unwrap().unwrap_err()
    }

    /// Sends a request on a new connection, because a body may be refused before all of it is read.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.http.exchange(&testkit::http::request("POST", path, &[], body)).await
    }

    pub async fn values(&self, topic: &str) -> Vec<kafka::Record> {
        self.log.records(topic).await
    }

    /// Waits until the answer to `body` has `status`.
    pub async fn answered(&self, body: &str, status: &str) -> Answer {
        eventually(status, PATIENCE, async || {
            Some(self.post(PATH, body).await).filter(|answer| answer.json()["status"] == status)
        })
        .await
    }

    /// Waits until the metrics contain this line.
    pub async fn measures(&self, line: &str) {
        eventually(line, PATIENCE, async || {
            let metrics = self.admin.get("/metrics").await;
            metrics.body_text().lines().any(|found| found == line).then_some(())
        })
        .await;
    }

    pub async fn stop(self) -> Summary {
        self.stop_and_keep_log().await.1
    }

    pub async fn stop_and_keep_log(self) -> (Log, Summary) {
        self.shutdown.trigger();
        let ended = tokio::time::timeout(PATIENCE, self.ended).await.expect("the service stops");
        (self.log, ended.unwrap().unwrap())
    }
}

/// Later than the vendor's samples, and earlier than any event that a test sends as newer.
pub fn arrival() -> UnixMillis {
    UnixMillis::from_millis(1_600_000_000_000)
}
