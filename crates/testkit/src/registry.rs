//! A schema registry in memory, with the calls of Confluent's API that Rollcall makes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

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

/// The path in the registry's address, as with Apicurio.
const PATH: &str = "/apis/ccompat/v7";

/// A registry that answers until it is dropped.
#[derive(Debug)]
pub struct FakeRegistry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The text of each schema; ids count from 1.
    schemas: Vec<String>,
    subjects: BTreeMap<String, Vec<u32>>,
    compatibility: BTreeMap<String, String>,
    /// Connections are closed without an answer.
    is_away: bool,
    /// The value of `Authorization` that every request must have.
    proof: Option<String>,
    /// Method and path of each request.
    requests: Vec<String>,
}

impl FakeRegistry {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(State::default())));
        let server = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, server }
    }

    /// Returns the address for `registry.url`.
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Registers a schema for a subject, as another writer does. Returns its id.
    pub fn register(&self, subject: &str, schema: &str) -> u32 {
        self.state().register(subject, schema)
    }

    /// Returns the compatibility of a subject.
    pub fn compatibility(&self, subject: &str) -> Option<String> {
        self.state().compatibility.get(subject).cloned()
    }

    /// Sets the compatibility of a subject.
    pub fn set_compatibility(&self, subject: &str, level: &str) {
        self.state().compatibility.insert(subject.to_owned(), level.to_owned());
    }

    /// From now on no request is answered, or each is again.
    pub fn set_away(&self, is_away: bool) {
        self.state().is_away = is_away;
    }

    /// Demands this value of `Authorization`.
    pub fn demand(&self, proof: &str) {
        self.state().proof = Some(proof.to_owned());
    }

    /// Returns method and path of each request so far, the ones that were not answered included.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(Arc::clone(&state), request));
            // A request that is not answered ends the connection with an error.
            let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.is_ok();
        });
    }
}

/// The registry is away.
#[derive(Debug)]
struct Away;

impl std::fmt::Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("away")
    }
}

impl std::error::Error for Away {}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Away> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).map_err(|_: hyper::Error| Away)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut state = state.lock().unwrap();
    state.requests.push(format!("{} {}", head.method, head.uri.path()));
    if state.is_away {
        return Err(Away);
    }
    let proof = head.headers.get(AUTHORIZATION).map(|proof| proof.to_str().unwrap().to_owned());
    let (status, json) = if state.proof.is_some() && proof != state.proof {
        (401, json!({ "error_code": 401, "message": "who is it?" }))
    } else {
        match head.uri.path().strip_prefix(PATH) {
            None => (404, json!({})),
            Some(path) => {
                let parts: Vec<&str> = path.split('/').skip(1).collect();
                state.call(head.method.as_str(), &parts, &body).unwrap_or((404, json!({ "error_code": 40401 })))
            }
        }
    };
    let mut response = Response::new(Full::new(json.to_string().into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

impl State {
    fn register(&mut self, subject: &str, schema: &str) -> u32 {
        let at = self.schemas.iter().position(|known| known == schema).unwrap_or_else(|| {
            self.schemas.push(schema.to_owned());
            self.schemas.len() - 1
        });
        let id = u32::try_from(at).unwrap() + 1;
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&id) {
            versions.push(id);
        }
        id
    }

    fn call(&mut self, method: &str, path: &[&str], body: &Value) -> Option<(u16, Value)> {
        let schema = body["schema"].as_str().unwrap_or_default();
        match (method, path) {
            ("POST", ["subjects", subject, "versions"]) => Some((200, json!({ "id": self.register(subject, schema) }))),
            ("POST", ["subjects", subject]) => {
                let id = |id: &&u32| self.schemas[**id as usize - 1] == schema;
                Some((200, json!({ "id": self.subjects.get(*subject)?.iter().find(id)? })))
            }
            ("GET", ["schemas", "ids", id]) => {
                let at = id.parse::<usize>().ok()?.checked_sub(1)?;
                Some((200, json!({ "schema": self.schemas.get(at)? })))
            }
            ("PUT", ["config", subject]) => {
                let level = body["compatibility"].as_str()?.to_owned();
                self.compatibility.insert((*subject).to_owned(), level);
                Some((200, body.clone()))
            }
            ("GET", ["config", subject]) => {
                let level = self.compatibility.get(*subject).map_or("BACKWARD", String::as_str);
                Some((200, json!({ "compatibilityLevel": level })))
            }
            (_, _) => None,
        }
    }
}
