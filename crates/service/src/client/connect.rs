//! Connections of an HTTP client that keeps them, with TLS for an https address.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tower::Service;

use super::{EndpointError, connector, handshake};

/// Connects to the host of an address, for hyper-util's client.
#[derive(Clone)]
pub struct Connect {
    tls: SslConnector,
}

impl Connect {
    /// Returns what connects, and checks the certificate of an https server against `authorities`, or those of the
    /// system.
    ///
    /// # Errors
    /// When the file of the authorities cannot be used.
    pub fn new(authorities: Option<&Path>) -> Result<Self, EndpointError> {
        Ok(Self { tls: connector(authorities)? })
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").finish_non_exhaustive()
    }
}

impl Service<Uri> for Connect {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(connect(uri, self.tls.clone()))
    }
}

/// A connection, plain or secured.
pub struct Stream(Box<dyn Duplex>);

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// Returns whether the port of an address answers a TLS handshake, whatever its certificate: a server that expects TLS
/// closes a connection without it and does not say why.
pub async fn speaks_tls(uri: &Uri) -> bool {
    let handshake = async {
        let mut tls = SslConnector::builder(SslMethod::tls_client()).ok()?;
        // Nothing is sent, and nothing is believed.
        tls.set_verify(SslVerifyMode::NONE);
        let (host, port) = host_and_port(uri);
        let stream = TcpStream::connect((host, port)).await.ok()?;
        handshake(&tls.build(), host, stream).await.ok()
    };
    tokio::time::timeout(HANDSHAKE_MAX, handshake).await.is_ok_and(|secured| secured.is_some())
}

/// The time limit of a handshake that only shows what a port speaks.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// An IPv6 address is in brackets in an address only.
fn host_and_port(uri: &Uri) -> (&str, u16) {
    let port = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    (uri.host().unwrap_or_default().trim_matches(['[', ']']), uri.port_u16().unwrap_or(port))
}

/// # Errors
/// [`io::ErrorKind::NotFound`] when the host has no address; otherwise when it does not answer, or has no certificate
/// that is trusted.
async fn connect(uri: Uri, tls: SslConnector) -> io::Result<TokioIo<Stream>> {
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let (host, port) = host_and_port(&uri);
    let addresses = lookup_host((host, port)).await.map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
    let stream = TcpStream::connect(addresses.collect::<Vec<_>>().as_slice()).await?;
    stream.set_nodelay(true)?;
    if !is_tls {
        return Ok(TokioIo::new(Stream(Box::new(stream))));
    }
    let secured = handshake(&tls, host, stream).await.map_err(io::Error::other)?;
    Ok(TokioIo::new(Stream(Box::new(secured))))
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").finish()
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}
