//! Queries a projector.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use service::Secret;
use service::client::Connect;

use crate::output::escaped;

/// The time limit of an answer, and of each part of one that comes line by line.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// The media type of an answer with one JSON value a line.
const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";
/// The media type of Server-Sent Events.
const EVENTS: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The largest answer that is read, or the largest line of one.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A service that answers GET with JSON.
#[derive(Clone, Debug)]
pub(crate) struct ProjectorClient {
    client: Client<Connect, Empty<Bytes>>,
    base: String,
    /// `Bearer` and the token of this reader, if it has one.
    authorization: Option<HeaderValue>,
}

impl ProjectorClient {
    /// Returns the service at `base`: `http://host:port`, or `https` and a certificate of these `authorities`, or of
    /// those of the system.
    ///
    /// # Errors
    /// If the address is not of that form, or the file of the authorities cannot be used.
    pub(crate) fn new(base: &str, authorities: Option<&Path>) -> anyhow::Result<Self> {
        let uri: Uri = base.parse().with_context(|| format!("{base} is not an address"))?;
        anyhow::ensure!(
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some(),
            "{base} is not an address of the form http://host:port or https://host:port"
        );
        let client = Client::builder(TokioExecutor::new()).build(Connect::new(authorities)?);
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), authorization: None })
    }

    /// Returns the service as asked by the bearer of the token in this file, or by nobody.
    ///
    /// # Errors
    /// If the file cannot be read, or has no token that HTTP can carry.
    pub(crate) fn with_token_of(mut self, file: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(file) = file {
            let token = Secret::from_file(file).with_context(|| format!("{} cannot be used", file.display()))?;
            let authorization = HeaderValue::try_from(format!("Bearer {}", token.expose()));
            let mut authorization = authorization.with_context(|| format!("{} has no token", file.display()))?;
            authorization.set_sensitive(true);
            self.authorization = Some(authorization);
        }
        Ok(self)
    }

    fn request(&self, url: &str, accepted: &'static str) -> anyhow::Result<Request<Empty<Bytes>>> {
        let mut request = Request::get(url).header(ACCEPT, accepted);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        Ok(request.body(Empty::new())?)
    }

    /// Returns the address of the service.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Calls `each` with every line of the NDJSON that GET `path` answers.
    ///
    /// # Errors
    /// If there is no complete answer with status 200, or if `each` fails.
    pub(crate) async fn lines(&self, path: &str, each: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.base);
        let rest = self.stream(&url, self.request(&url, NDJSON)?, each).await?;
        anyhow::ensure!(rest.is_empty(), "the last line of {url} was cut off");
        Ok(())
    }

    /// Calls `each` with every line of the events that GET `path` answers, from after the event `last_id` on, until
    /// the stream ends.
    ///
    /// # Errors
    /// If there is no answer with status 200, if the stream falls silent, or if `each` fails.
    pub(crate) async fn events(
        &self,
        path: &str,
        last_id: Option<&str>,
        each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let url = format!("{}{path}", self.base);
        let mut request = self.request(&url, EVENTS)?;
        if let Some(id) = last_id {
            request.headers_mut().insert(LAST_EVENT_ID, id.parse().context("the id is not one of an event")?);
        }
        self.stream(&url, request, each).await.map(drop)
    }

    /// Calls `each` with every whole line of the answer, and returns the rest.
    async fn stream(
        &self,
        url: &str,
        request: Request<Empty<Bytes>>,
        mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<u8>> {
        let answer = self.answer(url, request).await?;
        let status = answer.status();
        if status != StatusCode::OK {
            // Without a body that can be read, the status says it.
            let problem = whole(url, answer).await.unwrap_or_default();
            anyhow::bail!("{url} answers {}", escaped(&detail(status, &problem)));
        }
        let (mut body, mut line) = (answer.into_body(), Vec::new());
        while let Some(frame) = in_time(url, body.frame()).await? {
            let frame = frame.with_context(|| format!("the answer of {url} was cut off"))?;
            let data = frame.into_data().unwrap_or_default();
            let mut parts = data.split(|byte| *byte == b'\n');
            line.extend_from_slice(parts.next().unwrap_or_default());
            for part in parts {
                each(&line)?;
                line.clear();
                line.extend_from_slice(part);
            }
            anyhow::ensure!(line.len() <= ANSWER_BYTES_MAX, "{url} answers a line that is too long");
        }
        Ok(line)
    }

    /// Returns the status and the JSON of the answer to GET `path`; JSON null if the body is not JSON.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Value)> {
        let (status, body) = self.bytes(path).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Returns the status and the body of the answer to GET `path`.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn bytes(&self, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let url = format!("{}{path}", self.base);
        let answer = self.answer(&url, self.request(&url, JSON)?).await?;
        Ok((answer.status(), whole(&url, answer).await?))
    }

    /// Returns an answer of which the body is still to come.
    async fn answer(&self, url: &str, request: Request<Empty<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        in_time(url, self.client.request(request)).await?.map_err(|error| unanswered(url, &error))
    }
}

/// Returns the body of an answer.
async fn whole(url: &str, answer: Response<Incoming>) -> anyhow::Result<Bytes> {
    let body = in_time(url, Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect()).await?;
    Ok(body.map_err(|error| anyhow::anyhow!("the answer of {url} was cut off: {error}"))?.to_bytes())
}

/// Waits for a part of an answer, for [`ANSWER_WAIT_MAX`].
async fn in_time<T>(url: &str, part: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(ANSWER_WAIT_MAX, part).await.with_context(|| format!("{url} has not answered in time"))
}

/// Returns why there is no answer, in words: the last cause says it, or the remedy.
fn unanswered(url: &str, error: &hyper_util::client::legacy::Error) -> anyhow::Error {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let cause = causes.last().unwrap_or(error);
    let refused = cause.downcast_ref::<io::Error>().filter(|error| error.kind() == ErrorKind::ConnectionRefused);
    match refused {
        Some(_) => anyhow::anyhow!("{url} does not answer: nothing listens there; is the address right?"),
        None => anyhow::anyhow!("{url} does not answer: {cause}"),
    }
}

/// Returns a refusal in words: the status, and the detail of the problem if there is one.
pub(crate) fn detail(status: StatusCode, body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    match problem["detail"].as_str() {
        Some(detail) => format!("{status}: {detail}"),
        None => status.to_string(),
    }
}
