//! The answers of a service whose listener is about to close. Each asks its peer to send the next request elsewhere:
//! otherwise a proxy may send it on a kept connection just when that is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use http::header::CONNECTION;
use http::{HeaderValue, Version};
use tower::Service;

use crate::answer::{Finish, Finishing};

/// Whether the listener is about to close. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaving(Arc<AtomicBool>);

impl Leaving {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Adds `Connection: close` to the answers of HTTP/1 once the listener is about to close. HTTP/2 has its own message
/// for that, which the server sends when it closes.
#[derive(Clone, Debug)]
pub(crate) struct LeavingAnswers<S> {
    pub(crate) within: S,
    pub(crate) leaving: Leaving,
}

impl<S: Service<Request, Response = Response>> Service<Request> for LeavingAnswers<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Finishing<S::Future, Close>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.within.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let leaving = (request.version() < Version::HTTP_2).then(|| self.leaving.clone());
        Finishing::new(self.within.call(request), Close { leaving })
    }
}

#[derive(Debug)]
pub(crate) struct Close {
    leaving: Option<Leaving>,
}

impl Finish for Close {
    fn finish(self, response: &mut Response) {
        if self.leaving.is_some_and(|leaving| leaving.0.load(Ordering::Relaxed)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}
