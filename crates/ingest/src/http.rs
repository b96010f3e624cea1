//! The webhook's route: the only place of ingest that handles HTTP bodies and stamps the time of arrival.

mod refusals;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, get, on};
use bytes::Bytes;
use domain::roll::Standing;
use domain::topics::Names;
use domain::wire::Framing;
use domain::{LogId, UnixMillis, UserEvent};
use futures_util::FutureExt as _;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use parking_lot::Mutex;
use service::hosts::{AllowedHosts, is_host_given};
use service::serve::{PeerAddr, network_of};
use service::telemetry::Seldom;
use service::trace::Traceparent;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use upkeep::gate::Gate;

use crate::answer::{Answer, Status};
use crate::metrics::Counters;
use crate::refused::Refused;
use crate::transport::{Budget, Policy, RawRequest, authenticate, source};
use crate::users::{self, Destination, IDENTIFY_DEADLINE};
use crate::{Rejection, dead_letter, pipeline};

pub(crate) use refusals::RefusalLines;

/// Everything that a request needs to become a record.
pub(crate) struct Receiver {
    pub(crate) hosts: AllowedHosts,
    pub(crate) policy: Policy,
    pub(crate) publisher: kafka::publish::Publisher,
    pub(crate) topics: Names,
    pub(crate) framing: Framing,
    pub(crate) limits: RequestLimits,
    pub(crate) counters: Counters,
    pub(crate) gate: Gate,
    /// Returns the time of arrival.
    pub(crate) clock: fn() -> UnixMillis,
    /// One permit per authenticated request in progress.
    pub(crate) places: Semaphore,
    /// Where bodies are encrypted and any source may send: what each source may still try.
    pub(crate) budget: Option<Mutex<Budget>>,
    /// Limits the lines about members in another case.
    pub(crate) seldom: Seldom,
    pub(crate) refused: Arc<Refused>,
    pub(crate) refusals: Arc<RefusalLines>,
}

/// The limits of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLimits {
    pub(crate) body_bytes_max: usize,
    pub(crate) body_read: Duration,
    /// Whether a body that is not an event is answered 200 after its dead letter is written, so that the sender does
    /// not retry.
    pub(crate) refused_is_ok: bool,
}

/// The methods of a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Methods {
    filter: MethodFilter,
    /// The value of `Allow`.
    allow: &'static str,
}

impl Methods {
    pub(crate) const POST: Self = Self { filter: MethodFilter::POST, allow: "POST" };
    pub(crate) const PUT: Self = Self { filter: MethodFilter::PUT, allow: "PUT" };
    pub(crate) const BOTH: Self = Self { filter: MethodFilter::POST.or(MethodFilter::PUT), allow: "POST, PUT" };
}

/// Returns the routes: deliveries on `path`, that path at `/`, and problems for everything else.
pub(crate) fn router(path: &str, methods: Methods, receiver: Arc<Receiver>) -> Router {
    let elsewhere = |rejection: Rejection| {
        move |State(receiver): State<Arc<Receiver>>, parts: Parts| async move {
            let sent = Sent::of(&parts.headers);
            receiver.log_refusal(&parts, sent.bytes, &rejection);
            receiver.counters.begin().rejected(&rejection);
            sent.answered(&parts, rejection.problem(false).into_response())
        }
    };
    let index = format!("Rollcall, ingest: it takes the webhooks of VCC Live.\n\n{} {path}\n", methods.allow);
    Router::new()
        .route(path, on(methods.filter, receive))
        .route("/", get(|| async { index }))
        .fallback(elsewhere(Rejection::NotFound))
        .method_not_allowed_fallback(elsewhere(Rejection::MethodNotAllowed { allow: methods.allow }))
        .with_state(receiver)
}

/// Answers one delivery. 200 only after Kafka's acknowledgement; a refusal only after that of its dead letter.
async fn receive(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response {
    let in_hand = receiver.counters.begin();
    let (parts, body) = request.into_parts();
    let mut sent = Sent::of(&parts.headers);
    match receiver.deliver(&parts, body, &mut sent).await {
        Ok(answer) => {
            in_hand.accepted(answer.status());
            answer.into_response()
        }
        Err(rejection) => {
            receiver.log_refusal(&parts, sent.bytes, &rejection);
            in_hand.rejected(&rejection);
            let response = match rejection {
                // An event ahead is refused all the same: a retry stores it once its time has come.
                Rejection::NotAnEvent { .. } if receiver.limits.refused_is_ok => kept_answer(&rejection),
                rejection => rejection.problem(!receiver.policy.body.keys.is_empty()).into_response(),
            };
            sent.answered(&parts, response)
        }
    }
}

/// What is known of the body of a request.
struct Sent {
    /// Its length in bytes; `None` while that of a chunked body is not known.
    bytes: Option<u64>,
    is_read: bool,
}

impl Sent {
    /// Returns what the head says of it.
    fn of(headers: &HeaderMap) -> Self {
        let bytes = declared_bytes(headers);
        Self { bytes, is_read: bytes == Some(0) }
    }

    /// Says in an answer that comes before the body was read that the connection ends with it (RFC 9112, 9.6): hyper
    /// does not wait for the rest, and a proxy would take the connection for one that it can use again.
    fn answered(&self, parts: &Parts, mut response: Response) -> Response {
        if !self.is_read && parts.version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Returns 200 for a body that was written as a dead letter, where the configuration stops the sender's retries.
fn kept_answer(rejection: &Rejection) -> Response {
    let body = serde_json::json!({ "status": "dead-letter", "rejection": rejection.label() });
    (StatusCode::OK, axum::Json(body)).into_response()
}

impl Receiver {
    /// Checks the head first: an unauthenticated peer takes no permit, and its body is neither read nor requested.
    /// Notes when the body was read.
    async fn deliver(&self, parts: &Parts, body: Body, sent: &mut Sent) -> Result<Answer, Rejection> {
        check_head(parts)?;
        if !self.hosts.allow(&parts.uri, &parts.headers) {
            return Err(Rejection::OtherHost);
        }
        let raw = raw_request(parts)?;
        let sender = authenticate(&raw, &self.policy.sender)?;
        let Ok(_place) = self.places.try_acquire() else {
            sent.is_read = self.drop_body(&parts.headers, body);
            return Err(Rejection::Overloaded);
        };
        let body = self.read_body(&parts.headers, body).await?;
        *sent = Sent { bytes: Some(body.len() as u64), is_read: true };
        let request = sender.sent(body);
        let trace = users::traced(parts.extensions.get::<Traceparent>());
        let received_at = (self.clock)();
        let accepted = self.within_budget(&raw, || pipeline::accept(&request, &self.policy.body, received_at));
        match accepted {
            Ok(event) => {
                self.counters.fractional_amounts(users::fractional_amounts(&event));
                self.warn_of_miscased(&event);
                let stored = self.store(&event, &trace).await?;
                self.counters.event(received_at);
                Ok(stored)
            }
            Err(rejection) => {
                if let Some(letter) = dead_letter::of(&request, &rejection, received_at) {
                    users::keep(&self.publisher, &letter, &self.topics.dead_letter, trace).await?;
                    self.counters.dead_letter();
                }
                Err(rejection)
            }
        }
    }

    /// Reads a body, unless its source has used up its budget of bodies that cannot be read. Counts one more of those.
    fn within_budget<E>(&self, raw: &RawRequest, read: impl FnOnce() -> Result<E, Rejection>) -> Result<E, Rejection> {
        let Some(budget) = &self.budget else { return read() };
        // A proxy that sends an invalid address answers for it.
        let source = network_of(source(raw, &self.policy.sender).unwrap_or(raw.peer));
        let now = Instant::now().into_std();
        if budget.lock().is_spent(source, now) {
            return Err(Rejection::BudgetSpent);
        }
        read().inspect_err(|rejection| {
            if rejection.is_kept() {
                budget.lock().fail(source, now);
            }
        })
    }

    /// Logs a refusal in one line, with the address that was judged and the size, and without content. The size of a
    /// chunked body is known once it was read.
    fn log_refusal(&self, parts: &Parts, body_bytes: Option<u64>, rejection: &Rejection) {
        if !self.refusals.has_line(rejection) {
            return;
        }
        let request = raw_request(parts).ok();
        let source = request.as_ref().and_then(|request| source(request, &self.policy.sender));
        tracing::info!(
            rejection = rejection.label(),
            reason = %rejection,
            source.address = source.map(tracing::field::display),
            network.peer.address = request.map(|request| tracing::field::display(request.peer)),
            body.bytes = body_bytes,
            "request refused"
        );
    }

    /// Counts and names members that are a field's name in another case.
    fn warn_of_miscased(&self, event: &UserEvent) {
        let names: Vec<&str> = users::miscased(event).collect();
        self.counters.miscased_members(names.len());
        if !names.is_empty() && self.seldom.is_due() {
            tracing::warn!(?names, "members have a field's name in another case; they are kept in extra");
        }
    }

    async fn store(&self, event: &UserEvent, trace: &[(&str, String)]) -> Result<Answer, Rejection> {
        let started = Instant::now();
        let (standing, log) = match self.gate.judge(&event.head()).await {
            Some(judged) => judged,
            None => (Standing::News, self.log().await?),
        };
        let (publisher, topics, logs) = (&self.publisher, &self.topics, self.gate.logs());
        let to = Destination { publisher, topics, framing: self.framing, log: &log, logs };
        let stored = to.store(event, standing, trace).await;
        // A duplicate is not written.
        if Status::of(standing) != Status::Duplicate {
            self.refused.note(&stored);
        }
        let (status, position) = (Status::of(standing), stored.map_err(|error| users::refuse(&error))?);
        if status != Status::Duplicate {
            self.counters.acknowledged(started.elapsed().as_secs_f64());
        }
        tracing::debug!(
            event.id = %event.event_id,
            kafka.partition = position.position.partition,
            kafka.offset = position.position.offset,
            status = status.label(),
            "event acknowledged"
        );
        Ok(Answer::new(status, event, position))
    }

    /// Returns the log that the topic of users was when that was last asked.
    async fn log(&self) -> Result<LogId, Rejection> {
        match self.gate.logs().last() {
            Some(log) => Ok(log),
            None => self.gate.logs().now(IDENTIFY_DEADLINE).await.map_err(|error| {
                tracing::warn!(error = &error as &dyn std::error::Error, "the topic of users cannot be identified");
                Rejection::NotAcknowledged
            }),
        }
    }

    /// Takes a body that is there already and lets it go, so that the connection can go on. Waits for nothing, and asks
    /// for nothing. Returns whether all of it was there.
    fn drop_body(&self, headers: &HeaderMap, body: Body) -> bool {
        !headers.contains_key(EXPECT) && matches!(self.read_body(headers, body).now_or_never(), Some(Ok(_)))
    }

    async fn read_body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Rejection> {
        let length = header(headers, CONTENT_LENGTH.as_str());
        if length.is_none() && !headers.contains_key(TRANSFER_ENCODING) {
            return Err(Rejection::LengthRequired);
        }
        if declared_bytes(headers).is_some_and(|bytes| bytes > self.limits.body_bytes_max as u64) {
            return Err(Rejection::BodyTooLarge);
        }
        let limited = Limited::new(body, self.limits.body_bytes_max).collect();
        match tokio::time::timeout(self.limits.body_read, limited).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Rejection::BodyTooLarge),
            Ok(Err(_)) => Err(Rejection::BodyIncomplete),
            Err(_) => Err(Rejection::BodyTimeout),
        }
    }
}

/// Returns the length of a body by its head; `None` for a chunked one.
fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    match header(headers, CONTENT_LENGTH.as_str()) {
        Some(length) => length.parse().ok(),
        None => (!headers.contains_key(TRANSFER_ENCODING)).then_some(0),
    }
}

/// Checks what hyper leaves to the receiver: one `Host`, and a body without codings.
fn check_head(parts: &Parts) -> Result<(), Rejection> {
    let fields = |name| parts.headers.get_all(name).iter();
    if !is_host_given(parts.version, &parts.headers) {
        return Err(Rejection::Host);
    }
    if fields(CONTENT_ENCODING).any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Rejection::ContentCoding);
    }
    if fields(TRANSFER_ENCODING).any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(Rejection::TransferCoding);
    }
    Ok(())
}

fn raw_request(parts: &Parts) -> Result<RawRequest, Rejection> {
    let PeerAddr(peer) = parts.extensions.get().copied().ok_or(Rejection::AddressNotAllowed)?;
    let forwarded = parts.headers.get_all("x-forwarded-for").iter();
    Ok(RawRequest {
        query: parts.uri.query().unwrap_or_default().to_owned(),
        peer: peer.ip(),
        // A value that is not text becomes an invalid address. If it were skipped, the hop before it would count.
        forwarded_for: forwarded.map(|value| value.to_str().unwrap_or("?").to_owned()).collect(),
    })
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
