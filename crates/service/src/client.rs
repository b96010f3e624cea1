//! A small HTTP client, for the few requests that a service makes: one connection for each, JSON or a form in, JSON
//! out.

mod connect;

mod no_tls;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::uri::{InvalidUri, Scheme};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod};
use openssl::x509::X509VerifyResult;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

pub use connect::{Connect, speaks_tls};
pub use no_tls::NoTls;

use crate::pem::{Wanted, file_fault};
use crate::secret::SecretSource;

/// The largest answer that is read: a schema has some kilobytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A server, and how to ask it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `http://host:port/path` without a slash at its end.
    base: String,
    host: String,
    port: u16,
    /// `None` for plain HTTP.
    tls: Option<SslConnector>,
    credentials: Credentials,
    timeout: Duration,
}

/// What a request proves its sender by.
#[derive(Clone, Debug)]
pub enum Credentials {
    None,
    Basic { username: String, password: SecretSource },
    Bearer(SecretSource),
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

/// The reason why a server cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("{url:?} is not an address")]
    Address { url: String, source: InvalidUri },
    #[error("{url:?} is not of the form http://host:port/path or https://host:port/path")]
    Form { url: String },
    #[error("{path} has no certificate authorities that can be used: {reason}")]
    Authorities { path: PathBuf, reason: String },
    #[error("OpenSSL refuses its own defaults")]
    Defaults(#[source] ErrorStack),
}

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not connected to {host}:{port}")]
    Connect { host: String, port: u16, source: io::Error },
    #[error("no TLS with {host}:{port}")]
    Tls { host: String, port: u16, source: Box<NoTls> },
    #[error("the secret cannot be read")]
    Secret(#[source] io::Error),
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    #[error("the connection broke")]
    Exchange(#[source] hyper::Error),
    #[error("the answer could not be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl Endpoint {
    /// Returns the server at `url`. The certificate of a server is checked against `authorities`, or those of the
    /// system.
    ///
    /// # Errors
    /// [`EndpointError`] when the address or the file cannot be used.
    pub fn new(
        url: &str,
        credentials: Credentials,
        authorities: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, EndpointError> {
        let uri: Uri = url.parse().map_err(|source| EndpointError::Address { url: url.to_owned(), source })?;
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let (Some(host), true) = (uri.host(), is_tls || uri.scheme() == Some(&Scheme::HTTP)) else {
            return Err(EndpointError::Form { url: url.to_owned() });
        };
        if uri.query().is_some() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(EndpointError::Form { url: url.to_owned() });
        }
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self {
            base: url.trim_end_matches('/').to_owned(),
            // An IPv6 address is in brackets in an address only.
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls: if is_tls { Some(connector(authorities)?) } else { None },
            credentials,
            timeout,
        })
    }

    /// Returns the address, for messages.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Sends a request for `path`, which begins with a slash, and reads the answer. `media` is the type of both bodies.
    ///
    /// # Errors
    /// [`Error`] when no answer came in time. A refusal is an answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        media: &'static str,
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let body = body.map(|body| (media, body.to_string()));
        self.answer(self.request(method, path, media, body)?).await
    }

    /// Posts a form to the endpoint's own address, and reads the answer in JSON.
    ///
    /// # Errors
    /// As [`Endpoint::send`].
    pub async fn post_form(&self, form: &[(&str, &str)]) -> Result<Answer, Error> {
        let pairs = form.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        self.answer(self.request(Method::POST, "", JSON, Some((FORM, body)))?).await
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Answer, Error> {
        let exchange = async {
            let (host, port) = (self.host.clone(), self.port);
            let stream = match TcpStream::connect((self.host.as_str(), port)).await {
                Ok(stream) => stream,
                Err(source) => return Err(Error::Connect { host, port, source }),
            };
            match &self.tls {
                None => exchange(stream, request).await,
                Some(connector) => {
                    let tls = |source| Error::Tls { host, port, source: Box::new(source) };
                    let secured = handshake(connector, &self.host, stream).await.map_err(tls)?;
                    exchange(secured, request).await
                }
            }
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(Error::Timeout(self.timeout)))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        accepted: &'static str,
        body: Option<(&'static str, String)>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let uri: Uri =
            format!("{}{path}", self.base).parse().map_err(|error: InvalidUri| Error::Request(error.into()))?;
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request =
            Request::builder().method(method).uri(target).header(HOST, authority).header(ACCEPT, accepted);
        if let Some(proof) = self.credentials.header()? {
            request = request.header(AUTHORIZATION, proof);
        }
        let body = match body {
            None => Bytes::new(),
            Some((media, body)) => {
                request = request.header(CONTENT_TYPE, media);
                body.into()
            }
        };
        request.body(Full::new(body)).map_err(Error::Request)
    }
}

impl Credentials {
    fn header(&self) -> Result<Option<HeaderValue>, Error> {
        let proof = match self {
            Self::None => return Ok(None),
            Self::Basic { username, password } => {
                let pair = format!("{username}:{}", password.read().map_err(Error::Secret)?.expose());
                format!("Basic {}", openssl::base64::encode_block(pair.as_bytes()))
            }
            Self::Bearer(token) => format!("Bearer {}", token.read().map_err(Error::Secret)?.expose()),
        };
        let mut proof = HeaderValue::try_from(proof).map_err(|error| Error::Request(error.into()))?;
        proof.set_sensitive(true);
        Ok(Some(proof))
    }
}

/// Returns the value as it is written in a form.
fn percent_encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Checks a file of certificate authorities.
///
/// # Errors
/// [`EndpointError`] when the file cannot be used.
pub(crate) fn check_authorities(file: &Path) -> Result<(), EndpointError> {
    connector(Some(file)).map(drop)
}

/// Returns TLS for connections to servers whose certificates these authorities have signed, or those of the system.
///
/// # Errors
/// [`EndpointError`] when the file cannot be used.
fn connector(authorities: Option<&Path>) -> Result<SslConnector, EndpointError> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(EndpointError::Defaults)?;
    // The OpenSSL that is built in does not know where the system has its authorities.
    let found = authorities.is_none().then(openssl_probe::probe);
    let found = found.and_then(|found| found.cert_file);
    if let Some(path) = authorities.map(Path::to_owned).or(found) {
        builder.set_ca_file(&path).map_err(|_| {
            let reason = file_fault(&path, Wanted::Certificate);
            EndpointError::Authorities { path, reason }
        })?;
    }
    Ok(builder.build())
}

/// Secures a connection to a server, which must have a certificate for `host`.
///
/// # Errors
/// When the server has none that is trusted.
async fn handshake(connector: &SslConnector, host: &str, stream: TcpStream) -> Result<SslStream<TcpStream>, NoTls> {
    let before = |error: ErrorStack| NoTls::new(X509VerifyResult::OK, error.into());
    let ssl = connector.configure().and_then(|configuration| configuration.into_ssl(host)).map_err(before)?;
    let mut stream = SslStream::new(ssl, stream).map_err(before)?;
    match Pin::new(&mut stream).connect().await {
        Ok(()) => Ok(stream),
        Err(error) => Err(NoTls::new(stream.ssl().verify_result(), error)),
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Error::Exchange)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(Error::Exchange)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(Error::Body)?;
        Ok(Answer { status, body: body.to_bytes() })
    };
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    // The connection moves the bytes of the exchange. It can end first, with all of them moved.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(Error::Exchange)?;
            answer.await
        }
    }
}
