//! Authenticates a request: puts its principal into it, holds a place of the principal's share while it is answered,
//! and notes it in the trail.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use futures_util::future::{BoxFuture, Either};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use service::answer::{Finish, Finishing};
use service::busy;
use tower::Service;

use super::denial;
use super::trail::{Line, Route, Trail};
use crate::auth::{Admitted, Denials, Denied, Place, Readers, Shares, Standing};
use crate::scopes::Principal;

/// Who may ask, and what is counted of them.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) admits: Admits,
    pub(crate) denials: Denials,
    pub(crate) trail: Trail,
}

/// Who may ask.
#[derive(Clone, Debug)]
pub(crate) enum Admits {
    Everybody,
    Readers { readers: Box<Readers>, shares: Shares },
}

/// Authenticates the requests to the inner service.
#[derive(Clone, Debug)]
pub(super) struct Authenticate<S> {
    pub(super) gate: Arc<Gate>,
    pub(super) within: S,
}

impl<S> Service<Request> for Authenticate<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Finishing<S::Future, Visited>, BoxFuture<'static, Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.within.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Admits::Readers { readers, .. } = &self.gate.admits else {
            request.extensions_mut().insert(Principal::anonymous());
            return Either::Left(Finishing::new(self.within.call(request), Visited(None)));
        };
        match readers.judge(request.headers()) {
            // The issuer may have published the key since, which is asked for beside the others.
            Err(Denied::UnknownKey) => {
                // The one that is ready goes along, and a copy stays.
                let copy = self.within.clone();
                let mut within = std::mem::replace(&mut self.within, copy);
                let (gate, readers) = (Arc::clone(&self.gate), readers.clone());
                Either::Right(Box::pin(async move {
                    let judged = readers.judge_again(request.headers()).await;
                    match gate.admit(judged, &mut request) {
                        Ok(trail) => Finishing::new(within.call(request), trail).await,
                        Err(answer) => Ok(*answer),
                    }
                }))
            }
            judged => match self.gate.admit(judged, &mut request) {
                Ok(trail) => Either::Left(Finishing::new(self.within.call(request), trail)),
                Err(answer) => Either::Right(Box::pin(async move { Ok(*answer) })),
            },
        }
    }
}

impl Gate {
    /// Puts the principal into the request and takes a place for it.
    ///
    /// # Errors
    /// The answer to one who is denied.
    fn admit(
        self: &Arc<Self>,
        judged: Result<Admitted, Denied>,
        request: &mut Request,
    ) -> Result<Visited, Box<Response>> {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let is_event_source = busy::names_events(request.headers());
        let deny = |denied, name| Box::new(self.deny(denied, name, route.clone(), is_event_source));
        let Admitted { principal, standing } = judged.map_err(|denied| deny(denied, None))?;
        let name = Arc::clone(&principal.name);
        let place = match &self.admits {
            Admits::Everybody => None,
            Admits::Readers { shares, .. } => {
                let place = shares.request(&name);
                Some(place.map_err(|denied| deny(denied, Some(Arc::clone(&name))))?)
            }
        };
        request.extensions_mut().insert(principal);
        request.extensions_mut().insert(standing);
        Ok(Visited(Some(Visit { gate: Arc::clone(self), name, route, place, is_event_source })))
    }

    /// Counts a denial, notes it in the trail, and returns the answer.
    pub(super) fn deny(
        &self,
        denied: Denied,
        principal: Option<Arc<str>>,
        route: Option<MatchedPath>,
        is_event_source: bool,
    ) -> Response {
        let answer = denial::answer(denied, is_event_source);
        self.denials.count(denied);
        self.trail.note(Line { principal, route: route.map(Route), status: answer.status(), denied: Some(denied) });
        answer
    }
}

/// A request that was admitted, where there is somebody to tell from others.
#[derive(Debug)]
pub(super) struct Visited(Option<Visit>);

#[derive(Debug)]
struct Visit {
    gate: Arc<Gate>,
    name: Arc<str>,
    route: Option<MatchedPath>,
    place: Option<Place>,
    is_event_source: bool,
}

impl Finish for Visited {
    fn finish(self, response: &mut Response) {
        let Some(Visit { gate, name, route, place, is_event_source }) = self.0 else { return };
        match place.map(|place| hold(place, response)) {
            Some(Err(denied)) => *response = gate.deny(denied, Some(name), route, is_event_source),
            Some(Ok(())) | None => {
                // The guard of the route has said which scope is missing.
                let denied = (response.status() == StatusCode::FORBIDDEN).then_some(Denied::Scope);
                if let Some(denied) = denied {
                    gate.denials.count(denied);
                }
                gate.trail.note(Line {
                    principal: Some(name),
                    route: route.map(Route),
                    status: response.status(),
                    denied,
                });
            }
        }
    }
}

/// Keeps a place until the end of a body that is made while it is sent. A stream of events has places of its own.
fn hold(place: Place, response: &mut Response) -> Result<(), Denied> {
    if response.body().size_hint().exact().is_some() {
        return Ok(());
    }
    let media = response.headers().get(CONTENT_TYPE);
    let is_stream = media.is_some_and(|media| media.as_bytes().starts_with(b"text/event-stream"));
    let place = if is_stream { place.into_stream()? } else { place };
    let body = std::mem::take(response.body_mut());
    *response.body_mut() = Body::new(body.map_frame(move |frame| {
        let _held_with_the_body = &place;
        frame
    }));
    Ok(())
}

/// How long the permission of the request with these parts stands.
impl<S: Sync> axum::extract::FromRequestParts<S> for Standing {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut http::request::Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or(Self::Open))
    }
}
