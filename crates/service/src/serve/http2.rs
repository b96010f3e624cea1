//! HTTP/2: many requests on one connection, so that each stream takes a place as a connection does, and a limit on
//! everything that a peer can make the server keep for it.
//!
//! A connection without a stream is closed after the limit of idleness; one with a stream whose data nobody takes,
//! after the limit of stalled writes: the peer's flow control can stop a stream while the socket goes on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http::uri::Scheme;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::places::Place;
use super::{PeerAddr, Server, ServerLimits, note_end, note_panic};
use crate::busy;

/// The most open streams of a connection.
const STREAMS_MAX: u32 = 100;
/// The most streams that a peer may reset before the server has begun with them, and the most that the server may have
/// to reset for the peer's errors; the connection is closed after that ("rapid reset", CVE-2023-44487, and
/// CVE-2025-8671).
const RESETS_MAX: usize = 20;
/// How much of a request's body a peer may send ahead, on a stream and on all of them: requests to read have none.
const WINDOW_BYTES: u32 = 64 * 1024;
/// How much of an answer is on its way to a peer, and the largest piece of it: a peer that takes a byte has that much
/// kept for it.
const SEND_BYTES_MAX: usize = 64 * 1024;
const FRAME_BYTES_MAX: usize = 16 * 1024;
/// How often a quiet peer is asked whether it is still there, and how long its answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a connection is checked within the shorter of its limits, so that it outlives none by much.
const CHECKS: u32 = 4;

/// The answer to a stream that gets no place.
const REFUSED: &str = "too many requests of this source, or of all, are being answered";

const PREFACE_BEGINS: &[u8] = b"PRI ";
/// The pause before the rest of a torn beginning is looked for. A preface comes in one piece.
const TORN: Duration = Duration::from_millis(10);

/// Returns whether the peer begins with HTTP/2's preface (RFC 9113, 3.4); no method of HTTP/1.1 is named so. Nothing is
/// taken from the stream. `None`: nothing came within the limit of idleness, or the connection has ended.
pub(super) async fn begins(stream: &TcpStream, limits: &ServerLimits) -> Option<bool> {
    let mut begun = [0; PREFACE_BEGINS.len()];
    let first = tokio::time::timeout(limits.idle, stream.peek(&mut begun)).await.ok()?.ok()?;
    let mut read = first;
    let deadline = Instant::now() + limits.header_read;
    while read > 0 && read < begun.len() && PREFACE_BEGINS.starts_with(&begun[..read]) && Instant::now() < deadline {
        tokio::time::sleep(TORN).await;
        read = stream.peek(&mut begun).await.ok()?;
    }
    (read > 0).then_some(begun[..read] == *PREFACE_BEGINS)
}

/// Answers the requests of a connection until it ends, or a limit ends it.
pub(super) async fn speak<S>(server: Server, stream: S, scheme: Scheme, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Server { limits, places, router, shutdown } = server;
    let streams = Streams::default();
    let of_service = streams.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddr(peer));
        request.extensions_mut().insert(scheme.clone());
        let (router, place, open) = (router.clone(), places.take_stream(peer.ip()), of_service.open());
        async move {
            let (answer, place) = match place {
                Ok(place) => (router.oneshot(request).await.unwrap_or_else(|never| match never {}), Some(place)),
                Err(_) => (busy::answer(request.headers(), REFUSED), None),
            };
            Ok::<_, Infallible>(answer.map(|body| Watched::new(body, open, place)))
        }
    });
    let executor = Tasks::default();
    let connection = http2::Builder::new(executor.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut check = tokio::time::interval(limits.idle.min(limits.write_stall) / CHECKS);
    let mut told_since = None;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                return note_end(peer, ended);
            }
            () = shutdown.requested(), if told_since.is_none() => {
                connection.as_mut().graceful_shutdown();
                told_since = Some(Instant::now());
            }
            _ = check.tick() => {
                if streams.stalled() > limits.write_stall {
                    tracing::debug!(%peer, "a connection was closed: a stream takes no data");
                    return;
                }
                if streams.idle() <= limits.idle {
                    continue;
                }
                // The peer has that long to say that it has heard of the end.
                match told_since {
                    Some(since) if since.elapsed() > limits.header_read => return,
                    Some(_) => {}
                    None => {
                        connection.as_mut().graceful_shutdown();
                        told_since = Some(Instant::now());
                    }
                }
            }
        }
    }
}

/// The tasks of a connection's streams, which end with it.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, stream: F) {
        let mut tasks = self.0.lock();
        while let Some(ended) = tasks.try_join_next() {
            note_panic(ended);
        }
        tasks.spawn(stream);
    }
}

/// The open streams of a connection.
#[derive(Clone)]
struct Streams(Arc<Mutex<Known>>);

struct Known {
    /// Each since when it has not asked for more data than it was given; `None` while it waits for data.
    open: BTreeMap<u64, Option<Instant>>,
    opened: u64,
    idle_since: Instant,
}

/// A stream, open until this is dropped.
struct Open {
    streams: Streams,
    number: u64,
}

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Known { open: BTreeMap::new(), opened: 0, idle_since: Instant::now() })))
    }
}

impl Streams {
    fn open(&self) -> Open {
        let mut known = self.0.lock();
        known.opened += 1;
        let number = known.opened;
        known.open.insert(number, None);
        Open { streams: self.clone(), number }
    }

    /// Returns for how long there has been no stream.
    fn idle(&self) -> Duration {
        let known = self.0.lock();
        if known.open.is_empty() { known.idle_since.elapsed() } else { Duration::ZERO }
    }

    /// Returns for how long the stream that stands still longest has not been asked for more data.
    fn stalled(&self) -> Duration {
        let known = self.0.lock();
        known.open.values().flatten().map(Instant::elapsed).max().unwrap_or_default()
    }
}

impl Open {
    /// Notes that data was handed over, and the next is asked for once the peer has room for it.
    fn gave(&self, gave: bool) {
        if let Some(since) = self.streams.0.lock().open.get_mut(&self.number) {
            *since = gave.then(Instant::now);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut known = self.streams.0.lock();
        known.open.remove(&self.number);
        known.idle_since = Instant::now();
    }
}

/// The body of an answer, whose stream is open and has its place until it has ended. It is given a frame at a time, so
/// that a peer which takes none holds no more than that beside it.
struct Watched {
    body: Body,
    /// The rest of what the body gave.
    left: Bytes,
    open: Open,
    _place: Option<Place>,
}

impl Watched {
    fn new(body: Body, open: Open, place: Option<Place>) -> Self {
        // It may never be asked for the first frame.
        open.gave(true);
        Self { body, left: Bytes::new(), open, _place: place }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.left.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context).map_ok(Frame::into_data) {
                Poll::Ready(Some(Ok(Ok(data)))) => self.left = data,
                Poll::Ready(Some(Ok(Err(trailers)))) => return Poll::Ready(Some(Ok(trailers))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    self.open.gave(false);
                    return Poll::Pending;
                }
            }
        }
        self.open.gave(true);
        let length = self.left.len().min(FRAME_BYTES_MAX);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, left) = (self.body.size_hint(), self.left.len() as u64);
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + left);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + left);
        }
        all
    }
}
