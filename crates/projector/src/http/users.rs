//! `GET /users/…`: one user by its identifier, and look-ups by other fields.

use std::sync::Arc;

use axum::BoxError;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::wire::Current;
use domain::{SAFE_INTEGER_MAX, UserId};
use futures_util::{StreamExt as _, stream};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::accept::IfNoneMatch;
use super::api::Api;
use super::at_least::AtLeast;
use super::bodies::{Matched, ProblemBody, Refused, UserBody};
use super::fields::Shown;
use super::list::{STREAM_STEP, Source};
use super::params::UserQuery;
use super::refusal::Refusal;
use super::render::{self, Rendered, View};
use crate::store::{Lookup, UserFilter, UserRow};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The end of a list.
const END: &[u8] = b"]}";

/// Answers with one user.
#[utoipa::path(
    get,
    operation_id = "getUser",
    path = "/users/{userId}",
    params(
        (
            "userId" = i64,
            Path,
            description = "the vendor's identifier",
            minimum = 0,
            maximum = 9_007_199_254_740_991_i64
        ),
        UserQuery,
        AtLeast,
        ("If-None-Match" = Option<String>, Header, description = "entity tags that the reader has: 304 if one matches")
    ),
    responses(
        (
            status = 200,
            description = "the user's current state",
            body = UserBody,
            headers(("ETag" = String, description = "weak: covers the user, not `_meta`; every replica has the same"))
        ),
        (status = 304, description = "the state that `If-None-Match` names is the current one",
            headers(("ETag" = String, description = "the tag of the current state"))),
        (status = 404, description = "no such user", body = ProblemBody),
        (status = 410, description = "the user was forgotten", body = ProblemBody),
        Refused
    )
)]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    shown: Shown,
    known: IfNoneMatch,
) -> Result<Response, Refusal> {
    let user_id = user_id(id)?;
    let table = api.table()?;
    match api.projection.shared.look(&table, move |reader| reader.get(user_id)).await? {
        Lookup::Found(row) => found(&row, &known, &api.view(&table, shown)),
        Lookup::Forgotten(_) => Err(Refusal::ForgottenUser),
        Lookup::Unknown => Err(Refusal::UnknownUser),
    }
}

/// Returns the user's identifier as the path has it.
pub(super) fn user_id(path: Result<Path<String>, PathRejection>) -> Result<UserId, Refusal> {
    let Path(id) = path?;
    id.parse().map_err(|_: domain::UserIdError| {
        Refusal::NoUserId(format!("userId: expected a whole number from 0 to {SAFE_INTEGER_MAX}, as in /users/180"))
    })
}

fn found(row: &UserRow, known: &IfNoneMatch, view: &View) -> Result<Response, Refusal> {
    let current = render::decoded(row, view)?;
    let json = || Rendered::new(&current, row, view).to_json().into();
    Ok(known.answer(etag(&current, view), "application/json", json))
}

/// Returns a weak tag: it is of the topic, the event that wins and the fields that are shown, so it covers the user,
/// and not `_meta`. A table that was rebuilt and a replica give the same; the user of another topic has another.
fn etag(current: &Current<'_>, View { names, shown, .. }: &View) -> String {
    let (topic, event) = (names.topic(), current.event_id);
    match shown.subset() {
        None => format!("W/\"{topic}/{event}\""),
        Some(shown) => format!("W/\"{topic}/{event}/{shown:x}\""),
    }
}

/// Answers with all users that have this username.
#[utoipa::path(
    get,
    operation_id = "findUsersByUsername",
    path = "/users/by-username/{username}",
    params(
        ("username" = String, Path, description = "whole; the case of ASCII letters does not matter"),
        UserQuery,
        AtLeast
    ),
    responses(Matched, Refused)
)]
pub(super) async fn by_username(
    State(api): State<Arc<Api>>,
    username: Result<Path<String>, PathRejection>,
    shown: Shown,
) -> Result<Response, Refusal> {
    matching(&api, shown, username, |username| UserFilter { username: Some(username), ..UserFilter::default() }).await
}

/// Answers with all users that have this e-mail address.
#[utoipa::path(
    get,
    operation_id = "findUsersByEmail",
    path = "/users/by-email/{email}",
    params(
        ("email" = String, Path, description = "whole; the case of ASCII letters does not matter"),
        UserQuery,
        AtLeast
    ),
    responses(Matched, Refused)
)]
pub(super) async fn by_email(
    State(api): State<Arc<Api>>,
    email: Result<Path<String>, PathRejection>,
    shown: Shown,
) -> Result<Response, Refusal> {
    matching(&api, shown, email, |email| UserFilter { email: Some(email), ..UserFilter::default() }).await
}

/// Answers with all users that have this extension.
#[utoipa::path(
    get,
    operation_id = "findUsersByExtension",
    path = "/users/by-extension/{extension}",
    params(
        ("extension" = String, Path, description = "whole; the case of ASCII letters does not matter"),
        UserQuery,
        AtLeast
    ),
    responses(Matched, Refused)
)]
pub(super) async fn by_extension(
    State(api): State<Arc<Api>>,
    extension: Result<Path<String>, PathRejection>,
    shown: Shown,
) -> Result<Response, Refusal> {
    matching(&api, shown, extension, |extension| UserFilter { extension: Some(extension), ..UserFilter::default() })
        .await
}

/// Answers with all users that have it, of which there may be several: the vendor does not say that it is unique.
async fn matching(
    api: &Api,
    shown: Shown,
    value: Result<Path<String>, PathRejection>,
    filter: impl FnOnce(String) -> UserFilter,
) -> Result<Response, Refusal> {
    let Path(value) = value?;
    let (table, filter) = (api.table()?, filter(value));
    let source = Source { projection: api.projection.clone(), table, filter, shown };
    let page = source.look(STREAM_STEP).await?;
    if page.users.is_empty() {
        return Err(Refusal::UnknownUser);
    }
    let mut json = b"{\"users\":[".to_vec();
    render::join(&mut json, &page.users, b",", &source.view())?;
    let Some(last) = page.next_after else {
        json.extend(END);
        return Ok(([(CONTENT_TYPE, JSON)], json).into_response());
    };
    let rest = stream::try_unfold((source, Some(last)), |(source, last)| async move {
        let Some(last) = last else { return Ok::<_, BoxError>(None) };
        let page = source.find(Some(last), STREAM_STEP).await?;
        let mut json = if page.users.is_empty() { Vec::new() } else { b",".to_vec() };
        render::join(&mut json, &page.users, b",", &source.view())?;
        Ok(Some((json, (source, page.next_after))))
    });
    let whole = stream::iter([Ok(json)]).chain(rest).chain(stream::iter([Ok(END.to_vec())]));
    Ok(([(CONTENT_TYPE, JSON)], Body::from_stream(whole)).into_response())
}
