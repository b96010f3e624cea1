//! A small HTTP client: what a test says and what came back, without ceremony.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a server may take to answer and close a connection whose request is not whole.
const RAW_MAX: Duration = Duration::from_secs(60);

/// A client of one server. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    server: SocketAddr,
}

/// What the server answered, read to the end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), server }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Bytes::new()).await.expect("the server answers")
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, body).await.expect("the server answers")
    }

    /// Sends a request whose answer may fail to come, as when the server is being stopped.
    ///
    /// # Errors
    ///
    /// If no whole answer came.
    pub(crate) async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Answer, Failed> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.server))
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .expect("the test writes a well-formed request");
        let (head, body) = self.client.request(request).await.map_err(Failed::Exchange)?.into_parts();
        let body = body.collect().await.map_err(Failed::Body)?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends bytes as they are, without ending them, and returns what comes back until the server closes the connection.
    ///
    /// For what no client would send; and a server that refuses a body need not wait for it, whereas hyper's client gives up
    /// the answer when it cannot write the rest.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(self.server).await.expect("the server listens");
            stream.write_all(request.as_bytes()).await.expect("the server reads the head of a request");
            let mut answer = Vec::new();
            // A connection that is reset has said all that it will.
            stream.read_to_end(&mut answer).await.ok();
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::time::timeout(RAW_MAX, exchange).await.expect("the server does not wait for ever")
    }
}

impl Answer {
    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Returns the text at a JSON pointer of the body.
    pub(crate) fn text(&self, pointer: &str) -> String {
        let json = self.json();
        let text = json.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no text at {pointer} in {self:?}")).to_owned()
    }
}

/// Why there is no whole answer.
#[derive(Debug)]
#[expect(dead_code, reason = "the causes are for the message of a failed test")]
pub(crate) enum Failed {
    Exchange(Error),
    Body(hyper::Error),
}
