//! An authorization server that gives tokens for client credentials (RFC 6749, section 4.4).

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that gives tokens until it is dropped.
#[derive(Debug)]
pub struct TokenServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

struct State {
    mint: Box<dyn Fn(Duration) -> String + Send>,
    life: Duration,
    /// Status and body of every answer, instead of a token.
    refusal: Option<(u16, Value)>,
    requests: Vec<TokenRequest>,
    issued: usize,
}

/// A request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    pub path: String,
    pub authorization: String,
    pub body: String,
}

impl TokenServer {
    /// Starts a server whose tokens are made by `mint` and live for that long.
    pub async fn start(life: Duration, mint: impl Fn(Duration) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { mint: Box::new(mint), life, refusal: None, requests: Vec::new(), issued: 0 };
        let state = Arc::new(Mutex::new(state));
        let server = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, server }
    }

    /// Returns the address of the token endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/oauth/token", self.address)
    }

    /// From now on every request is refused so, or none.
    pub fn refuse(&self, refusal: Option<(u16, Value)>) {
        self.state().refusal = refusal;
    }

    pub fn requests(&self) -> Vec<TokenRequest> {
        self.state().requests.clone()
    }

    /// Returns the number of tokens that were given.
    pub fn issued(&self) -> usize {
        self.state().issued
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("life", &self.life).field("issued", &self.issued).finish_non_exhaustive()
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(Arc::clone(&state), request));
            // A client that goes away ends the connection with an error.
            let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.is_ok();
        });
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut state = state.lock().unwrap();
    let authorization = head.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    state.requests.push(TokenRequest {
        path: head.uri.path().to_owned(),
        authorization: authorization.unwrap_or_default(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    let (status, json) = state.refusal.clone().unwrap_or_else(|| {
        state.issued += 1;
        let token = (state.mint)(state.life);
        (200, json!({ "access_token": token, "token_type": "Bearer", "expires_in": state.life.as_secs() }))
    });
    let mut response = Response::new(Full::new(json.to_string().into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}
