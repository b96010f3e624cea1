//! The accept loop of an HTTP server: a limit on every resource that a peer can hold, and an orderly stop.

mod head;

mod places;

mod http2;

mod foreign;

mod malformed;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use http::uri::Scheme;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use openssl::ssl::SslAcceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutWriter;
use tower::ServiceExt;

use crate::Shutdown;
use crate::tls::{Tls, alpn};
use foreign::FIRST_BYTES;
use head::{HeadLimit, Phase};
use places::Place;
pub use places::{Places, network_of};

/// The resources that a server grants its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// The most open connections. Further ones wait in the kernel's queue, or are closed where places are reserved.
    pub connections_max: usize,
    /// The most open connections of one source: an address, or a /64 network of IPv6. Preferred sources have no share.
    pub connections_per_source_max: usize,
    /// The places that only preferred sources can take, where there are any.
    pub connections_reserved: usize,
    /// The time limit for the head of a request, from its first byte.
    pub header_read: Duration,
    /// The time after which an idle connection is closed. Longer than a proxy keeps its own end: a shorter one makes it
    /// send requests on connections that are being closed.
    pub idle: Duration,
    /// The largest head of a request in bytes. At least 8 KiB, hyper's minimum.
    pub header_bytes_max: usize,
    /// The longest time that a peer may stop reading an answer while the buffers are full. Its connection is then
    /// closed, so that a stalled subscriber does not keep its place.
    pub write_stall: Duration,
    /// The time from the failing readiness to the closing of the listener. It covers that load balancers still send
    /// requests until they have noticed.
    pub close_delay: Duration,
    /// The time that requests in flight have to finish after the listener is closed.
    pub drain: Duration,
    /// Whether HTTP/2 is spoken too: agreed on in the TLS handshake, or begun with by the client.
    pub http2: bool,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_source_max: 256,
            connections_reserved: 64,
            header_read: Duration::from_secs(10),
            // nginx keeps the connections to its upstream for 60 s.
            idle: Duration::from_secs(75),
            header_bytes_max: 16 * 1024,
            write_stall: Duration::from_secs(30),
            close_delay: Duration::ZERO,
            drain: Duration::from_secs(20),
            http2: false,
        }
    }
}

/// The peer address of a request's connection; an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The outcome of the connections that were open when the stop was requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    pub finished: usize,
    pub aborted: usize,
}

/// The pause after a failed accept, for example for lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How much of an answer the kernel takes that it cannot send yet. Without a limit it is megabytes, for each subscriber
/// that does not read.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES_MAX: u32 = 64 * 1024;
/// The time limit of a TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Serves `router` on `listener` until `shutdown`, then finishes the requests in flight within `limits.drain`.
///
/// Requests have [`PeerAddr`] and the [`Scheme`] of the connection as extensions. Who gets a place is decided by
/// `places`.
///
/// Invariant: when this returns, no connection is left open.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    limits: ServerLimits,
    places: &Places,
    router: Router,
    shutdown: Shutdown,
) -> Drained {
    let server = Server { limits, places: places.clone(), router, shutdown };
    let mut renewal = JoinSet::new();
    if let Some(tls) = &tls {
        renewal.spawn(tls.clone().keep_fresh());
    }
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = server.shutdown.requested() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => note_panic(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = place_for(peer, places, &server.shutdown).await else { continue };
                    let (acceptor, server) = (tls.as_ref().map(Tls::acceptor), server.clone());
                    connections.spawn(async move {
                        server.connection(stream, peer, acceptor).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
    drop(listener);
    renewal.shutdown().await;
    drain(connections, limits.drain).await
}

/// Returns a place for a connection that was accepted. Returns none when its source gets no place, or at the stop.
/// While it waits, further connections wait in the kernel's queue.
async fn place_for(peer: SocketAddr, places: &Places, shutdown: &Shutdown) -> Option<Place> {
    tokio::select! {
        place = places.take(peer.ip()) => place.ok(),
        () = shutdown.requested() => None,
    }
}

/// What all connections of a listener share.
#[derive(Clone)]
struct Server {
    limits: ServerLimits,
    places: Places,
    router: Router,
    shutdown: Shutdown,
}

impl Server {
    async fn connection(self, stream: TcpStream, peer: SocketAddr, acceptor: Option<Arc<SslAcceptor>>) {
        if let Err(error) = stream.set_nodelay(true).and_then(|()| bound_unsent(&stream)) {
            tracing::debug!(%peer, %error, "the connection ended before it began");
            return;
        }
        let allows_http2 = self.limits.http2;
        let Some(acceptor) = acceptor else {
            let is_http2 = tokio::select! {
                begun = http2::begins(&stream, &self.limits), if allows_http2 => begun,
                () = self.shutdown.requested(), if allows_http2 => None,
                else => Some(false),
            };
            let Some(is_http2) = is_http2 else { return };
            return self.speak(stream, is_http2, Scheme::HTTP, peer).await;
        };
        let mut first = [0; FIRST_BYTES];
        let handshake = async {
            let count = stream.peek(&mut first).await.unwrap_or(0);
            (count, crate::tls::handshake(&acceptor, stream, allows_http2).await)
        };
        match tokio::time::timeout(HANDSHAKE_MAX, handshake).await {
            Ok((_, Ok(stream))) => {
                let is_http2 = alpn::is_http2(stream.ssl());
                self.speak(stream, is_http2, Scheme::HTTPS, peer).await;
            }
            Ok((count, Err(error))) => {
                tracing::debug!(%peer, %error, "the TLS handshake failed");
                if let Some(first) = first.get(..count).filter(|first| !first.is_empty()) {
                    self.places.foreign().came_with_tls(first, peer);
                }
            }
            Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
        }
    }

    async fn speak<S>(self, stream: S, is_http2: bool, scheme: Scheme, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let stream = stalling(stream, &self.limits);
        if is_http2 {
            http2::speak(self, stream, scheme, peer).await;
        } else {
            self.speak_http1(stream, scheme, peer).await;
        }
    }

    async fn speak_http1<S>(self, stream: S, scheme: Scheme, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { limits, places, router, shutdown } = self;
        let phase = Phase::default();
        let of_service = phase.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let phase = of_service.clone();
            phase.head_ended();
            request.extensions_mut().insert(PeerAddr(peer));
            request.extensions_mut().insert(scheme.clone());
            let router = router.clone();
            async move {
                let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
                phase.answered();
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            // A peer that has sent its request may close its sending half, and still gets its answer (RFC 9112, 9.6).
            .half_close(true)
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle)
            .max_buf_size(limits.header_bytes_max)
            .serve_connection(TokioIo::new(HeadLimit::new(stream, limits.header_read, phase.clone())), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.requested() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = &ended
            && error.is_parse()
        {
            let is_foreign = phase.first_bytes().is_some_and(|first| places.foreign().came_without_tls(first, peer));
            if !is_foreign {
                places.malformed().note(error, peer);
            }
        }
        note_end(peer, ended);
    }
}

/// Bounds what the kernel holds for a peer that does not read. Only the part that waits for its turn is bounded, not
/// what is on the way, so a fast reader far away is as fast as before.
fn bound_unsent(stream: &TcpStream) -> std::io::Result<()> {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    Ok(())
}

/// Returns the stream, which fails when the peer reads nothing for too long.
fn stalling<S: AsyncRead + AsyncWrite>(stream: S, limits: &ServerLimits) -> Pin<Box<TimeoutWriter<S>>> {
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(limits.write_stall));
    Box::pin(stream)
}

fn note_end(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection ended with an error");
    }
}

async fn drain(mut connections: JoinSet<()>, limit: Duration) -> Drained {
    let mut drained = Drained::default();
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
            drained.finished += 1;
        }
    };
    if tokio::time::timeout(limit, all_ended).await.is_err() {
        drained.aborted = connections.len();
        tracing::warn!(connections = drained.aborted, "the drain deadline has passed: connections are closed");
        connections.shutdown().await;
    }
    drained
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the handler of a connection panicked");
    }
}
