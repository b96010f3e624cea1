//! Answers only to the names of this service.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use futures_util::future::Either;
use service::hosts::AllowedHosts;
use tower::Service;

use super::authenticate::Gate;
use crate::auth::Denied;

/// Answers 421 to requests for another host.
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
        if self.allowed.allow(request.uri(), request.headers()) {
            return Either::Left(self.within.call(request));
        }
        let route = request.extensions().get::<MatchedPath>().cloned();
        Either::Right(ready(Ok(self.gate.deny(Denied::Host, None, route, false))))
    }
}
