//! `GET /changes`: Server-Sent Events of a subscription.
//!
//! | event | data | when |
//! | --- | --- | --- |
//! | `user` | the user, as `GET /users/{userId}` | a state that the reader has not seen, before `caught-up` |
//! | `changed` | the user; `_meta.changed` names the fields | each change after it, and before it where each is known |
//! | `forgotten` | `{"userId", "forgottenAt", "_meta"}` | the user was forgotten |
//! | `started-over` | `{"reason"}` | first: the id is of another log or unreadable, the reader drops all it has |
//! | `caught-up` | `{"checkpoint"}`, as an `id` | once; all that follows is new |
//! | `busy` | `{"reason"}` | the only event: there is no place now, or none of the reader's: come again after `retry` |
//! | `cut-off` | `{"reason"}` | the last event: too slow, not permitted any more, a rebuild, a stop |
//!
//! A change is that another event wins, that the user was forgotten, or that the user's last record became unknown to
//! this release (`_meta.unknownSince`) or is known again. Its position is that of the record that made it so, which in
//! a tied second need not be the event's own. Which changes there were depends on the log that was read: a table that
//! is rebuilt from a compacted log has seen fewer.
//!
//! Of a user who was forgotten, `forgotten` is sent alone: the changes before it are erased.
//!
//! With a filter a reader is sent every change of a user who is in the filtered set, and the change with which a user
//! leaves it. Membership is decided by what this table held before and holds after the change. Where the state before
//! is no longer known (a reader comes back from before the history), the newest state of everyone who changed is sent.
//!
//! Each event's `id` is the list of positions ([`domain::Positions`]) that covers it and all before it; a reader that
//! comes back with `Last-Event-ID` goes on there, here or at another replica. An id of another topic, of a log that was
//! cut and has grown again, from beyond the end of the log, or that cannot be read starts over. Where the broker gives
//! topics no id (the embedded one, Kafka before 2.8), a topic that was created again and has grown past the position is
//! not detected. A heartbeat is a comment with an `id`, which moves the checkpoint of a quiet reader along, past what
//! its filter keeps from it too.
//!
//! While there is no table, a reader waits, with heartbeats. With `at_least` it waits for the positions first, and when
//! their time is over the stream begins without them: their records follow in it.
//!
//! `changed` names in `_meta.changed` the fields that differ from the state that the table held before. Where that is
//! no longer known, they are those that the event changed as the sender says. Fields that are hidden or not asked for
//! are not named.
//!
//! A slow reader is sent the rest of what waits in its connection, then `cut-off`, once it reads on. One that reads
//! nothing at all for 30 seconds loses its connection without it: there is no way to tell it anything.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use domain::{UnixMillis, wire};
use futures_util::{StreamExt as _, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use prometheus_client::metrics::counter::Counter;
use serde_json::json;
use service::{Shutdown, busy};
use tokio::sync::OwnedSemaphorePermit;

use super::api::Api;
use super::at_least::AtLeast;
use super::bodies::{EventBody, Refused};
use super::fields::Shown;
use super::guard::Held;
use super::params::ChangesQuery;
use super::refusal::Refusal;
use super::render::{Rendered, View};
use super::sse;
use crate::announced::Announced;
use crate::auth::Standing;
use crate::bookmark::Bookmark;
use crate::metrics::CountedIn;
use crate::shared::Shared;
use crate::subscribe::{Changes, Ended, Item};

/// How long a browser waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);
/// How often a quiet subscriber hears something: below the minute after which proxies take a connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many bytes of events are sent at once when that many wait.
const STEP_BYTES: usize = 16 * 1024;

const CHANGED: &str = "changed";
/// The reasons for which a reader starts over.
const UNREADABLE: &str = "the id cannot be read: it is none of an event of this stream";
const OTHER_LOG: &str = "the topic was created again, or its log was cut";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Answers with Server-Sent Events: the table (or what is new since `Last-Event-ID`), `caught-up`, then every change.
#[utoipa::path(
    get,
    operation_id = "streamChanges",
    path = "/changes",
    params(
        ChangesQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event that the reader has seen"),
        AtLeast
    ),
    responses(
        (status = 200, description = "events `user`, `changed`, `forgotten`, `caught-up`, `cut-off`; each `id` is what \
            `Last-Event-ID` goes on from. `started-over` comes first when that is of another topic (one that was \
            created again, or of another cluster), of a log that was cut, or cannot be read: the reader must drop \
            all that it holds, and the table follows. With a filter, users that leave the set are sent too. \
            `_meta.changed` of `changed` names the fields. While there is no table yet, the reader waits. Where there \
            is no place for the reader now, `busy` is the only event, if `Accept` names `text/event-stream`, and the \
            answer is 503 otherwise",
            body = EventBody, content_type = "text/event-stream"),
        Refused
    )
)]
pub(super) async fn changes(
    State(api): State<Arc<Api>>,
    Held(scopes): Held,
    standing: Standing,
    query: Result<Query<ChangesQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Query(query) = query?;
    let (filter, shown) = (query.filter(scopes)?, query.shown(scopes)?);
    let header = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or("?"));
    let from = header.or(query.last_event_id.as_deref()).unwrap_or_default();
    let from = Bookmark::from_id(from);
    let is_unreadable = from.is_unreadable();
    let shared = &api.projection.shared;
    let Ok(place) = Arc::clone(&shared.subscribers).try_acquire_owned() else {
        shared.metrics.subscribers_refused.inc();
        if shared.subscribers_refused.is_due() {
            tracing::warn!(subscribers = shared.options.subscribers_max, "further subscribers get no place");
        }
        return Ok(busy::answer(&headers, "there are as many subscribers as there may be"));
    };
    let subscriber = Subscriber {
        shared: Arc::clone(shared),
        changes: Changes::new(Arc::clone(shared), from, filter),
        is_unreadable,
        shown,
        standing,
        clock: shared.options.clock,
        cut_off: shared.metrics.subscribers_cut_off.clone(),
        rendered: shared.metrics.changes_rendered.clone(),
        shutdown: api.shutdown.clone(),
        ended: false,
        _counted: CountedIn::new(&shared.metrics.subscribers),
        _place: place,
    };
    let events = stream::unfold(subscriber, |mut subscriber| async move {
        subscriber.events().await.map(|events| (Ok::<_, Infallible>(events), subscriber))
    });
    let opening = stream::iter([Ok(Bytes::from(format!("retry: {}\n\n", RETRY.as_millis())))]);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Whoever compresses or buffers events holds them back.
        (CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // nginx would gather events into its buffer.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(opening.chain(events))).into_response())
}

/// One reader's stream. It is polled only while the reader takes events, so it never holds more than [`STEP_BYTES`] of
/// them and one event.
struct Subscriber {
    shared: Arc<Shared>,
    changes: Changes,
    /// Whether the reader came with an id that cannot be read.
    is_unreadable: bool,
    shown: Shown,
    standing: Standing,
    clock: fn() -> UnixMillis,
    cut_off: Counter,
    rendered: Counter,
    shutdown: Shutdown,
    ended: bool,
    _counted: CountedIn,
    _place: OwnedSemaphorePermit,
}

impl Subscriber {
    /// Waits for the next event that the filter lets through, or the time for a heartbeat, and returns it with those
    /// that are there already; `None` is the end.
    async fn events(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut events = BytesMut::new();
        let item = tokio::select! {
            biased;
            () = self.shutdown.requested() => {
                self.end("the service is stopping", &mut events);
                return Some(events.freeze());
            }
            reason = self.standing.ended(self.clock) => {
                self.end(reason, &mut events);
                return Some(events.freeze());
            }
            item = next(&self.shared, &mut self.changes) => item,
            () = tokio::time::sleep(HEARTBEAT) => {
                self.changes.catch_up();
                events.put_slice(b": heartbeat\n");
                sse::put_field(&mut events, "id", &self.changes.id());
                events.put_u8(b'\n');
                return Some(events.freeze());
            }
        };
        let mut item = Some(item);
        while let Some(next) = item {
            self.put(next, &mut events);
            let is_full = self.ended || events.len() >= STEP_BYTES;
            item = if is_full { None } else { self.changes.next_ready().map(Ok) };
        }
        Some(events.freeze())
    }

    fn put(&mut self, item: Result<Item, Ended>, events: &mut BytesMut) {
        match item {
            Ok(Item::State(announced)) => self.put_change("user", &announced, events),
            Ok(Item::Change(announced)) => self.put_change(CHANGED, &announced, events),
            Ok(Item::StartedOver) => {
                let reason = if self.is_unreadable { UNREADABLE } else { OTHER_LOG };
                let data = json!({ "reason": reason });
                sse::put_event(events, &self.changes.id(), "started-over", &data);
            }
            Ok(Item::CaughtUp) => {
                let data = json!({ "checkpoint": self.changes.bookmark().to_string() });
                sse::put_event(events, &self.changes.id(), "caught-up", &data);
            }
            Err(error) => {
                self.cut_off.inc_by(u64::from(matches!(error, Ended::TooSlow(_))));
                self.end(&error.told(), events);
            }
        }
    }

    fn put_change(&self, name: &str, announced: &Announced, events: &mut BytesMut) {
        let name = if announced.change.event.is_some() { name } else { "forgotten" };
        // A change is given by one name alone, so what it shows makes the form.
        let form = announced.form(self.shown.number(), || {
            self.rendered.inc();
            sse::form(name, &data(announced, name, (self.clock)(), self.shown))
        });
        let id = self.changes.id();
        sse::put_field(events, "id", &id);
        events.put_slice(&form);
    }

    fn end(&mut self, reason: &str, events: &mut BytesMut) {
        self.ended = true;
        sse::put_event(events, &self.changes.id(), "cut-off", &json!({ "reason": reason }));
    }
}

/// Waits for a table, and then for the next item: a browser's `EventSource` would not come back after an error.
///
/// Cancel-safe.
async fn next(shared: &Shared, changes: &mut Changes) -> Result<Item, Ended> {
    if changes.has_not_begun() {
        shared.until_in_use().await;
    }
    changes.next().await
}

/// Returns a change as one line of JSON, as sent by that name at `now`.
fn data(announced: &Announced, name: &str, now: UnixMillis, shown: Shown) -> String {
    let change = &announced.change;
    let (position, view) = (change.position, View { names: announced.names.clone(), now, as_of: None, shown });
    let meta = json!({ "position": view.names.of(position).to_string() });
    let current = change.event.as_deref().and_then(|value| wire::decode_current(value).ok());
    let json = match (current, change.forgotten_at) {
        (Some(current), _) => {
            let (gaps, unknown_since) = (change.gaps.as_slice(), change.unknown_since);
            let changed = (name == CHANGED).then(|| announced.changed());
            let json = Rendered { current: &current, position, gaps, unknown_since, changed, view: &view }.to_json();
            return String::from_utf8(json).expect("JSON is UTF-8");
        }
        (None, Some(at)) => json!({ "userId": change.user_id, "forgottenAt": at.to_string(), "_meta": meta }),
        // Only the record's head can be read: the reader hears of the change, and the answer for the user names the
        // reason.
        (None, None) => json!({ "userId": change.user_id, "_meta": meta }),
    };
    json.to_string()
}
