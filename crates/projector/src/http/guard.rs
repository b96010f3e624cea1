//! Guards a route: refuses a principal that lacks a scope, and keeps the answer from everybody else.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use futures_util::future::Either;
use http::header::{CACHE_CONTROL, VARY};
use http::request::Parts;
use http::{Extensions, HeaderValue};
use service::answer::{Finish, Finishing};
use tower::Service;

use super::refusal::Refusal;
use crate::scopes::{Principal, Scope, Scopes};

/// No cache but the principal's own keeps an answer, and that one asks each time whether it is still the newest.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");
const VARY_BY: HeaderValue = HeaderValue::from_static("authorization, accept-encoding");

/// Lets a request through if its principal has every scope that the route demands; before anything is waited for or
/// read. A request without a principal has none.
#[derive(Clone, Debug)]
pub(super) struct Guard<S> {
    pub(super) demanded: &'static [Scope],
    pub(super) within: S,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Guard<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Finishing<S::Future, Private>, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.within.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let held = held(request.extensions());
        match self.demanded.iter().find(|scope| !held.contains(**scope)) {
            None => Either::Left(Finishing::new(self.within.call(request), Private)),
            Some(scope) => Either::Right(ready(Ok(Refusal::Scope(*scope).into_response()))),
        }
    }
}

/// Marks an answer as the principal's own.
#[derive(Debug)]
pub(super) struct Private;

impl Finish for Private {
    fn finish(self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.entry(CACHE_CONTROL).or_insert(PRIVATE);
        headers.entry(VARY).or_insert(VARY_BY);
    }
}

/// What the principal of a request may see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held(pub(super) Scopes);

impl<S: Sync> FromRequestParts<S> for Held {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(held(&parts.extensions)))
    }
}

/// Returns the scopes of the request with these extensions; none without a principal.
pub(super) fn held(extensions: &Extensions) -> Scopes {
    extensions.get::<Principal>().map_or(Scopes::NONE, |principal| principal.scopes)
}
