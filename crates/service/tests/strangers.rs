//! A stranger with very many connections does not keep the others out. Sources are addresses of the loopback network,
//! which Linux has without configuration.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use service::Shutdown;
use service::serve::{Places, ServerLimits, serve};
use testkit::http::{read_to_end, request};
use testkit::wait::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const STRANGER: &str = "127.0.0.2";
const OTHER: &str = "127.0.0.3";
const VENDOR: &str = "127.0.1.1";
/// Several times the places, and below the usual limit of open files.
const FLOOD: usize = 300;

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
