//! Answers only to the names of this service.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::Either;
use http::StatusCode;
use service::Problem;
use service::hosts::{AllowedHosts, is_host_given};
use tower::Service;

use super::authenticate::Gate;
use crate::auth::Denied;

/// Answers 421 to requests for another host, and 400 to those that name none.
#[derive(Clone, Debug)]
pub(super) struct Hosts<S> {
    pub(super) allowed: AllowedHosts,
    pub(super) gate: Arc<Gate>,
    pub(super) within: S,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Hosts<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.within.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if !is_host_given(request.version(), request.headers()) {
            let detail = "the request has no Host field, or several, or one without a host";
            let answer = Problem::new(StatusCode::BAD_REQUEST).detail(detail.to_owned()).into_response();
            return Either::Right(ready(Ok(answer)));
        }
        if self.allowed.allow(request.uri(), request.headers()) {
            return Either::Left(self.within.call(request));
        }
        let route = request.extensions().get::<MatchedPath>().cloned();
        Either::Right(ready(Ok(self.gate.deny(Denied::Host, None, route, false))))
    }
}
