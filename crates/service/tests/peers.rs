//! Limits on the resources that peers can hold in the accept loop, on real loopback sockets.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Extension;
use axum::routing::get;
use axum::{Router, extract::Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVerifyMode};
use openssl::symm::Cipher;
use service::serve::{Drained, PeerAddr, Places, ServerLimits, serve};
use service::tls::{Error, Files, Tls};
use service::{Problem, Shutdown};
use testkit::http::{Http, read_to_end, request};
use testkit::tls::self_signed;
use testkit::wait::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// More than the buffers of two sockets hold (tcp(7): at most 4 and 6 MiB).
const LARGE_BYTES: usize = 32 << 20;

/// A server whose `/slow` notifies `entered`, then answers once `release` is notified.
struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    entered: Arc<Notify>,
    release: Arc<Notify>,
    ended: JoinHandle<Drained>,
}

impl Server {
    async fn start(limits: ServerLimits, tls: Option<Tls>) -> Self {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (entered, release) = (Arc::clone(&entered), Arc::clone(&release));
            move || async move {
                entered.notify_one();
                release.notified().await;
                "slow\n"
            }
        };
        let router = Router::new()
            .route("/fast", get(|| async { "fast\n" }))
            .route("/slow", get(slow))
            .route("/large", get(|| async { vec![b'x'; LARGE_BYTES] }))
            .route("/peer", get(|Extension(PeerAddr(peer)): Extension<PeerAddr>| async move { peer.to_string() }))
            .route("/scheme", get(|Extension(scheme): Extension<http::uri::Scheme>| async move { scheme.to_string() }))
            .route("/panic", get(|_: Request| async { panic!("as the test wants") as &'static str }))
            .fallback(|| async { Problem::not_found() })
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed("GET") });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
        let ended = tokio::spawn({
            let (places, shutdown) = (Places::new(&limits, Vec::new()), shutdown.clone());
            async move { serve(listener, tls, limits, &places, router, shutdown).await }
        });
        Self { address, shutdown, entered, release, ended }
    }

    /// Sends `text` on a new connection, and leaves it open.
    async fn open(&self, text: &str) -> TcpStream {
        Http::to(self.address).open(text).await
    }

    /// Sends `text` on a new connection and returns everything that the server sends before it closes the connection.
    async fn exchange(&self, text: &str) -> String {
        Http::to(self.address).raw(text).await
    }

    async fn stop(self) -> Drained {
        self.shutdown.trigger();
        tokio::time::timeout(PATIENCE, self.ended).await.expect("the server ends").unwrap()
    }
}

fn get_request(path: &str) -> String {
    request("GET", path, &[], "")
}

#[tokio::test]
async fn requests_are_answered_and_know_their_peer() {
    let server = Server::start(ServerLimits::default(), None).await;
    assert!(server.exchange(&get_request("/fast")).await.ends_with("fast\n"));
    let mut stream = server.open(&get_request("/peer")).await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.ends_with(&stream.local_addr().unwrap().to_string()), "{answer}");
    assert!(server.exchange(&get_request("/nowhere")).await.starts_with("HTTP/1.1 404"));
    assert!(server.exchange(&get_request("/scheme")).await.ends_with("\r\nhttp"));
    let answer = server.exchange(&request("POST", "/fast", &[], "")).await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET\r\n"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_closes_its_sending_half_gets_its_answer() {
    let server = Server::start(ServerLimits::default(), None).await;
    let mut stream = server.open("GET /slow HTTP/1.1\r\nhost: t\r\n\r\n").await;
    stream.shutdown().await.unwrap();
    server.entered.notified().await;
    server.release.notify_one();
    assert!(read_to_end(&mut stream).await.ends_with("slow\n"));
    server.stop().await;
}

#[tokio::test]
async fn silent_and_slow_peers_are_let_go() {
    let brief = Duration::from_millis(50);
    let limits = ServerLimits { header_read: brief, idle: brief, ..ServerLimits::default() };
    let server = Server::start(limits, None).await;
    assert_eq!(server.exchange("").await, "", "a peer that says nothing");
    let slow = server.exchange("GET /fast HTTP/1.1\r\nhost").await;
    assert!(!slow.contains("200"), "a peer that never ends its head: {slow}");
    let idle = server.exchange("GET /fast HTTP/1.1\r\nhost: t\r\n\r\n").await;
    assert!(idle.ends_with("fast\n"), "a connection kept open is closed once it is idle: {idle}");
    server.stop().await;
}

/// An idle connection and a slow head have limits of their own.
#[tokio::test]
async fn a_head_is_limited_from_its_first_byte() {
    let limits = ServerLimits { header_read: Duration::from_millis(50), idle: PATIENCE, ..ServerLimits::default() };
    let server = Server::start(limits, None).await;
    let mut kept = server.open("GET /fast HTTP/1.1\r\nhost: t\r\n\r\n").await;
    let mut answer = [0; 15];
    kept.read_exact(&mut answer).await.unwrap();
    let slow = server.exchange("GET /fast HTTP/1.1\r\nhost").await;
    assert!(!slow.contains("200"), "a peer that never ends its head: {slow}");
    // Longer than the limit of a head has passed by now.
    kept.write_all(get_request("/fast").as_bytes()).await.unwrap();
    assert!(read_to_end(&mut kept).await.ends_with("fast\n"), "the idle connection is still open");
    server.stop().await;
}

#[tokio::test]
async fn garbage_is_answered_with_400_and_closed() {
    let server = Server::start(ServerLimits::default(), None).await;
    for garbage in
        ["\u{1}\u{2}\u{3}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n"]
    {
        let answer = server.exchange(garbage).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{garbage:?}: {answer}");
    }
    let pipelined = server.exchange("GET /fast HTTP/1.1\r\nhost: t\r\n\r\ngarbage\r\n\r\n").await;
    assert!(pipelined.starts_with("HTTP/1.1 200") && pipelined.contains("HTTP/1.1 400"), "{pipelined}");
    let endless = format!("GET /fast HTTP/1.1\r\nx: {}", "a".repeat(64 * 1024));
    assert!(server.exchange(&endless).await.starts_with("HTTP/1.1 431"));
    server.stop().await;
}

#[tokio::test]
async fn past_the_limit_a_connection_waits_for_a_place() {
    let server = Server::start(ServerLimits { connections_max: 1, ..ServerLimits::default() }, None).await;
    let mut first = server.open(&get_request("/slow")).await;
    server.entered.notified().await;
    let mut second = server.open(&get_request("/fast")).await;
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second connection was served beside the first");
    server.release.notify_one();
    assert!(read_to_end(&mut first).await.ends_with("slow\n"));
    assert!(read_to_end(&mut second).await.ends_with("fast\n"));
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_reads_no_more_loses_its_place() {
    let limits = ServerLimits { connections_max: 1, write_stall: Duration::from_millis(50), ..ServerLimits::default() };
    let server = Server::start(limits, None).await;
    let mut stalled = server.open(&get_request("/large")).await;
    assert!(server.exchange(&get_request("/fast")).await.ends_with("fast\n"), "the place was not free again");
    let received = read_to_end(&mut stalled).await;
    assert!(received.len() < LARGE_BYTES, "the answer was cut");
    server.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let server = Server::start(ServerLimits::default(), None).await;
    let mut idle = server.open("GET /fast HTTP/1.1\r\nhost: t\r\n\r\n").await;
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).await.unwrap();
    let mut busy = server.open("GET /slow HTTP/1.1\r\nhost: t\r\n\r\n").await;
    server.entered.notified().await;

    server.shutdown.trigger();
    read_to_end(&mut idle).await;
    assert!(!server.ended.is_finished(), "a request is in flight");
    let refused = TcpStream::connect(server.address).await;
    assert!(refused.is_err(), "nothing new is accepted");
    server.release.notify_one();
    assert!(read_to_end(&mut busy).await.ends_with("slow\n"));
    let drained = tokio::time::timeout(PATIENCE, server.ended).await.unwrap().unwrap();
    assert_eq!(drained.aborted, 0);
    assert!(drained.finished >= 1, "{drained:?}");
}

#[tokio::test]
async fn the_deadline_cuts_what_does_not_finish() {
    let server =
        Server::start(ServerLimits { drain: Duration::from_millis(50), ..ServerLimits::default() }, None).await;
    let mut stuck = server.open(&get_request("/slow")).await;
    server.entered.notified().await;
    assert_eq!(server.stop().await, Drained { finished: 0, aborted: 1 });
    assert_eq!(read_to_end(&mut stuck).await, "");
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_nothing_else() {
    let server = Server::start(ServerLimits::default(), None).await;
    assert_eq!(server.exchange(&get_request("/panic")).await, "");
    assert!(server.exchange(&get_request("/fast")).await.ends_with("fast\n"));
    server.stop().await;
}

#[tokio::test]
async fn tls_is_spoken_and_its_certificate_is_renewed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    write_certificate("first", &certificate, &key);
    let tls = Tls::open(files(&certificate, &key), Duration::from_millis(20)).unwrap();
    let server = Server::start(ServerLimits::default(), Some(tls)).await;
    assert_eq!(tls_exchange(server.address, "/fast").await, ("first".to_owned(), "fast\n".to_owned()));
    assert_eq!(tls_exchange(server.address, "/scheme").await.1, "https");

    // Tools that copy files keep their times.
    let time = std::fs::metadata(&certificate).unwrap().modified().unwrap();
    std::fs::write(&certificate, "not a certificate").unwrap();
    assert_eq!(tls_exchange(server.address, "/fast").await.0, "first", "what cannot be used changes nothing");

    write_certificate("second", &certificate, &key);
    for path in [&certificate, &key] {
        std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    }
    testkit::eventually("the new certificate is used", PATIENCE, async || {
        (tls_exchange(server.address, "/fast").await.0 == "second").then_some(())
    })
    .await;
    let plain = server.exchange(&get_request("/fast")).await;
    assert!(!plain.contains("fast\n"), "clear text is not answered: {plain}");
    server.stop().await;
}

#[tokio::test]
async fn the_version_of_http_is_agreed_on_in_the_handshake() {
    const BOTH: &[u8] = b"\x02h2\x08http/1.1";
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    write_certificate("first", &certificate, &key);
    for (http2, offered, agreed) in [
        (true, BOTH, Some(&b"h2"[..])),
        (true, &BOTH[3..], Some(b"http/1.1")),
        (true, b"\x03foo", None),
        (false, BOTH, Some(b"http/1.1")),
    ] {
        let tls = Tls::open(files(&certificate, &key), Duration::from_secs(3600)).unwrap();
        let server = Server::start(ServerLimits { http2, ..ServerLimits::default() }, Some(tls)).await;
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        connector.set_alpn_protos(offered).unwrap();
        let ssl = connector.build().configure().unwrap().into_ssl("localhost").unwrap();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let mut stream = tokio_openssl::SslStream::new(ssl, stream).unwrap();
        std::pin::Pin::new(&mut stream).connect().await.unwrap();
        assert_eq!(stream.ssl().selected_alpn_protocol(), agreed, "{http2} {offered:?}");
        if agreed == Some(b"h2") {
            let (mut requests, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = hyper::Request::get("https://localhost/scheme").body(String::new()).unwrap();
            assert_eq!(requests.send_request(request).await.unwrap().status(), 200);
            drop(requests);
            connection.await.unwrap().unwrap();
        } else {
            stream.write_all(get_request("/scheme").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok();
            assert!(answer.ends_with("https"), "{answer}");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_certificate("a", &path("a.pem"), &path("a.key"));
    write_certificate("b", &path("b.pem"), &path("b.key"));
    let error = Tls::open(files(&path("a.pem"), &path("b.key")), Duration::from_secs(1)).unwrap_err();
    assert!(error.to_string().contains("b.key"), "{error}");
    let error = Tls::open(files(&path("none.pem"), &path("b.key")), Duration::from_secs(1)).unwrap_err();
    assert!(error.to_string().contains("none.pem"), "{error}");
    // Nobody is asked for it on the terminal.
    let key = PKey::private_key_from_pem(&std::fs::read(path("b.key")).unwrap()).unwrap();
    let locked = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"hunter2").unwrap();
    std::fs::write(path("b.key"), locked).unwrap();
    let error = Tls::open(files(&path("b.pem"), &path("b.key")), Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::Passphrase { .. }), "{error}");
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_authority_is_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["server", "client", "stranger"] {
        write_certificate(name, &path(&format!("{name}.pem")), &path(&format!("{name}.key")));
    }
    // A certificate signed by itself is its own authority.
    let files =
        Files { client_authorities: Some(path("client.pem")), ..files(&path("server.pem"), &path("server.key")) };
    let tls = Tls::open(files, Duration::from_secs(3600)).unwrap();
    let server = Server::start(ServerLimits::default(), Some(tls)).await;
    let asked = async |name: &str| {
        let certificate = (!name.is_empty()).then(|| (path(&format!("{name}.pem")), path(&format!("{name}.key"))));
        tls_request(server.address, "/fast", certificate).await
    };
    assert_eq!(asked("client").await.as_deref(), Some("fast\n"));
    for name in ["", "stranger"] {
        assert_ne!(asked(name).await.as_deref(), Some("fast\n"), "{name:?}");
    }
    server.stop().await;
}

fn files(certificate: &Path, key: &Path) -> Files {
    Files { certificate: certificate.to_owned(), key: key.to_owned(), client_authorities: None }
}

/// Returns the body of an answer to a client with this certificate and key, or `None` when the connection ends before.
async fn tls_request(address: SocketAddr, path: &str, certificate: Option<(PathBuf, PathBuf)>) -> Option<String> {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    if let Some((certificate, key)) = certificate {
        connector.set_certificate_chain_file(certificate).unwrap();
        connector.set_private_key_file(key, SslFiletype::PEM).unwrap();
    }
    let ssl = connector.build().configure().unwrap().into_ssl("localhost").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = tokio_openssl::SslStream::new(ssl, stream).unwrap();
    // With TLS 1.3 the client learns of the refusal after its own handshake.
    std::pin::Pin::new(&mut stream).connect().await.ok()?;
    stream.write_all(get_request(path).as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().ok()?;
    String::from_utf8(answer).unwrap().rsplit("\r\n").next().map(str::to_owned)
}

fn write_certificate(name: &str, certificate: &Path, key: &Path) {
    let (of_name, pair) = self_signed(name);
    std::fs::write(key, pair.private_key_to_pem_pkcs8().unwrap()).unwrap();
    std::fs::write(certificate, of_name.to_pem().unwrap()).unwrap();
}

/// Returns the name in the server's certificate, and the body of the answer to a request for `path`.
async fn tls_exchange(address: SocketAddr, path: &str) -> (String, String) {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    let ssl = connector.build().configure().unwrap().into_ssl("localhost").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = tokio_openssl::SslStream::new(ssl, stream).unwrap();
    std::pin::Pin::new(&mut stream).connect().await.unwrap();
    let certificate = stream.ssl().peer_certificate().unwrap();
    let name = certificate.subject_name().entries().next().unwrap().data().to_string().unwrap();
    stream.write_all(get_request(path).as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    (name, answer.rsplit("\r\n").next().unwrap().to_owned())
}
