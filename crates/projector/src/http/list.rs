//! `GET /users`: a page, or all users as NDJSON.

use std::sync::Arc;

use axum::BoxError;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as Parameters, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CONTENT_TYPE, LINK, VARY};
use http::{HeaderMap, HeaderValue, Uri};

use super::accept::{NDJSON, wants_ndjson};
use super::api::Api;
use super::at_least::AtLeast;
use super::bodies::{Refused, UserBody, UserPageBody};
use super::cursor::{Cursor, Query};
use super::fields::Shown;
use super::guard::Held;
use super::params::{ListQuery, page_limit};
use super::refusal::Refusal;
use super::render::{self, View};
use crate::error::Error;
use crate::projection::Projection;
use crate::store::{Place, StoreReaders, UserFilter, UserRows};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// `/users` answers by the `Accept` of the request: whoever keeps answers keeps one of each.
const VARY_BY: HeaderValue = HeaderValue::from_static("authorization, accept-encoding, accept");
/// How many users one step of a stream reads, and fewer when they are large.
pub(super) const STREAM_STEP: usize = 500;

/// Answers with a page, or with all users as NDJSON.
#[utoipa::path(
    get,
    operation_id = "listUsers",
    path = "/users",
    params(ListQuery, AtLeast),
    responses(
        (
            status = 200,
            description = "a page; with `Accept: application/x-ndjson` all of them, one a line",
            content((UserPageBody = "application/json"), (UserBody = "application/x-ndjson")),
            headers(("Link" = String, description = "`next`: the request for the next page; absent on the last"))
        ),
        Refused
    )
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Held(scopes): Held,
    query: Result<Parameters<ListQuery>, QueryRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refusal> {
    let Parameters(query) = query?;
    let (filter, shown) = (query.filter(scopes)?, query.shown(scopes)?);
    let table = api.table()?;
    let after = query.after(table.topic(), &filter)?;
    let limit = query.limit()?;
    let source = Source { projection: api.projection.clone(), table, filter, shown };
    if wants_ndjson(&headers) {
        return stream_all(source, after, limit).await;
    }
    let page = source.find(after, page_limit(limit)).await?;
    let (topic, query) = (source.table.topic(), Query::of(&source.filter));
    let next = page.next_after.map(|place| next_page(&uri, &Cursor { topic, query, place }));
    let mut json = b"{\"users\":[".to_vec();
    render::join(&mut json, &page.users, b",", &source.view())?;
    json.extend(b"],\"next\":");
    json.extend(serde_json::to_vec(&next).expect("a text is JSON"));
    json.extend(b"}");
    let mut response = ([(CONTENT_TYPE, JSON), (VARY, VARY_BY)], json).into_response();
    if let Some(link) = next.and_then(|next| HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// Returns the same request for the users that follow, relative to this one: a proxy may put both below a path.
fn next_page(uri: &Uri, cursor: &Cursor) -> String {
    let kept = |pair: &&str| {
        !pair.is_empty() && !["after=", "at_least=", "wait_ms="].iter().any(|name| pair.starts_with(name))
    };
    let mut pairs: Vec<&str> = uri.query().unwrap_or_default().split('&').filter(kept).collect();
    let after = format!("after={cursor}");
    pairs.push(&after);
    format!("users?{}", pairs.join("&"))
}

/// The next step of a stream.
enum Step {
    /// Read before the head of the answer, so that a failure has a status.
    Read(UserRows),
    /// Read when the reader takes it, so that nobody is sent who was forgotten while the reader waited.
    After(Place, usize),
}

/// The table that a list is read from, and those who are listed.
pub(super) struct Source {
    pub(super) projection: Projection,
    pub(super) table: Arc<StoreReaders>,
    pub(super) filter: UserFilter,
    pub(super) shown: Shown,
}

impl Source {
    pub(super) async fn find(&self, after: Option<Place>, limit: usize) -> Result<UserRows, Error> {
        self.projection.shared.find_of(&self.table, self.filter.clone(), after, limit).await
    }

    /// Returns the first of them, where an index leads to all there are.
    pub(super) async fn look(&self, limit: usize) -> Result<UserRows, Error> {
        let filter = self.filter.clone();
        self.projection.shared.look(&self.table, move |reader| reader.find(&filter, None, limit)).await
    }

    pub(super) fn view(&self) -> View {
        let shared = &self.projection.shared;
        View { names: self.table.names(), now: shared.now(), as_of: shared.as_of(), shown: self.shown }
    }
}

/// Answers with one user a line, read a step at a time as the reader takes them.
async fn stream_all(source: Source, after: Option<Place>, limit: Option<usize>) -> Result<Response, Refusal> {
    let first = source.find(after, limit.unwrap_or(STREAM_STEP).min(STREAM_STEP)).await?;
    let begin = (source, Some(Step::Read(first)), limit);
    let lines = stream::try_unfold(begin, |(source, step, left)| async move {
        let page = match step {
            None => return Ok::<_, BoxError>(None),
            Some(Step::Read(page)) => page,
            Some(Step::After(last, count)) => source.find(Some(last), count).await?,
        };
        let mut lines = Vec::new();
        render::join(&mut lines, &page.users, b"\n", &source.view())?;
        if !lines.is_empty() {
            lines.push(b'\n');
        }
        let left = left.map(|left| left.saturating_sub(page.users.len()));
        let count = left.unwrap_or(STREAM_STEP).min(STREAM_STEP);
        let next = page.next_after.filter(|_| count > 0).map(|last| Step::After(last, count));
        Ok(Some((lines, (source, next, left))))
    });
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(NDJSON)), (VARY, VARY_BY)];
    Ok((headers, Body::from_stream(lines)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_asks_the_same_of_those_that_follow() {
        let cursor = "AAAAAAAAAAAAAAAAAAAAAA/0000002a/7";
        for (uri, next) in [
            ("/users", "users?"),
            ("/users?limit=2&after=3", "users?limit=2&"),
            ("/users?q=a%26b&at_least=0:1&wait_ms=1", "users?q=a%26b&"),
        ] {
            assert_eq!(next_page(&uri.parse().unwrap(), &cursor.parse().unwrap()), format!("{next}after={cursor}"));
        }
    }
}
