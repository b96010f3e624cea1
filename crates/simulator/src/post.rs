//! Posts one attempt and reads its answer.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{InvalidUri, Scheme};
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use service::client::{Connect, EndpointError, NoTls, speaks_tls};
use tokio::sync::OnceCell;

use crate::encrypt::{self, Encryption};
use crate::history::Notice;

/// The time limit of an answer: longer than the receiver's deadline for Kafka, so that its 503 is seen.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// The largest answer that is read. A receiver's answer has a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Posts to one webhook address.
#[derive(Debug)]
pub struct Post {
    client: Client<Connect, Full<Bytes>>,
    url: Uri,
    encryption: Option<Encryption>,
    /// The label of a connection without an answer, once there was one.
    lost: OnceCell<&'static str>,
}

/// The reason why nothing can be posted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{url} is not an address")]
    Address { url: String, source: InvalidUri },
    #[error("{url} is not an address of the form http://host:port/path or https://host:port/path")]
    Scheme { url: String },
    #[error("https cannot be used")]
    Tls(#[source] EndpointError),
    #[error("the body cannot be encrypted")]
    Encrypt(#[source] encrypt::Error),
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
}

/// The outcome of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Status(StatusCode, Receipt),
    /// There was no answer. The reason is a label to count by.
    None(&'static str),
}

/// The known members of the answer's body. Empty where a receiver answers in another format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    pub status: Option<String>,
    pub position: Option<String>,
    /// The detail of a refusal (RFC 9457).
    pub detail: Option<String>,
}

impl Receipt {
    /// Reads the known members. A receiver other than Rollcall may answer in any format; only the status counts.
    fn read(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name| body[name].as_str().map(str::to_owned);
        Self { status: text("status"), position: text("position"), detail: text("detail") }
    }
}

impl Post {
    /// Prepares to post to `url`, with as many connections as concurrent posts. The certificate of an https server is
    /// checked against `authorities`, or those of the system.
    ///
    /// # Errors
    /// [`Error::Address`] or [`Error::Scheme`] when the address is neither http nor https; [`Error::Tls`].
    pub fn new(url: &str, encryption: Option<Encryption>, authorities: Option<&Path>) -> Result<Self, Error> {
        let url: Uri = url.parse().map_err(|source| Error::Address { url: url.to_owned(), source })?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(Error::Scheme { url: url.to_string() });
        }
        let connect = Connect::new(authorities).map_err(Error::Tls)?;
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connect);
        Ok(Self { client, url, encryption, lost: OnceCell::new() })
    }

    /// Posts one event and waits for the answer.
    pub async fn deliver(&self, notice: &Notice) -> Answer {
        let Ok(request) = self.request(notice) else {
            return Answer::None("not sent");
        };
        match tokio::time::timeout(ANSWER_WAIT_MAX, self.exchange(request)).await {
            Ok(Ok((status, receipt))) => Answer::Status(status, receipt),
            Ok(Err(reason)) => Answer::None(reason),
            Err(_) => Answer::None("no answer in time"),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Receipt), &'static str> {
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Err(not_connected(&error)),
            Err(_) => return Err(self.lost.get_or_init(|| self.connection_lost()).await),
        };
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|_| "answer cut off")?;
        Ok((status, Receipt::read(&body.to_bytes())))
    }

    /// Returns the label of a connection that ended without an answer.
    async fn connection_lost(&self) -> &'static str {
        if self.url.scheme() == Some(&Scheme::HTTP) && speaks_tls(&self.url).await {
            "connection lost: the port speaks TLS; use https://"
        } else {
            "connection lost"
        }
    }

    fn request(&self, notice: &Notice) -> Result<Request<Full<Bytes>>, Error> {
        let (url, media, body) = match &self.encryption {
            None => (self.url.clone(), "application/json", notice.body()),
            Some(encryption) => {
                let sent = encryption.encrypt(&notice.body()).map_err(Error::Encrypt)?;
                let url = sent.iv_hex.map_or(Ok(self.url.clone()), |iv| with_query(&self.url, "iv", &iv));
                (url.map_err(|error| Error::Request(error.into()))?, "text/plain", sent.body)
            }
        };
        Request::post(url).header(header::CONTENT_TYPE, media).body(Full::from(body)).map_err(Error::Request)
    }
}

impl Answer {
    pub fn is_accepted(&self) -> bool {
        match self {
            // To the vendor, only 200 means delivered.
            Self::Status(status, _) => *status == StatusCode::OK,
            Self::None(_) => false,
        }
    }

    /// Returns the reason why the event was not accepted, for people.
    pub fn reason(&self) -> String {
        match self {
            Self::Status(_, Receipt { detail: Some(said), .. }) => format!("{}: {said}", self.label()),
            Self::Status(..) | Self::None(_) => self.label(),
        }
    }

    /// Returns the label by which the answer is counted.
    pub fn label(&self) -> String {
        match self {
            Self::Status(status, Receipt { status: Some(said), .. }) => format!("{} {said}", status.as_u16()),
            Self::Status(status, _) => format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("")),
            Self::None(reason) => (*reason).to_owned(),
        }
    }
}

/// Returns the label of a connection that was not made, with its reason where that is known.
fn not_connected(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let Some(error) = causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).last() else {
        return "not connected";
    };
    match error.get_ref().and_then(|inner| inner.downcast_ref::<NoTls>()) {
        Some(no_tls) if no_tls.is_untrusted() => {
            "not connected: the certificate is not trusted; --ca-file names other authorities"
        }
        Some(no_tls) if no_tls.is_other_protocol() => "not connected: the port does not speak TLS; use http://",
        Some(_) => "not connected: no TLS",
        None => match error.kind() {
            io::ErrorKind::NotFound => "not connected: the host name cannot be resolved",
            io::ErrorKind::ConnectionRefused => "not connected: nothing listens there",
            io::ErrorKind::TimedOut => "not connected: nothing comes back from the address",
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                "not connected: there is no route to the address"
            }
            _ => "not connected",
        },
    }
}

fn with_query(url: &Uri, name: &str, value: &str) -> Result<Uri, InvalidUri> {
    let separator = if url.query().is_some() { '&' } else { '?' };
    format!("{url}{separator}{name}={value}").parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_and_https_are_addresses() {
        for url in ["http://127.0.0.1:8080/webhooks/users?secret-key=x", "http://ingest/hook", "https://ingest/hook"] {
            assert!(Post::new(url, None, None).is_ok(), "{url}");
        }
        for url in ["", "localhost:8080", "/webhooks", "ftp://host/", "http://"] {
            assert!(Post::new(url, None, None).is_err(), "{url}");
        }
    }

    #[test]
    fn a_parameter_is_added_to_what_is_there() {
        let added = |url: &str| with_query(&url.parse().unwrap(), "iv", "00ff").unwrap().to_string();
        assert_eq!(added("http://h/w"), "http://h/w?iv=00ff");
        assert_eq!(added("http://h/w?secret-key=x"), "http://h/w?secret-key=x&iv=00ff");
    }

    #[test]
    fn receipts_and_refusals_are_read_and_anything_else_is_empty() {
        let stored = Receipt::read(br#"{"status":"stored","eventId":"x","userId":180,"position":"0:4"}"#);
        assert_eq!((stored.status.as_deref(), stored.position.as_deref()), (Some("stored"), Some("0:4")));
        let refused =
            Receipt::read(br#"{"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"why"}"#);
        assert_eq!((refused.status, refused.detail.as_deref()), (None, Some("why")));
        for other in [&b""[..], b"OK", b"[]", b"180"] {
            assert_eq!(Receipt::read(other), Receipt::default());
        }
    }

    #[test]
    fn only_200_is_delivered() {
        let answer = |code| Answer::Status(StatusCode::from_u16(code).unwrap(), Receipt::default());
        assert!(answer(200).is_accepted());
        for code in [201, 204, 301, 401, 422, 503] {
            assert!(!answer(code).is_accepted(), "{code}");
        }
        assert!(!Answer::None("connection lost").is_accepted());
    }
}
