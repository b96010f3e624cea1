//! HTTP/2 on real loopback sockets: how it is agreed on, and what a peer can hold with it.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use service::Shutdown;
use service::serve::{Drained, Places, ServerLimits, serve};
use testkit::http::{Http, read_to_end};
use testkit::wait::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame (RFC 9113, 6.5).
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const GOAWAY: u8 = 7;
/// What a stream may carry before its client reads, by default (RFC 9113, 6.9.2).
const WINDOW_BYTES: u32 = 65_535;
/// More than the windows of a stream and of a connection hold by default.
const LARGE_BYTES: usize = 1 << 20;

/// A server of `/fast`, `/large`, and `/slow`, which is answered once `release` is notified.
struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    entered: Arc<Notify>,
    release: Arc<Notify>,
    ended: JoinHandle<Drained>,
}

impl Server {
    async fn start(limits: ServerLimits) -> Self {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (entered, release) = (Arc::clone(&entered), Arc::clone(&release));
            move || async move {
                entered.notify_one();
                release.notified().await;
                "slow"
            }
        };
        let router = Router::new()
            .route("/fast", get(|| async { "fast" }))
            .route("/slow", get(slow))
            .route("/large", get(|| async { Body::from(vec![b'x'; LARGE_BYTES]) }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
        let ended = tokio::spawn({
            let (places, shutdown) = (Places::new(&limits, Vec::new()), shutdown.clone());
            async move { serve(listener, None, limits, &places, router, shutdown).await }
        });
        Self { address, shutdown, entered, release, ended }
    }

    async fn client(&self) -> Client {
        self.client_with_window(WINDOW_BYTES).await
    }

    async fn client_with_window(&self, window: u32) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (requests, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        Client { requests, connection: tokio::spawn(async move { connection.await.map_err(drop) }) }
    }

    async fn stop(self) -> Drained {
        self.shutdown.trigger();
        tokio::time::timeout(PATIENCE, self.ended).await.unwrap().unwrap()
    }
}

struct Client {
    requests: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<Result<(), ()>>,
}

impl Client {
    fn get(&mut self, path: &str) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        let request = Request::get(format!("http://localhost{path}")).body(Empty::new()).unwrap();
        self.requests.send_request(request)
    }

    async fn text(&mut self, path: &str) -> (StatusCode, String) {
        let (head, body) = self.get(path).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn ended(self) {
        let _ended_or_reset = tokio::time::timeout(PATIENCE, self.connection).await.unwrap().unwrap();
    }
}

fn limits() -> ServerLimits {
    ServerLimits { http2: true, drain: PATIENCE, ..ServerLimits::default() }
}

#[tokio::test]
async fn both_versions_are_spoken_on_one_port() {
    let server = Server::start(limits()).await;
    let mut client = server.client().await;
    assert_eq!(client.text("/fast").await, (StatusCode::OK, "fast".to_owned()));
    assert_eq!(client.text("/none").await.0, StatusCode::NOT_FOUND);
    assert_eq!(Http::to(server.address).get("/fast").await.body, "fast");
    // A beginning that is torn after its first bytes.
    let mut torn = TcpStream::connect(server.address).await.unwrap();
    torn.write_all(b"P").await.unwrap();
    tokio::time::sleep(Duration::from_millis(30)).await;
    torn.write_all(b"UT /fast HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut torn).await.starts_with("HTTP/1.1 405"));
    let drained = server.stop().await;
    assert_eq!(drained.aborted, 0);
}

#[tokio::test]
async fn where_it_is_off_the_preface_is_a_malformed_request() {
    let server = Server::start(ServerLimits { http2: false, ..limits() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "", "the connection is closed");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_in_flight_is_finished_at_the_stop() {
    let server = Server::start(limits()).await;
    let mut client = server.client().await;
    let answer = tokio::spawn(client.get("/slow"));
    server.entered.notified().await;
    server.shutdown.trigger();
    server.release.notify_one();
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(server.stop().await, Drained { finished: 1, aborted: 0 });
    client.ended().await;
}

#[tokio::test]
async fn a_connection_without_streams_is_closed_after_the_limit_of_idleness() {
    let server = Server::start(ServerLimits {
        idle: Duration::from_millis(200),
        header_read: Duration::from_millis(200),
        ..limits()
    })
    .await;
    server.client().await.ended().await;
    for begun in [&b""[..], b"P", PREFACE, &[PREFACE, SETTINGS].concat()] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        read_to_end(&mut stream).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stream_that_takes_no_data_ends_its_connection() {
    let limits = ServerLimits { write_stall: Duration::from_millis(200), ..limits() };
    let server = Server::start(limits).await;
    let (mut client, mut other) = (server.client().await, server.client_with_window(0).await);
    let small = other.get("/fast").await.unwrap();
    other.ended().await;
    drop(small);
    let stalled = client.get("/large").await.unwrap();
    // What waits for data to give is not stalled.
    let _slow = tokio::spawn(client.get("/slow"));
    server.entered.notified().await;
    client.ended().await;
    drop(stalled);

    let mut client = server.client().await;
    let slow = tokio::spawn(client.get("/slow"));
    server.entered.notified().await;
    tokio::time::sleep(4 * limits.write_stall).await;
    assert_eq!(client.text("/fast").await.0, StatusCode::OK, "the connection goes on");
    server.release.notify_waiters();
    slow.await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn streams_beyond_the_share_of_a_source_are_refused_and_a_reset_gives_a_place_back() {
    const SHARE: usize = 3;
    let limits = ServerLimits { connections_per_source_max: SHARE, ..limits() };
    let server = Server::start(limits).await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    let mut slow = Vec::new();
    for answer in [one.get("/slow"), two.get("/slow"), one.get("/slow")] {
        slow.push(tokio::spawn(answer));
        server.entered.notified().await;
    }
    let (status, text) = two.text("/fast").await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && text.contains("too many requests"), "{status} {text}");
    let first = slow.swap_remove(0);
    first.abort();
    testkit::eventually("the place is free again", PATIENCE, async || {
        (two.text("/fast").await.0 == StatusCode::OK).then_some(())
    })
    .await;
    server.release.notify_waiters();
    for answer in slow {
        assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_resets_what_it_begins_is_sent_away() {
    const STREAMS: u32 = 1_000;
    /// GET http://a/fast: two fields of the static table, then two literals (RFC 7541).
    const HEADERS: &[u8] = &[0x82, 0x86, 0x41, 1, b'a', 0x44, 5, b'/', b'f', b'a', b's', b't'];
    let server = Server::start(limits()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut frames = [PREFACE, SETTINGS].concat();
    for number in 0..STREAMS {
        let id = (2 * number + 1).to_be_bytes();
        // HEADERS with END_HEADERS and END_STREAM, then RST_STREAM with CANCEL.
        frames.extend([0, 0, u8::try_from(HEADERS.len()).unwrap(), 1, 5].iter().chain(&id).chain(HEADERS));
        frames.extend([0, 0, 4, 3, 0].iter().chain(&id).chain(&[0, 0, 0, 8]));
    }
    let _closed_early = stream.write_all(&frames).await;
    let mut answer = Vec::new();
    let _reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(frames_of(&answer).any(|kind| kind == GOAWAY), "the connection is closed: {answer:?}");
    assert_eq!(Http::to(server.address).get("/fast").await.body, "fast");
    server.stop().await;
}

/// Yields the types of the frames.
fn frames_of(mut bytes: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_at_checked(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        bytes = rest.get(length..)?;
        Some(head[3])
    })
}
