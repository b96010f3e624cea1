//! `GET /users/…`: one user by its identifier, and look-ups by other fields.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::{UserId, wire};
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderValue, StatusCode};

use super::accept::IfNoneMatch;
use super::api::Api;
use super::at_least::{AtLeast, OnlyAtLeast};
use super::bodies::{Matched, ProblemBody, Refused, UserBody};
use super::params::PAGE_MAX;
use super::refusal::Refusal;
use super::render::{self, DamagedEvent, View};
use crate::error::Error;
use crate::store::{LogNames, Lookup, UserFilter, UserRow};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers with one user.
#[utoipa::path(
    get,
    path = "/users/{userId}",
    params(("userId" = i64, Path, description = "the vendor's identifier"), AtLeast),
    responses(
        (
            status = 200,
            description = "the user's current state",
            body = UserBody,
            headers(("ETag" = String, description = "weak: covers the user, not `_meta`; every replica has the same"))
        ),
        (status = 304, description = "the state that `If-None-Match` names is the current one"),
        (status = 404, description = "no such user", body = ProblemBody),
        (status = 410, description = "the user was forgotten", body = ProblemBody),
        Refused
    )
)]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    _only: OnlyAtLeast,
    known: IfNoneMatch,
) -> Result<Response, Refusal> {
    let Path(id) = id?;
    let user_id: UserId = id.parse().map_err(|error: domain::UserIdError| Refusal::NoUserId(error.to_string()))?;
    let table = api.table()?;
    match table.with(|reader| reader.get(user_id)).map_err(Error::from)? {
        Lookup::Found(row) => found(&row, &known, &api.view(&table)),
        Lookup::Forgotten(_) => Err(Refusal::ForgottenUser),
        Lookup::Unknown => Err(Refusal::UnknownUser),
    }
}

fn found(row: &UserRow, known: &IfNoneMatch, view: &View) -> Result<Response, Refusal> {
    let etag = etag(row, &view.names)?;
    let is_known = known.names(&etag);
    let etag = HeaderValue::try_from(etag).expect("base64, a UUID and quotes make a header");
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    }
    let json = render::user(row, view)?;
    Ok(([(CONTENT_TYPE, JSON), (ETAG, etag)], json).into_response())
}

/// Returns a weak tag: it is of the topic and the event that wins, so it covers the user, and not `_meta`. A table that
/// was rebuilt and a replica give the same; the user of another topic has another.
fn etag(row: &UserRow, names: &LogNames) -> Result<String, Refusal> {
    let head = wire::decode_head(&row.event).map_err(|_| DamagedEvent(names.of(row.position)))?;
    Ok(format!("W/\"{}/{}\"", names.topic(), head.event_id))
}

/// Answers with all users that have this username.
#[utoipa::path(
    get,
    path = "/users/by-username/{username}",
    params(("username" = String, Path, description = "whole; the case of ASCII letters does not matter"), AtLeast),
    responses(Matched, Refused)
)]
pub(super) async fn by_username(
    State(api): State<Arc<Api>>,
    username: Result<Path<String>, PathRejection>,
    _only: OnlyAtLeast,
) -> Result<Response, Refusal> {
    matching(&api, username, |username| UserFilter { username: Some(username), ..UserFilter::default() }).await
}

/// Answers with all users that have this e-mail address.
#[utoipa::path(
    get,
    path = "/users/by-email/{email}",
    params(("email" = String, Path, description = "whole; the case of ASCII letters does not matter"), AtLeast),
    responses(Matched, Refused)
)]
pub(super) async fn by_email(
    State(api): State<Arc<Api>>,
    email: Result<Path<String>, PathRejection>,
    _only: OnlyAtLeast,
) -> Result<Response, Refusal> {
    matching(&api, email, |email| UserFilter { email: Some(email), ..UserFilter::default() }).await
}

/// Answers with all users that have this extension.
#[utoipa::path(
    get,
    path = "/users/by-extension/{extension}",
    params(("extension" = String, Path, description = "whole; the case of ASCII letters does not matter"), AtLeast),
    responses(Matched, Refused)
)]
pub(super) async fn by_extension(
    State(api): State<Arc<Api>>,
    extension: Result<Path<String>, PathRejection>,
    _only: OnlyAtLeast,
) -> Result<Response, Refusal> {
    matching(&api, extension, |extension| UserFilter { extension: Some(extension), ..UserFilter::default() }).await
}

/// Answers with all users that have it, of which there may be several: the vendor does not say that it is unique.
async fn matching(
    api: &Api,
    value: Result<Path<String>, PathRejection>,
    filter: impl FnOnce(String) -> UserFilter,
) -> Result<Response, Refusal> {
    let Path(value) = value?;
    let (table, filter) = (api.table()?, filter(value));
    let page = api.projection.shared.read_of(&table, move |reader| reader.find(&filter, None, PAGE_MAX)).await?;
    if page.users.is_empty() {
        return Err(Refusal::UnknownUser);
    }
    let mut json = b"{\"users\":[".to_vec();
    render::join(&mut json, &page.users, b",", &api.view(&table))?;
    json.extend(b"]}");
    Ok(([(CONTENT_TYPE, JSON)], json).into_response())
}
