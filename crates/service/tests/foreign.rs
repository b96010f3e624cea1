//! Connections that begin with another protocol than their port speaks.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use service::serve::ServerLimits;
use service::tls::{Files, Tls};
use service::{Listeners, Metrics, Readiness, Service, Shutdown};
use testkit::http::{read_to_end, request};
use testkit::wait::PATIENCE;
use testkit::{Http, eventually};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

const PROXY_2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x10\0\x20\0GET /fast HTTP/1.1\r\nhost: t\r\n\r\n";
const PROXY_1: &[u8] = b"PROXY TCP4 127.0.0.1 127.0.0.1 4096 8192\r\nGET /fast HTTP/1.1\r\nhost: t\r\n\r\n";
const TLS: &[u8] = b"\x16\x03\x01\0\x20\x01\0\0\x1c\x03\x03 a hello of a client that believes to speak TLS";
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n\r\n";

struct Running {
    address: SocketAddr,
    admin: Http,
    shutdown: Shutdown,
    stopped: JoinHandle<()>,
}

impl Running {
    async fn start(tls: Option<Tls>) -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners { http: bind().await.unwrap(), admin: bind().await.unwrap() };
        let (address, admin) = (listeners.http.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let (stop, shutdown) = (Shutdown::new(), Shutdown::new());
        let mut parts = JoinSet::new();
        parts.spawn({
            let stop = stop.clone();
            async move {
                stop.requested().await;
                Ok::<_, String>(())
            }
        });
        let service = Service {
            router: Router::new().route("/fast", get(|| async { "fast\n" })),
            tls,
            limits: ServerLimits::default(),
            preferred: Vec::new(),
            metrics: Metrics::new(),
            readiness: Readiness::new(&[]),
            parts,
            stop,
        };
        let requested = shutdown.clone();
        let stopped = tokio::spawn(async move {
            service.run(listeners, &requested, async { Ok(()) }).await.outcome.unwrap();
        });
        Self { address, admin: Http::to(admin), shutdown, stopped }
    }

    /// Sends bytes on a new connection, and waits for its end.
    async fn send(&self, bytes: &[u8]) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await;
    }

    /// Waits until so many connections of a protocol are counted.
    async fn counts(&self, protocol: &str, count: usize) {
        self.measures(&format!("rollcall_http_foreign_connections_total{{protocol=\"{protocol}\"}} {count}")).await;
    }

    /// Waits until the metrics contain this line.
    async fn measures(&self, line: &str) {
        eventually(line, PATIENCE, async || {
            self.admin.get("/metrics").await.body_text().lines().any(|found| found == line).then_some(())
        })
        .await;
    }

    async fn stop(self) {
        self.shutdown.trigger();
        tokio::time::timeout(PATIENCE, self.stopped).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_malformed_request_is_counted_by_its_reason() {
    let service = Running::start(None).await;
    let coding = b"POST /fast HTTP/1.1\r\nhost: t\r\ntransfer-encoding: gzip\r\n\r\n";
    let after_another = b"GET /fast HTTP/1.1\r\nhost: t\r\n\r\nGET /fast HTTP/9.9\r\n\r\n";
    for (bytes, reason, count) in [
        (&coding[..], "transfer_coding", 1),
        (b"GET /fast HTTP/9.9\r\nhost: t\r\n\r\n", "malformed", 1),
        (after_another, "malformed", 2),
    ] {
        service.send(bytes).await;
        service.measures(&format!("rollcall_http_malformed_requests_total{{reason=\"{reason}\"}} {count}")).await;
    }
    service.measures("rollcall_http_malformed_requests_total{reason=\"head_too_large\"} 0").await;
    service.counts("unknown", 0).await;
    service.stop().await;
}

#[tokio::test]
async fn a_port_without_tls_counts_what_is_no_http() {
    let service = Running::start(None).await;
    for (bytes, protocol, count) in [
        (PROXY_1, "proxy", 1),
        (PROXY_2, "proxy", 2),
        (TLS, "tls", 1),
        (HTTP_2, "http2", 1),
        (SSH, "unknown", 1),
        (TLS, "tls", 2),
    ] {
        service.send(bytes).await;
        service.counts(protocol, count).await;
    }
    // HTTP, though wrong: nothing is set up wrongly.
    service.send(b"GET /fast HTTP/1.1\r\nhost: t\r\na header without a colon\r\n\r\n").await;
    service.send(request("GET", "/fast", &[], "").as_bytes()).await;
    // Nor was anything, where the bytes after a good request are bad.
    service.send(&[b"GET /fast HTTP/1.1\r\nhost: t\r\n\r\n", SSH].concat()).await;
    service.send(PROXY_1).await;
    service.counts("proxy", 3).await;
    let metrics = service.admin.get("/metrics").await;
    let counts =
        metrics.body_text().lines().filter(|line| line.starts_with("rollcall_http_foreign_connections_total{"));
    assert_eq!(counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()).sum::<u32>(), 7);
    service.stop().await;
}

#[tokio::test]
async fn a_port_with_tls_counts_what_is_no_tls() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = testkit::tls::write(folder.path(), &testkit::tls::self_signed("localhost"));
    let files = Files { certificate, key, client_authorities: None };
    let service = Running::start(Some(Tls::open(files, Duration::from_secs(3600)).unwrap())).await;
    service.send(request("GET", "/fast", &[], "").as_bytes()).await;
    service.counts("http", 1).await;
    service.send(PROXY_1).await;
    service.send(PROXY_2).await;
    service.counts("proxy", 2).await;
    // TLS, though broken.
    service.send(TLS).await;
    service.send(SSH).await;
    service.counts("unknown", 1).await;
    service.stop().await;
}
