//! A limit for the head of a request, from its first byte to its last. hyper has one timer, which also runs while the
//! connection is idle: that is the limit of idleness, and this one is for peers that send a head slowly.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::foreign::FIRST_BYTES;

/// What a connection is doing, shared by its stream and its service.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    first: OnceLock<First>,
}

/// The first bytes of a connection, and how many of them have come.
#[derive(Clone, Copy, Debug)]
struct First {
    bytes: [u8; FIRST_BYTES],
    count: usize,
}

/// No byte has come yet.
const OPENED: u8 = 0;
/// The first head of the connection has begun.
const FIRST_HEAD: u8 = 1;
/// No byte of a head has come since the last answer.
const IDLE: u8 = 2;
/// A further head has begun.
const HEAD: u8 = 3;
/// A head has ended, and its request is being answered.
const REQUEST: u8 = 4;

impl Phase {
    pub(super) fn head_ended(&self) {
        self.0.phase.store(REQUEST, Ordering::Relaxed);
    }

    pub(super) fn answered(&self) {
        self.0.phase.store(IDLE, Ordering::Relaxed);
    }

    /// Returns the first bytes of the connection, as long as they have not become a request.
    pub(super) fn first_bytes(&self) -> Option<&[u8]> {
        let first = self.0.first.get().filter(|_| self.0.phase.load(Ordering::Relaxed) == FIRST_HEAD)?;
        first.bytes.get(..first.count)
    }

    /// Notes that bytes have come. Returns whether a head begins with them.
    fn came(&self, bytes: &[u8]) -> bool {
        match self.0.phase.load(Ordering::Relaxed) {
            OPENED => {
                let mut first = First { bytes: [0; FIRST_BYTES], count: bytes.len().min(FIRST_BYTES) };
                first.bytes.iter_mut().zip(bytes).for_each(|(kept, byte)| *kept = *byte);
                self.0.first.get_or_init(|| first);
                self.0.phase.store(FIRST_HEAD, Ordering::Relaxed);
                true
            }
            IDLE => {
                self.0.phase.store(HEAD, Ordering::Relaxed);
                true
            }
            _ => false,
        }
    }

    fn is_in_head(&self) -> bool {
        matches!(self.0.phase.load(Ordering::Relaxed), FIRST_HEAD | HEAD)
    }
}

/// A stream that fails with [`io::ErrorKind::TimedOut`] when a head takes longer than its limit.
#[derive(Debug)]
pub(super) struct HeadLimit<S> {
    stream: S,
    limit: Duration,
    phase: Phase,
    deadline: Pin<Box<Sleep>>,
}

impl<S> HeadLimit<S> {
    pub(super) fn new(stream: S, limit: Duration, phase: Phase) -> Self {
        Self { stream, limit, phase, deadline: Box::pin(tokio::time::sleep(limit)) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadLimit<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        let came = into.filled().get(before..).unwrap_or_default();
        if !came.is_empty() && self.phase.came(came) {
            let due = Instant::now() + self.limit;
            self.deadline.as_mut().reset(due);
        }
        if self.phase.is_in_head() && self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head of a request took too long")));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadLimit<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
