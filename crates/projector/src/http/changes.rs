//! `GET /changes`: Server-Sent Events of a subscription.
//!
//! | event | data | when |
//! | --- | --- | --- |
//! | `user` | the user, as `GET /users/{userId}` | what the reader has not seen, before `caught-up` |
//! | `changed` | the user | each change after it, and before it where each can still be told |
//! | `forgotten` | `{"userId", "forgottenAt", "_meta"}` | the user was forgotten |
//! | `started-over` | `{"reason"}` | first: the reader's id is of another log, what it holds is to be forgotten; the table follows |
//! | `caught-up` | `{"checkpoint"}` | once; what follows is new |
//! | `cut-off` | `{"reason"}` | the last event: the reader was too slow, the table is made anew, the service stops |
//!
//! With a filter a reader is sent who is in the set of users, whatever happens to them there, and who leaves it: each change of a
//! user whom the reader may have, by what this table held before. Where that is no longer known (a reader comes back from before
//! the history), the newest state of everyone who changed is sent.
//!
//! Each event's `id` is the checkpoint that covers it and all before it, with a tag of the topic that it is of
//! (`0:18,1:7@5d41402a`); a reader that comes back with `Last-Event-ID` goes on there, here or at another replica. An id of a topic
//! that was made anew since, told by its tag or by a position beyond the end of the log, starts over. The tag is of the cluster
//! and the topic's id; where the broker gives no id (the embedded one, Kafka before 2.8), and for an id without a tag, a topic made
//! anew that has grown past the position is not told apart. A heartbeat is a comment with an `id`, which moves a quiet reader's
//! checkpoint along.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use domain::{UserId, wire};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;
use serde_json::json;
use service::Shutdown;
use utoipa::IntoParams;

use super::docs::{AtLeast, ProblemBody};
use super::refusal::Refusal;
use super::users::parse_is_agent;
use super::{Api, render};
use crate::bookmark::Bookmark;
use crate::store::Traits;
use crate::subscribe::{Announced, Changes, Ended, Item};

/// How long a browser waits before it comes back, in milliseconds.
const RETRY_MS: u64 = 2_000;
/// How many user ids a filter names at most: as many as fit into a request's head.
const USER_IDS_MAX: usize = 1_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesQuery {
    /// Identifiers, parted by commas.
    user_id: Option<String>,
    state: Option<String>,
    #[param(value_type = Option<bool>)]
    is_agent: Option<String>,
    priv_group: Option<i64>,
    /// As the header, for those who cannot send one.
    last_event_id: Option<String>,
    #[serde(rename = "at_least")]
    #[param(ignore)]
    _at_least: Option<String>,
    #[serde(rename = "wait_ms")]
    #[param(ignore)]
    _wait_ms: Option<String>,
}

/// Answers with Server-Sent Events: the table (or what is new since `Last-Event-ID`), `caught-up`, then every change.
#[utoipa::path(
    get,
    path = "/changes",
    params(
        ChangesQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event that the reader has seen"),
        AtLeast
    ),
    responses(
        (status = 200, description = "events `user`, `changed`, `forgotten`, `caught-up`, `cut-off`; each `id` is what \
            `Last-Event-ID` goes on from. `started-over` comes first when that is of a topic made anew since (another tag after \
            `@`, or a position beyond the end of the log): what the reader holds is to be forgotten, and the table follows. With \
            a filter, who leaves the set is sent too",
            body = String, content_type = "text/event-stream"),
        (status = 400, description = "a parameter is not what it must be", body = ProblemBody),
        (status = 503, description = "the table is not there yet, or has not reached `at_least` in time", body = ProblemBody)
    )
)]
pub(super) async fn changes(
    State(api): State<Arc<Api>>,
    query: Result<Query<ChangesQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let filter = query.filter()?;
    let header = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or("?"));
    let from = header.or(query.last_event_id.as_deref()).unwrap_or_default();
    let from: Bookmark = from.parse().map_err(|error| Refusal::Parameter(format!("Last-Event-ID: {error}")))?;
    // Refuses at once, with a status, while there is no table.
    drop(api.projection.readers()?);
    let subscriber = Subscriber {
        changes: api.projection.subscribe(from),
        filter,
        cut_off: api.projection.metrics().subscribers_cut_off.clone(),
        heartbeat: api.heartbeat,
        shutdown: api.shutdown.clone(),
        ended: false,
        _counted: Counted::new(&api.projection.metrics().subscribers),
    };
    let opening = Bytes::from(format!("retry: {RETRY_MS}\n\n"));
    let frames = stream::unfold((Some(opening), subscriber), |(opening, mut subscriber)| async move {
        let frame = match opening {
            Some(opening) => Some(opening),
            None => subscriber.frame().await,
        };
        frame.map(|frame| (Ok::<_, Infallible>(frame), (None, subscriber)))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx would gather events into its buffer.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// One reader's stream. It is polled only while the reader takes what it is sent, so it never holds more than one event.
struct Subscriber {
    changes: Changes,
    filter: Filter,
    cut_off: prometheus_client::metrics::counter::Counter,
    heartbeat: Duration,
    shutdown: Shutdown,
    ended: bool,
    _counted: Counted,
}

impl Subscriber {
    /// Waits for the next event that the filter lets through, or the time for a heartbeat; `None` is the end.
    async fn frame(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let quiet_until = tokio::time::Instant::now() + self.heartbeat;
        loop {
            let item = tokio::select! {
                biased;
                () = self.shutdown.requested() => return Some(self.end("the service is stopping")),
                item = self.changes.next() => item,
                () = tokio::time::sleep_until(quiet_until) => {
                    return Some(Bytes::from(format!("id: {}\n: heartbeat\n\n", self.changes.bookmark())));
                }
            };
            let frame = match item {
                Ok(Item::State(announced)) => self.change("user", &announced),
                Ok(Item::Change(announced)) => self.change("changed", &announced),
                Ok(Item::StartedOver) => {
                    let data = json!({ "reason": "the topic was made anew" }).to_string();
                    Some(frame(self.changes.bookmark(), "started-over", data.as_bytes()))
                }
                Ok(Item::CaughtUp) => {
                    let data = json!({ "checkpoint": self.changes.checkpoint().to_string() }).to_string();
                    Some(frame(self.changes.bookmark(), "caught-up", data.as_bytes()))
                }
                Err(error) => {
                    self.cut_off.inc_by(u64::from(matches!(error, Ended::TooSlow(_))));
                    Some(self.end(&error.to_string()))
                }
            };
            if frame.is_some() {
                return frame;
            }
        }
    }

    fn change(&self, event: &str, announced: &Announced) -> Option<Bytes> {
        if !self.filter.lets_through(announced) {
            return None;
        }
        let event = if announced.change.event.is_some() { event } else { "forgotten" };
        Some(frame(self.changes.bookmark(), event, announced.json.get_or_init(|| data(announced))))
    }

    fn end(&mut self, reason: &str) -> Bytes {
        self.ended = true;
        let data = json!({ "reason": reason }).to_string();
        frame(self.changes.bookmark(), "cut-off", data.as_bytes())
    }
}

fn frame(id: &Bookmark, event: &str, data: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(data.len() + 96);
    write!(frame, "id: {id}\nevent: {event}\ndata: ").expect("a buffer that grows takes every character");
    frame.put_slice(data);
    frame.put_slice(b"\n\n");
    frame.freeze()
}

/// Returns a change as one line of JSON.
fn data(announced: &Announced) -> Bytes {
    let change = &announced.change;
    let position = change.position;
    let meta = json!({ "position": position.to_string() });
    let current = change.event.as_deref().and_then(|value| wire::decode_current(value).ok());
    let json = match (current, change.forgotten_at) {
        (Some(current), _) => return Bytes::from(render::state_json(&current, position, &change.gaps)),
        (None, Some(at)) => json!({ "userId": change.user_id, "forgottenAt": at.to_string(), "_meta": meta }),
        // The record's head alone can be read: the reader is told of the change, and asking for the user says why not more.
        (None, None) => json!({ "userId": change.user_id, "_meta": meta }),
    };
    Bytes::from(json.to_string())
}

/// Which changes a reader wants: those of some users, and those into, within and out of a set of users.
#[derive(Debug, Default)]
struct Filter {
    user_ids: Option<Vec<UserId>>,
    state: Option<String>,
    is_agent: Option<bool>,
    priv_group: Option<i64>,
}

impl Filter {
    /// A change that takes a user out of the set is let through, or the reader would keep the user for ever; so is every
    /// forgotten user, of whom nothing else is known any more, and every state that may follow one that the reader has.
    fn lets_through(&self, announced: &Announced) -> bool {
        let change = &announced.change;
        if self.user_ids.as_ref().is_some_and(|wanted| !wanted.contains(&change.user_id)) {
            return false;
        }
        if change.event.is_none() || (self.state.is_none() && self.is_agent.is_none() && self.priv_group.is_none()) {
            return true;
        }
        announced.now().may_be(|traits| self.wants(traits)) || change.before.may_be(|traits| self.wants(traits))
    }

    fn wants(&self, user: &Traits) -> bool {
        (self.state.is_none() || self.state == user.state)
            && (self.is_agent.is_none() || self.is_agent == user.is_agent)
            && (self.priv_group.is_none() || self.priv_group == user.priv_group)
    }
}

impl ChangesQuery {
    fn filter(&self) -> Result<Filter, Refusal> {
        let parse = |id: &str| id.trim().parse().map_err(|error| Refusal::Parameter(format!("userId: {error}")));
        let user_ids = self.user_id.as_ref().map(|ids| ids.split(',').map(parse).collect::<Result<Vec<UserId>, _>>());
        let user_ids = user_ids.transpose()?;
        if user_ids.as_ref().is_some_and(|ids| ids.len() > USER_IDS_MAX) {
            return Err(Refusal::Parameter(format!("userId: expected at most {USER_IDS_MAX}")));
        }
        let is_agent = parse_is_agent(self.is_agent.as_deref())?;
        Ok(Filter { user_ids, state: self.state.clone(), is_agent, priv_group: self.priv_group })
    }
}

/// Counts a subscriber until it is dropped.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
