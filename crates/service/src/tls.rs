//! TLS in front of a server, for deployments without a proxy. The files are loaded again when they change.

pub(crate) mod alpn;

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use openssl::error::ErrorStack;
use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_openssl::SslStream;

/// The interval of file checks. Certificates are renewed weeks before they expire.
pub(crate) const RELOAD_INTERVAL: Duration = Duration::from_secs(30);

/// What the sessions of this server are of: with client certificates OpenSSL resumes no session without it.
const SESSION_CONTEXT: &[u8] = b"rollcall";

/// The files of a server's TLS, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate chain.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authorities of the certificates that clients must have. `None`: clients need none.
    pub client_authorities: Option<PathBuf>,
}

/// The files of a server's TLS, and the acceptor built from them.
pub struct Tls {
    files: Files,
    interval: Duration,
    last_look: Instant,
    seen: Option<Vec<SystemTime>>,
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
    #[error("{path} has no certificate authorities that can be used")]
    Authorities { path: PathBuf, source: ErrorStack },
    #[error("OpenSSL refuses its own defaults")]
    Defaults(#[source] ErrorStack),
}

impl Tls {
    /// Returns TLS with these files, checked for changes every `interval`.
    ///
    /// # Errors
    /// [`Error`] when a file is missing or certificate and key do not match.
    pub fn open(files: Files, interval: Duration) -> Result<Self, Error> {
        let seen = files.modified()?;
        let acceptor = Arc::new(files.acceptor()?);
        Ok(Self { files, interval, last_look: Instant::now(), seen: Some(seen), acceptor })
    }

    /// Loads the files once, to check that they can be used.
    ///
    /// # Errors
    /// As [`Tls::open`].
    pub fn check(files: &Files) -> Result<(), Error> {
        files.modified()?;
        files.acceptor().map(drop)
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
        let seen = self.files.modified().ok();
        if seen.is_none() || seen == self.seen {
            return;
        }
        // Files count as seen only after they are loaded. A certificate written a moment before its key is tried again
        // later.
        match self.files.acceptor() {
            Ok(acceptor) => {
                (self.acceptor, self.seen) = (Arc::new(acceptor), seen);
                tracing::info!(certificate = %self.files.certificate.display(), "TLS certificate reloaded");
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
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

pub(crate) async fn handshake(
    acceptor: &SslAcceptor,
    stream: TcpStream,
    http2: bool,
) -> Result<SslStream<TcpStream>, openssl::ssl::Error> {
    let mut connection = Ssl::new(acceptor.context())?;
    if http2 {
        alpn::allow_http2(&mut connection);
    }
    let mut stream = SslStream::new(connection, stream)?;
    Pin::new(&mut stream).accept().await?;
    Ok(stream)
}

impl Files {
    fn modified(&self) -> Result<Vec<SystemTime>, Error> {
        let of = |path: &PathBuf| {
            let time = std::fs::metadata(path).and_then(|metadata| metadata.modified());
            time.map_err(|source| Error::File { path: path.clone(), source })
        };
        [&self.certificate, &self.key].into_iter().chain(&self.client_authorities).map(of).collect()
    }

    fn acceptor(&self) -> Result<SslAcceptor, Error> {
        let Self { certificate, key, client_authorities } = self;
        // Mozilla's "intermediate" profile: TLS 1.2 and 1.3.
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(Error::Defaults)?;
        builder
            .set_certificate_chain_file(certificate)
            .map_err(|source| Error::Certificate { path: certificate.clone(), source })?;
        builder
            .set_private_key_file(key, SslFiletype::PEM)
            .and_then(|()| builder.check_private_key())
            .map_err(|source| Error::Key { path: key.clone(), source })?;
        if let Some(path) = client_authorities {
            let text = std::fs::read(path).map_err(|source| Error::File { path: path.clone(), source })?;
            let unusable = |source| Error::Authorities { path: path.clone(), source };
            let authorities = X509::stack_from_pem(&text).map_err(unusable)?;
            if authorities.is_empty() {
                return Err(unusable(ErrorStack::get()));
            }
            for authority in authorities {
                // The client is told which authorities count, and chooses its certificate by them.
                builder.add_client_ca(&authority).map_err(unusable)?;
                builder.cert_store_mut().add_cert(authority).map_err(unusable)?;
            }
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
            builder.set_session_id_context(SESSION_CONTEXT).map_err(Error::Defaults)?;
        }
        builder.set_alpn_select_callback(alpn::select);
        Ok(builder.build())
    }
}
