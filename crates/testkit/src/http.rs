//! An HTTP client: well-formed requests over kept connections, and raw bytes over a new connection.

use std::io::ErrorKind;
use std::net::SocketAddr;

use domain::{Position, TopicPosition};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wait::PATIENCE;

/// A client of one server. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    server: SocketAddr,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The reason why no complete answer came.
#[derive(Debug)]
pub enum Failed {
    Exchange(hyper_util::client::legacy::Error),
    Body(hyper::Error),
}

impl Http {
    pub fn to(server: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), server }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, Bytes::new()).await.expect("the server answers")
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::POST, path, body).await.expect("the server answers")
    }

    /// Sends a request whose answer may fail to come, for example while the server stops.
    ///
    /// # Errors
    /// If no complete answer came.
    pub async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<Answer, Failed> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.server))
            .header("content-type", "application/json")
            .body(Full::new(body.into()))
            .expect("the test writes a well-formed request");
        self.whole(request).await
    }

    /// Gets what `accept` names.
    ///
    /// # Errors
    /// If no complete answer came.
    pub async fn get_as(&self, path: &str, accept: &str) -> Result<Answer, Failed> {
        self.get_with(path, &[("accept", accept)]).await
    }

    /// Gets a path with these header fields.
    ///
    /// # Errors
    /// If no complete answer came.
    pub async fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Result<Answer, Failed> {
        let request = Request::get(format!("http://{}{path}", self.server));
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.whole(request.body(Full::default()).expect("the test writes a well-formed request")).await
    }

    async fn whole(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failed> {
        let (head, body) = self.client.request(request).await.map_err(Failed::Exchange)?.into_parts();
        let body = body.collect().await.map_err(Failed::Body)?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Opens a connection and writes the text, a request or its beginning. The server may close before it has read
    /// everything.
    pub async fn open(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.server).await.expect("the server listens");
        let _refused_early = stream.write_all(text.as_bytes()).await.is_err();
        stream
    }

    /// Sends bytes unchanged, keeps the connection open for writing, and returns everything that the server sends
    /// before it closes the connection.
    ///
    /// For requests that no client would send, and for bodies that a server refuses early: hyper's client drops the
    /// answer when it cannot write the rest.
    pub async fn raw(&self, text: &str) -> String {
        read_to_end(&mut self.open(text).await).await
    }

    /// Like [`Http::raw`], and parses the one answer.
    pub async fn exchange(&self, text: &str) -> Answer {
        Answer::parse(&self.raw(text).await)
    }
}

impl Answer {
    /// Parses an answer from its bytes.
    pub fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head of an answer in {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let fields = lines.filter_map(|line| line.split_once(": "));
        let headers: HeaderMap = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let chunked = headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked");
        let body = if chunked { unchunk(body) } else { body.to_owned() };
        Self { status: status.unwrap_or_else(|| panic!("no status in {head}")), headers, body: body.into() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the body as text.
    pub fn body_text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Returns the place in the position at `pointer` in the JSON body, which names its topic.
    pub fn place(&self, pointer: &str) -> Position {
        self.text(pointer).parse::<TopicPosition>().unwrap().position
    }

    /// Returns the text at a JSON pointer of the body.
    pub fn text(&self, pointer: &str) -> String {
        let json = self.json();
        let text = json.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no text at {pointer} in {self:?}")).to_owned()
    }
}

/// Returns the text of a request with `Connection: close`. `headers` are whole lines.
pub fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// Reads until the server closes the connection. A reset counts as a close.
pub async fn read_to_end<S: AsyncReadExt + Unpin>(stream: &mut S) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    match read.expect("the server closes the connection") {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(rest.get(..size).unwrap());
        body = rest.get(size + 2..).unwrap();
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_came() {
        let whole = Answer::parse("HTTP/1.1 404 Not Found\r\nAllow: GET\r\ncontent-length: 8\r\n\r\n{\"a\":\"b\"}");
        assert_eq!((whole.status.as_u16(), whole.header("allow"), whole.text("/a").as_str()), (404, Some("GET"), "b"));
        let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(Answer::parse(chunks).body_text(), "abc0123456789");
    }
}
