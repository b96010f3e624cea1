//! TLS in front of a server, for deployments without a proxy. The files are loaded again when their content
//! changes, and a certificate that expires soon is warned of.

mod expiry;

pub(crate) mod alpn;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::sha::Sha256;
use openssl::ssl::{Ssl, SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::pem::{Wanted, fault, refused};
use expiry::Expiry;

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

/// The TLS of a server; clones share it.
#[derive(Clone)]
pub struct Tls {
    files: Files,
    interval: Duration,
    current: Arc<Mutex<Current>>,
    not_after: Gauge<f64, AtomicU64>,
}

/// What is in use: the acceptor, and of which files.
struct Current {
    acceptor: Arc<SslAcceptor>,
    /// The digest of the files' content.
    seen: [u8; 32],
    expiry: Expiry,
}

/// The reason why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path} cannot be read")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} is not a PEM certificate chain: {reason}")]
    Certificate { path: PathBuf, reason: String },
    #[error("{path} is not a PEM private key: {reason}")]
    Key { path: PathBuf, reason: String },
    #[error("{path} is not the private key of the certificate in {certificate}")]
    OtherKey { path: PathBuf, certificate: PathBuf },
    #[error("{path} is a private key with a passphrase: expected one without")]
    Passphrase { path: PathBuf },
    #[error("{path} has no certificate authorities that can be used: {reason}")]
    Authorities { path: PathBuf, reason: String },
    #[error("OpenSSL refuses its own defaults")]
    Defaults(#[source] ErrorStack),
}

impl Tls {
    /// Returns TLS with these files, checked for changes every `interval` while a server uses it.
    ///
    /// # Errors
    /// [`Error`] when a file is missing or certificate and key do not match.
    pub fn open(files: Files, interval: Duration) -> Result<Self, Error> {
        let content = files.read()?;
        let (acceptor, expiry) = content.acceptor(&files)?;
        let current = Current { acceptor: Arc::new(acceptor), seen: content.digest(), expiry };
        let tls = Self { files, interval, current: Arc::new(Mutex::new(current)), not_after: Gauge::default() };
        tls.look_at_expiry();
        Ok(tls)
    }

    /// Returns every fault of these files, each by itself and then together. A file that is not named has none.
    pub fn faults(certificate: Option<&Path>, key: Option<&Path>, client_authorities: Option<&Path>) -> Vec<Error> {
        let chain = certificate.map(|path| read(path).and_then(|text| chain_of(path, &text).map(drop)));
        let private = key.map(|path| read(path).and_then(|text| private_key(path, &text).map(drop)));
        let authorities = client_authorities.map(|path| read(path).and_then(|text| authorities(path, &text).map(drop)));
        let alone: Vec<Error> = [chain, private, authorities].into_iter().flatten().filter_map(Result::err).collect();
        let (true, Some(certificate), Some(key)) = (alone.is_empty(), certificate, key) else { return alone };
        let files = Files {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            client_authorities: client_authorities.map(Path::to_owned),
        };
        files.read().and_then(|content| content.acceptor(&files)).err().into_iter().collect()
    }

    /// Registers the metric.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "rollcall_http_tls_certificate_not_after_timestamp",
            "When the first certificate of the chain in use expires, since 1970",
            Unit::Seconds,
            self.not_after.clone(),
        );
    }

    pub(crate) fn acceptor(&self) -> Arc<SslAcceptor> {
        Arc::clone(&self.current.lock().acceptor)
    }

    /// Loads the files again whenever their content has changed, without end. Reads them on a thread that may block.
    pub(crate) async fn keep_fresh(self) {
        loop {
            tokio::time::sleep(self.interval).await;
            let tls = self.clone();
            if tokio::task::spawn_blocking(move || tls.reload_if_changed()).await.is_err() {
                return;
            }
        }
    }

    /// Loads the files again if they have changed. If they cannot be used, logs the error and keeps the certificate in
    /// use.
    fn reload_if_changed(&self) {
        let seen = self.current.lock().seen;
        // Files count as seen only after they are loaded. A certificate written a moment before its key is tried again
        // later.
        if let Ok(content) = self.files.read()
            && content.digest() != seen
        {
            match content.acceptor(&self.files) {
                Ok((acceptor, expiry)) => {
                    *self.current.lock() = Current { acceptor: Arc::new(acceptor), seen: content.digest(), expiry };
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
        self.look_at_expiry();
    }

    fn look_at_expiry(&self) {
        let expiry = &mut self.current.lock().expiry;
        self.not_after.set(expiry.not_after());
        if let Some(days) = expiry.warning() {
            let certificate = self.files.certificate.display();
            tracing::warn!(%certificate, days, "the TLS certificate expires soon, or has expired: renew it");
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

/// The content of the files.
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

impl Files {
    fn read(&self) -> Result<Content, Error> {
        Ok(Content {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_authorities: self.client_authorities.as_deref().map(read).transpose()?,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Returns the first certificate of a chain, and the others.
fn chain_of(path: &Path, text: &[u8]) -> Result<(X509, std::vec::IntoIter<X509>), Error> {
    let mut chain = X509::stack_from_pem(text).unwrap_or_default().into_iter();
    match chain.next() {
        Some(first) => Ok((first, chain)),
        None => Err(Error::Certificate { path: path.to_owned(), reason: fault(text, Wanted::Certificate).to_owned() }),
    }
}

/// Returns the key. OpenSSL by itself would ask for a passphrase on the terminal.
fn private_key(path: &Path, text: &[u8]) -> Result<PKey<Private>, Error> {
    let mut is_asked = false;
    let key = PKey::private_key_from_pem_callback(text, |_| {
        is_asked = true;
        Err(ErrorStack::get())
    });
    key.map_err(|_| match is_asked {
        true => Error::Passphrase { path: path.to_owned() },
        false => Error::Key { path: path.to_owned(), reason: fault(text, Wanted::PrivateKey).to_owned() },
    })
}

/// Returns the authorities of the certificates that clients must have.
fn authorities(path: &Path, text: &[u8]) -> Result<Vec<X509>, Error> {
    let authorities = X509::stack_from_pem(text).unwrap_or_default();
    if authorities.is_empty() {
        let reason = fault(text, Wanted::Certificate).to_owned();
        return Err(Error::Authorities { path: path.to_owned(), reason });
    }
    Ok(authorities)
}

impl Content {
    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for content in
            [Some(self.certificate.as_slice()), Some(self.key.as_slice()), self.client_authorities.as_deref()]
        {
            let content = content.unwrap_or_default();
            digest.update(&content.len().to_be_bytes());
            digest.update(content);
        }
        digest.finish()
    }

    /// Returns the acceptor of this content, which `files` has, and when its certificates expire.
    fn acceptor(&self, files: &Files) -> Result<(SslAcceptor, Expiry), Error> {
        // Mozilla's "intermediate" profile: TLS 1.2 and 1.3.
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(Error::Defaults)?;
        let unusable =
            |errors: ErrorStack| Error::Certificate { path: files.certificate.clone(), reason: refused(&errors) };
        let (first, chain) = chain_of(&files.certificate, &self.certificate)?;
        let mut expiry = Expiry::of(&first).map_err(unusable)?;
        builder.set_certificate(&first).map_err(unusable)?;
        for further in chain {
            expiry = expiry.or_earlier(Expiry::of(&further).map_err(unusable)?);
            builder.add_extra_chain_cert(further).map_err(unusable)?;
        }
        builder
            .set_private_key(private_key(&files.key, &self.key)?.as_ref())
            .and_then(|()| builder.check_private_key())
            .map_err(|_| Error::OtherKey { path: files.key.clone(), certificate: files.certificate.clone() })?;
        if let (Some(path), Some(text)) = (&files.client_authorities, &self.client_authorities) {
            let unusable = |errors: ErrorStack| Error::Authorities { path: path.clone(), reason: refused(&errors) };
            for authority in authorities(path, text)? {
                // The client is told which authorities count, and chooses its certificate by them.
                builder.add_client_ca(&authority).map_err(unusable)?;
                builder.cert_store_mut().add_cert(authority).map_err(unusable)?;
            }
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
            builder.set_session_id_context(SESSION_CONTEXT).map_err(Error::Defaults)?;
        }
        builder.set_alpn_select_callback(alpn::select);
        Ok((builder.build(), expiry))
    }
}
