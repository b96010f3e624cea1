//! `GET /users` and what is below it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use domain::UserId;
use futures_util::stream;
use http::header::{CONTENT_TYPE, ETAG, LINK, VARY};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::accept::{IfNoneMatch, NDJSON, wants_ndjson};
use super::api::Api;
use super::at_least::{AtLeast, OnlyAtLeast};
use super::bodies::{Matched, ProblemBody, Refused, UserBody, UserPageBody};
use super::params::{ListQuery, PAGE_MAX};
use super::refusal::Refusal;
use super::render;
use crate::error::Error;
use crate::projection::Projection;
use crate::store::{Lookup, UserFilter, UserRow};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// `/users` answers by what the request takes: whoever keeps answers keeps one of each.
const VARY_BY: HeaderValue = HeaderValue::from_static("accept");
/// How many users one step of a stream reads: its memory, about half a megabyte.
const STREAM_STEP: usize = 500;

/// Answers with one user.
#[utoipa::path(
    get,
    path = "/users/{userId}",
    params(("userId" = i64, Path, description = "the vendor's identifier"), AtLeast),
    responses(
        (status = 200, description = "the user's current state", body = UserBody, headers(("ETag" = String))),
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
    match api.projection.get(user_id)? {
        Lookup::Found(row) => found(&row, &known),
        Lookup::Forgotten(_) => Err(Refusal::ForgottenUser),
        Lookup::Unknown => Err(Refusal::UnknownUser),
    }
}

fn found(row: &UserRow, known: &IfNoneMatch) -> Result<Response, Refusal> {
    let etag = etag(row);
    let is_known = known.names(&etag);
    let etag = HeaderValue::try_from(etag).expect("digits and hyphens make a header");
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    }
    let json = render::user(row)?;
    Ok(([(CONTENT_TYPE, JSON), (ETAG, etag)], json).into_response())
}

/// Strong: the answer is decided by the winning record, which its position names, and by the user's open gaps.
fn etag(row: &UserRow) -> String {
    let (partition, offset) = (row.position.partition, row.position.offset);
    match row.gaps.as_slice() {
        [] => format!("\"{partition}-{offset}\""),
        gaps => {
            let places: Vec<String> = gaps.iter().map(|gap| gap.position.offset.to_string()).collect();
            format!("\"{partition}-{offset}-gaps-{}\"", places.join("-"))
        }
    }
}

/// Answers with a page, or with all users as NDJSON.
#[utoipa::path(
    get,
    path = "/users",
    params(ListQuery, AtLeast),
    responses(
        (status = 200, description = "a page; with `Accept: application/x-ndjson` all of them, one a line", content(
            (UserPageBody = "application/json"),
            (UserBody = "application/x-ndjson")
        )),
        Refused
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let filter = query.filter()?;
    let after = query.after()?;
    let limit = query.limit()?;
    if wants_ndjson(&headers) {
        return stream_all(api.projection.clone(), filter, after, limit).await;
    }
    let page = api.projection.find(filter, after, query.page_limit()?).await?;
    let next = page.next_after.map(|last| next_page(&uri, last));
    let mut json = b"{\"users\":[".to_vec();
    join(&mut json, &page.users, b",");
    json.extend(b"],\"next\":");
    json.extend(serde_json::to_vec(&next).expect("a text is JSON"));
    json.extend(b"}");
    let mut response = ([(CONTENT_TYPE, JSON), (VARY, VARY_BY)], json).into_response();
    if let Some(link) = next.and_then(|next| HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// A user that cannot be read is left out of a list; asking for it says so.
fn join(json: &mut Vec<u8>, users: &[UserRow], between: &[u8]) {
    for (index, user) in users.iter().filter_map(|row| render::user(row).ok()).enumerate() {
        if index > 0 {
            json.extend(between);
        }
        json.extend(user);
    }
}

/// Returns the same request for what follows.
fn next_page(uri: &Uri, last: UserId) -> String {
    let kept = |pair: &&str| {
        !pair.is_empty() && !["after=", "at_least=", "wait_ms="].iter().any(|name| pair.starts_with(name))
    };
    let mut pairs: Vec<&str> = uri.query().unwrap_or_default().split('&').filter(kept).collect();
    let after = format!("after={last}");
    pairs.push(&after);
    format!("{}?{}", uri.path(), pairs.join("&"))
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
    let page = api.projection.find(filter(value), None, PAGE_MAX).await?;
    if page.users.is_empty() {
        return Err(Refusal::UnknownUser);
    }
    let mut json = b"{\"users\":[".to_vec();
    join(&mut json, &page.users, b",");
    json.extend(b"]}");
    Ok(([(CONTENT_TYPE, JSON)], json).into_response())
}

/// Answers with one user a line, read a step at a time as the reader takes them.
async fn stream_all(
    projection: Projection,
    filter: UserFilter,
    after: Option<UserId>,
    limit: Option<usize>,
) -> Result<Response, Refusal> {
    let first = projection.find(filter.clone(), after, limit.unwrap_or(STREAM_STEP).min(STREAM_STEP)).await?;
    let begin = (projection, filter, Some(first), limit);
    let lines = stream::try_unfold(begin, |(projection, filter, page, left)| async move {
        let Some(page) = page else { return Ok::<_, Error>(None) };
        let mut lines = Vec::new();
        join(&mut lines, &page.users, b"\n");
        if !lines.is_empty() {
            lines.push(b'\n');
        }
        let left = left.map(|left| left.saturating_sub(page.users.len()));
        let next = match page.next_after {
            Some(last) if left != Some(0) => {
                let step = left.unwrap_or(STREAM_STEP).min(STREAM_STEP);
                Some(projection.find(filter.clone(), Some(last), step).await?)
            }
            Some(_) | None => None,
        };
        Ok(Some((lines, (projection, filter, next, left))))
    });
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(NDJSON)), (VARY, VARY_BY)];
    Ok((headers, Body::from_stream(lines)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_asks_the_same_of_those_that_follow() {
        let last = UserId::new(7).unwrap();
        for (uri, next) in [
            ("/users", "/users?after=7"),
            ("/users?limit=2&after=3", "/users?limit=2&after=7"),
            ("/users?q=a%26b&at_least=0:1&wait_ms=1", "/users?q=a%26b&after=7"),
        ] {
            assert_eq!(next_page(&uri.parse().unwrap(), last), next);
        }
    }
}
