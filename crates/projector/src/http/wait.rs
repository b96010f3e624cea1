//! `at_least`: an answer that is at least as new as the positions that the request names.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use domain::{EpochMatch, Position, TopicId, TopicPosition, UnixMillis};
use futures_util::future::{BoxFuture, Either};
use http::{HeaderName, HeaderValue, Uri};
use service::answer::{Finish, Finishing};
use tower::Service;

use super::api::Api;
use super::at_least::AtLeastQuery;
use super::refusal::Refusal;
use crate::error::Error;
use crate::metrics::CountedIn;
use crate::store::StoreReaders;

/// Where the answer's table stood ([`domain::Positions`]), as `at_least` takes it. A reader that hands it on to another
/// replica never goes back in time.
pub(super) const POSITIONS: HeaderName = HeaderName::from_static("rollcall-positions");

/// The time that the answer's table is as of: every record that the log had then is in it. Absent while the end of a
/// partition has never been reached.
pub(super) const AS_OF: HeaderName = HeaderName::from_static("rollcall-as-of");

/// Lets a request through once every position it names is in the table, and says in the answer where the table stood
/// before. A stream is let through when the time is over too, for it waits itself, and a browser's `EventSource` would
/// not come back after 503.
#[derive(Clone, Debug)]
pub(super) struct Wait<S> {
    pub(super) api: Arc<Api>,
    pub(super) is_stream: bool,
    pub(super) within: S,
}

impl<S> Service<Request> for Wait<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Finishing<S::Future, Stood>, BoxFuture<'static, Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.within.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The common request names no position, and is not made to pay for those that do.
        if !request.uri().query().is_some_and(|query| query.contains("at_least") || query.contains("wait_ms")) {
            let stood = Stood::now(&self.api);
            return Either::Left(Finishing::new(self.within.call(request), stood));
        }
        // The one that is ready goes along, and a copy stays (tower's `Service`, "Be careful when cloning inner
        // services").
        let copy = self.within.clone();
        let mut within = std::mem::replace(&mut self.within, copy);
        let (api, is_stream) = (Arc::clone(&self.api), self.is_stream);
        Either::Right(Box::pin(async move {
            match until_reached(&api, request.uri()).await {
                Err(Refusal::NotReached(_) | Refusal::NotReady(_)) if is_stream => {}
                Err(refusal) => return Ok(refusal.into_response()),
                Ok(()) => {}
            }
            let stood = Stood::now(&api);
            Finishing::new(within.call(request), stood).await
        }))
    }
}

/// Where the table stood when a request was let through, and as of when.
#[derive(Debug)]
pub(super) struct Stood {
    positions: Option<HeaderValue>,
    as_of: Option<UnixMillis>,
}

impl Stood {
    fn now(api: &Api) -> Self {
        let shared = &api.projection.shared;
        Self { as_of: shared.as_of(), positions: shared.committed.borrow().positions.clone() }
    }
}

impl Finish for Stood {
    fn finish(self, response: &mut Response) {
        if let Some(positions) = self.positions {
            response.headers_mut().insert(POSITIONS, positions);
        }
        let as_of = self.as_of.and_then(|at| HeaderValue::from_str(&at.to_string()).ok());
        if let Some(as_of) = as_of {
            response.headers_mut().insert(AS_OF, as_of);
        }
    }
}

async fn until_reached(api: &Api, uri: &Uri) -> Result<(), Refusal> {
    let query = AtLeastQuery::of(uri)?;
    let (topic, wait_max) = (query.topic, query.wait_max);
    let shared = &api.projection.shared;
    let _waiting = CountedIn::new(&shared.metrics.waiters);
    let began = tokio::time::Instant::now();
    let left = || wait_max.saturating_sub(began.elapsed());
    if let Some(topic) = topic {
        same_topic(&*shared.readers_within(left()).await?, topic)?;
    }
    let positions = query.positions()?;
    if !positions.is_empty() {
        same_log(&*shared.readers_within(left()).await?, topic, &positions)?;
    }
    for (position, _) in &positions {
        if !shared.may_have_partition(position.partition, left()).await {
            return Err(Refusal::NoPartition(position.partition));
        }
        let wait = api.projection.wait_for(*position, left());
        if let Err(error) = wait.await {
            return Err(not_reached(error, shared.readers().ok().map(|table| table.names().of(*position))));
        }
    }
    // The table may be of another log by now, or have read what tells.
    if positions.is_empty() { Ok(()) } else { same_log(&*shared.readers()?, topic, &positions) }
}

fn not_reached(error: Error, position: Option<TopicPosition>) -> Refusal {
    match (error, position) {
        (Error::NotReached { .. }, Some(position)) => Refusal::NotReached(position),
        (error, _) => error.into(),
    }
}

/// Refuses positions of another topic, before they are read.
fn same_topic(table: &StoreReaders, named: TopicId) -> Result<(), Refusal> {
    let held = table.topic();
    if named == held { Ok(()) } else { Err(Refusal::OtherTopic { named, held }) }
}

/// Refuses positions of another topic, and those of a log that was cut: their records are not those of this table.
fn same_log(
    table: &StoreReaders,
    topic: Option<TopicId>,
    positions: &[(Position, Option<i32>)],
) -> Result<(), Refusal> {
    if let Some(topic) = topic {
        same_topic(table, topic)?;
    }
    let names = table.names();
    for (position, epoch) in positions {
        if epoch.is_some_and(|epoch| names.compare(*position, epoch) == EpochMatch::Other) {
            return Err(Refusal::CutOff(TopicPosition { topic: names.topic(), position: *position, epoch: *epoch }));
        }
    }
    Ok(())
}
