//! TLS in front of a server, for deployments without a proxy. The files are loaded again when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_openssl::SslStream;

/// The interval of file checks. Certificates are renewed weeks before they expire.
pub(crate) const RELOAD_INTERVAL: Duration = Duration::from_secs(30);

/// A certificate chain and its key, both PEM, and the acceptor built from them.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    interval: Duration,
    last_look: Instant,
    seen: Option<[SystemTime; 2]>,
    acceptor: Arc<SslAcceptor>,
}

/// The reason why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path} cannot be read")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} is not a PEM certificate chain")]
    Certificate { path: PathBuf, source: ErrorStack },
    #[error("{path} is not a PEM private key, or does not match the certificate")]
    Key { path: PathBuf, source: ErrorStack },
    #[error("OpenSSL refuses its own defaults")]
    Defaults(#[source] ErrorStack),
}

impl Tls {
    /// Returns TLS with these files, checked for changes every `interval`.
    ///
    /// # Errors
    /// [`Error`] when a file is missing or the two do not match.
    pub fn open(certificate: PathBuf, key: PathBuf, interval: Duration) -> Result<Self, Error> {
        let seen = modified(&certificate, &key)?;
        let acceptor = Arc::new(acceptor(&certificate, &key)?);
        Ok(Self { certificate, key, interval, last_look: Instant::now(), seen: Some(seen), acceptor })
    }

    /// Loads certificate and key once, to check that they can be used.
    ///
    /// # Errors
    /// As [`Tls::open`].
    pub fn check(certificate: &Path, key: &Path) -> Result<(), Error> {
        modified(certificate, key)?;
        acceptor(certificate, key).map(drop)
    }

    pub(crate) fn acceptor(&self) -> Arc<SslAcceptor> {
        Arc::clone(&self.acceptor)
    }

    /// Waits until the next check of the files. Cancel-safe.
    pub(crate) async fn next_reload(&self) {
        tokio::time::sleep_until(self.last_look + self.interval).await;
    }

    /// Loads the files again if they have changed. If they cannot be used, logs the error and keeps the certificate in
    /// use.
    pub(crate) fn reload_if_changed(&mut self) {
        self.last_look = Instant::now();
        let seen = modified(&self.certificate, &self.key).ok();
        if seen.is_none() || seen == self.seen {
            return;
        }
        // Files count as seen only after they are loaded. A certificate written a moment before its key is tried again
        // later.
        match acceptor(&self.certificate, &self.key) {
            Ok(acceptor) => {
                (self.acceptor, self.seen) = (Arc::new(acceptor), seen);
                tracing::info!(certificate = %self.certificate.display(), "TLS certificate reloaded");
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the TLS files changed and cannot be used; the old ones stay in use"
                );
            }
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).field("key", &self.key).finish_non_exhaustive()
    }
}

pub(crate) async fn handshake(
    acceptor: &SslAcceptor,
    stream: TcpStream,
) -> Result<SslStream<TcpStream>, openssl::ssl::Error> {
    let mut stream = SslStream::new(Ssl::new(acceptor.context())?, stream)?;
    Pin::new(&mut stream).accept().await?;
    Ok(stream)
}

fn modified(certificate: &Path, key: &Path) -> Result<[SystemTime; 2], Error> {
    let of = |path: &Path| {
        let time = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        time.map_err(|source| Error::File { path: path.to_owned(), source })
    };
    Ok([of(certificate)?, of(key)?])
}

fn acceptor(certificate: &Path, key: &Path) -> Result<SslAcceptor, Error> {
    // Mozilla's "intermediate" profile: TLS 1.2 and 1.3.
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(Error::Defaults)?;
    builder
        .set_certificate_chain_file(certificate)
        .map_err(|source| Error::Certificate { path: certificate.to_owned(), source })?;
    builder
        .set_private_key_file(key, SslFiletype::PEM)
        .and_then(|()| builder.check_private_key())
        .map_err(|source| Error::Key { path: key.to_owned(), source })?;
    Ok(builder.build())
}
