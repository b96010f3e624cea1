//! A stranger with very many connections does not keep the others out. Sources are addresses of the loopback network,
//! which Linux has without configuration.
//!
//! `ROLLCALL_ATTACKERS` is the number of connections of an attack; without it there are as many as a test may have
//! files.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Resource, getrlimit};
use service::serve::{Places, ServerLimits, serve};
use service::{Listeners, Metrics, Readiness, Service, Shutdown};
use testkit::Http;
use testkit::http::{read_to_end, request};
use testkit::wait::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

const STRANGER: &str = "127.0.0.2";
const OTHER: &str = "127.0.0.3";
const VENDOR: &str = "127.0.1.1";
/// Several times the places, and below the usual limit of open files.
const FLOOD: usize = 300;

/// The connections of an attack, and how many of its streams come with a connection of HTTP/2.
const ATTACKERS: usize = 5_000;
const STREAMS: usize = 100;
/// The share of the files of a process that an attack may take: other tests run beside it.
const FILES_SHARE: u64 = 4;
/// How many requests of another source are measured, each with a connection of its own.
const REQUESTS: usize = 200;
/// What an answer may take at the most, on a machine that does a dozen other things.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

async fn answered(from: &str, to: SocketAddr) -> bool {
    let mut stream = connect(from, to).await;
    // A connection without a place is closed, perhaps before the request is written.
    let sent = stream.write_all(request("GET", "/", &[], "").as_bytes()).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer, or the end");
    sent.is_ok() && read.is_ok() && answer.ends_with(b"hello")
}

/// Opens connections that begin a head and never end it.
async fn flood(from: &str, to: SocketAddr) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..FLOOD {
        let mut stream = connect(from, to).await;
        let _closed_at_once = stream.write_all(b"GET / HTTP/1.1\r\nhost").await;
        held.push(stream);
    }
    held
}

#[tokio::test]
async fn a_flood_of_slow_connections_leaves_places_for_others() {
    let limits = ServerLimits {
        connections_max: 32,
        connections_per_source_max: 16,
        connections_reserved: 8,
        header_read: PATIENCE,
        // The slow connections never end by themselves.
        drain: Duration::from_millis(50),
        ..ServerLimits::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
    let places = Places::new(&limits, vec!["127.0.1.0/24".parse().unwrap()]);
    let router = Router::new().route("/", get(|| async { "hello" }));
    let server = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { serve(listener, None, limits, &places, router, shutdown).await }
    });

    let _flood = flood(STRANGER, address).await;
    assert!(!answered(STRANGER, address).await, "the stranger holds its share");
    assert!(answered(OTHER, address).await, "another source has a share of its own");
    let mut others = flood(OTHER, address).await;
    assert!(!answered("127.0.0.4", address).await, "strangers hold all places but the reserve");
    for _ in 0..2 * limits.connections_reserved {
        assert!(answered(VENDOR, address).await, "the reserve is for the preferred");
    }
    for stream in &mut others {
        stream.shutdown().await.ok();
        read_to_end(stream).await;
    }
    assert!(answered("127.0.0.4", address).await, "places are free again");
    shutdown.trigger();
    tokio::time::timeout(PATIENCE, server).await.unwrap().unwrap();
}

fn attackers() -> usize {
    #[expect(clippy::disallowed_methods, reason = "the environment tells the size of the attack")]
    let told = std::env::var("ROLLCALL_ATTACKERS").ok().and_then(|text| text.parse().ok());
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / FILES_SHARE;
    told.unwrap_or_else(|| usize::try_from(files).unwrap_or(ATTACKERS).min(ATTACKERS))
}

/// A service as ingest and the projector are, with an admin listener and the limits by default.
struct Attacked {
    http: SocketAddr,
    admin: SocketAddr,
    metrics: Metrics,
    shutdown: Shutdown,
    ended: tokio::task::JoinHandle<()>,
}

impl Attacked {
    async fn start() -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners { http: bind().await.unwrap(), admin: bind().await.unwrap() };
        let (http, admin) = (listeners.http.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/wait", get(|| async { std::future::pending::<&'static str>().await }));
        let (metrics, stop, shutdown) = (Metrics::new(), Shutdown::new(), Shutdown::new());
        let mut parts = JoinSet::new();
        parts.spawn({
            let stop = stop.clone();
            async move {
                stop.requested().await;
                Ok::<(), std::io::Error>(())
            }
        });
        let limits = ServerLimits { http2: true, drain: Duration::from_millis(50), ..ServerLimits::default() };
        let readiness = Readiness::new(&[]);
        let service = Service {
            router,
            tls: None,
            limits,
            preferred: Vec::new(),
            metrics: metrics.clone(),
            readiness,
            parts,
            stop,
        };
        let ended = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { service.run(listeners, &shutdown, async { Ok(()) }).await.outcome.unwrap() }
        });
        Self { http, admin, metrics, shutdown, ended }
    }

    /// Measures requests of another source, and asks the admin routes between them.
    async fn measure(&self, what: &str) {
        let mut took = Vec::new();
        for number in 0..REQUESTS {
            let began = Instant::now();
            let is_answered = tokio::time::timeout(ANSWER_MAX, answered(VENDOR, self.http)).await.unwrap();
            assert!(is_answered, "{what}: request {number}");
            took.push(began.elapsed());
        }
        assert_eq!(Http::to(self.admin).get("/livez").await.status, 200, "{what}: the admin routes answer");
        took.sort();
        let (p50, p99) = (took[REQUESTS / 2], took[REQUESTS * 99 / 100]);
        println!("{what}: {REQUESTS} requests of another source, p50 {p50:?}, p99 {p99:?}");
    }

    async fn stop(self) {
        self.shutdown.trigger();
        tokio::time::timeout(PATIENCE, self.ended).await.unwrap().unwrap();
    }
}

/// Holds so many connections that begin with `begun` and say nothing more. Those that are closed are opened again.
async fn attack(to: SocketAddr, count: usize, begun: &'static [u8], opened: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    const PAUSE: Duration = Duration::from_millis(1);
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut stream = connect(STRANGER, to).await;
        let _closed_at_once = stream.write_all(begun).await;
        if held.len() == count {
            held.swap_remove(opened.load(Ordering::Relaxed) % count);
        }
        held.push(stream);
        if opened.fetch_add(1, Ordering::Relaxed) >= count {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_by_slow_connections_of_either_version_keeps_nobody_out() {
    let service = Attacked::start().await;
    let count = attackers();
    for (what, begun) in [("slow heads", &b"GET / HTTP/1.1\r\nhost"[..]), ("slow connections of HTTP/2", PREFACE)] {
        let (opened, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let attack = tokio::spawn(attack(service.http, count, begun, Arc::clone(&opened), Arc::clone(&stop)));
        testkit::eventually("the attack is under way", 2 * PATIENCE, async || {
            (opened.load(Ordering::Relaxed) >= count).then_some(())
        })
        .await;
        service.measure(&format!("{count} {what}")).await;
        stop.store(true, Ordering::Relaxed);
        attack.await.unwrap();
    }
    let refused = "rollcall_http_connections_refused_total{reason=\"share\"}";
    assert!(service.metrics.encode().contains(refused), "{}", service.metrics.encode());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_by_streams_keeps_nobody_out() {
    let service = Attacked::start().await;
    let count = attackers();
    let (mut clients, mut refused, mut waiting) = (Vec::new(), 0, JoinSet::new());
    for _ in 0..count.div_ceil(STREAMS) {
        let stream = TokioIo::new(connect(STRANGER, service.http).await);
        let (mut requests, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..STREAMS {
            let request = Request::get("http://localhost/wait").body(Empty::<Bytes>::new()).unwrap();
            waiting.spawn(requests.send_request(request));
        }
        clients.push((requests, connection));
    }
    let share = ServerLimits::default().connections_per_source_max;
    while refused < clients.len() * STREAMS - share {
        let answer = tokio::time::timeout(PATIENCE, waiting.join_next()).await.unwrap().unwrap();
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        refused += 1;
    }
    service.measure(&format!("{} streams", clients.len() * STREAMS)).await;
    service.stop().await;
}
