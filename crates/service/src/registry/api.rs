//! The calls of the registry's API.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::{self, Endpoint};

const MEDIA: &str = "application/vnd.schemaregistry.v1+json";
/// The compatibility that a subject must have: every version reads the records of every other.
const COMPATIBILITY: &str = "FULL_TRANSITIVE";
/// The most characters of a refusal that are shown.
const MESSAGE_CHARS_MAX: usize = 300;

/// The reason why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the schema registry at {url} does not answer")]
    Unanswered { url: String, source: client::Error },
    #[error("the schema registry refuses {what} with status {status}: {message}")]
    Refused { what: String, status: u16, message: String },
    #[error("the schema registry answers {what} with something else than its API says: {body}")]
    Answer { what: String, body: String },
    #[error(
        "subject {subject} does not have the schema of this release: register it from schemas/, or set \
         registry.auto_register = true"
    )]
    NotRegistered { subject: String },
    #[error("subject {subject} has compatibility {found}, expected {COMPATIBILITY}")]
    Compatibility { subject: String, found: String },
}

/// Returns the subject of a topic's values.
pub(super) fn subject(topic: &str) -> String {
    format!("{topic}-value")
}

/// Registers a schema for a subject, and sets the subject's compatibility. Returns the schema's id.
pub(super) async fn register(endpoint: &Endpoint, subject: &str, schema: &str) -> Result<u32, Error> {
    let path = format!("/subjects/{subject}/versions");
    let answer = accepted(endpoint, Method::POST, &path, Some(&body(schema))).await?;
    let set = json!({ "compatibility": COMPATIBILITY });
    accepted(endpoint, Method::PUT, &format!("/config/{subject}"), Some(&set)).await?;
    id(&path, &answer)
}

/// Returns the id of a schema under a subject, or `None` if it is not registered there.
pub(super) async fn look_up(endpoint: &Endpoint, subject: &str, schema: &str) -> Result<Option<u32>, Error> {
    let path = format!("/subjects/{subject}");
    let answer = found(endpoint, Method::POST, &path, Some(&body(schema))).await?;
    answer.map(|answer| id(&path, &answer)).transpose()
}

/// Checks that a subject has the compatibility that it must have, by itself or by the registry's default.
pub(super) async fn check_compatibility(endpoint: &Endpoint, subject: &str) -> Result<(), Error> {
    let path = format!("/config/{subject}?defaultToGlobal=true");
    let answer = found(endpoint, Method::GET, &path, None).await?.unwrap_or_default();
    match answer["compatibilityLevel"].as_str().unwrap_or("none") {
        COMPATIBILITY => Ok(()),
        other => Err(Error::Compatibility { subject: subject.to_owned(), found: other.to_owned() }),
    }
}

/// Returns the text of the schema with this id, or `None` if the registry does not know it.
pub(super) async fn schema(endpoint: &Endpoint, id: u32) -> Result<Option<String>, Error> {
    let path = format!("/schemas/ids/{id}");
    let Some(answer) = found(endpoint, Method::GET, &path, None).await? else { return Ok(None) };
    let schema = answer["schema"].as_str().map(str::to_owned);
    schema.map(Some).ok_or_else(|| Error::Answer { what: path, body: shortened(&answer.to_string()) })
}

fn body(schema: &str) -> Value {
    json!({ "schema": schema, "schemaType": "AVRO" })
}

fn id(what: &str, answer: &Value) -> Result<u32, Error> {
    let id = answer["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| Error::Answer { what: what.to_owned(), body: shortened(&answer.to_string()) })
}

async fn accepted(endpoint: &Endpoint, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
    let what = format!("{method} {path}");
    let missing = Error::Refused { what, status: StatusCode::NOT_FOUND.as_u16(), message: "not found".to_owned() };
    found(endpoint, method, path, body).await?.ok_or(missing)
}

/// Returns the answer, or `None` where it is that there is no such thing.
async fn found(endpoint: &Endpoint, method: Method, path: &str, body: Option<&Value>) -> Result<Option<Value>, Error> {
    let what = format!("{method} {path}");
    let answer = endpoint.send(method, path, MEDIA, body).await;
    let answer = answer.map_err(|source| Error::Unanswered { url: endpoint.url().to_owned(), source })?;
    let text = || shortened(&String::from_utf8_lossy(&answer.body));
    let json: Option<Value> = serde_json::from_slice(&answer.body).ok();
    // A 404 without the registry's own error is one of a wrong address.
    let is_api_error = json.as_ref().is_some_and(|json| json["error_code"].is_u64());
    match (answer.status, json) {
        (StatusCode::NOT_FOUND, _) if is_api_error => Ok(None),
        (status, Some(json)) if status.is_success() => Ok(Some(json)),
        (status, None) if status.is_success() => Err(Error::Answer { what, body: text() }),
        (status, _) => Err(Error::Refused { what, status: status.as_u16(), message: text() }),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}
