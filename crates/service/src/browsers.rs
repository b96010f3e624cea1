//! What browsers are forbidden to do with an answer.

use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use tower::Service;

use crate::answer::{Finish, Finishing};

/// What a page may load: this server's own files, and small pictures in its style sheet. No script stands in a page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The media types of answers that may load others: pages, and scripts, which a page may run as workers.
const LOADING: [&[u8]; 2] = [b"text/html", b"text/javascript"];

/// Adds to every answer that its media type is not to be guessed, and to every page and script what it may load.
#[derive(Clone, Debug)]
pub(crate) struct Restricted<S> {
    pub(crate) within: S,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Restricted<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Finishing<S::Future, Restrict>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.within.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Finishing::new(self.within.call(request), Restrict)
    }
}

#[derive(Debug)]
pub(crate) struct Restrict;

impl Finish for Restrict {
    fn finish(self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let media = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if LOADING.iter().any(|loading| media.starts_with(loading)) {
            headers.insert(CONTENT_SECURITY_POLICY, POLICY);
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::response::Html;
    use axum::routing::get;
    use tower::ServiceExt as _;
    use tower::layer::layer_fn;

    use super::*;

    #[tokio::test]
    async fn no_answer_is_guessed_at_and_a_page_loads_only_what_is_ours() {
        let script = || async { ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], "") };
        let router = Router::new()
            .route("/page", get(|| async { Html("<p>") }))
            .route("/script", get(script))
            .route("/text", get(|| async { "a" }));
        let router = router.layer(layer_fn(|within| Restricted { within }));
        for (path, is_loading) in [("/page", true), ("/script", true), ("/text", false)] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let answer = router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(answer.headers().contains_key(CONTENT_SECURITY_POLICY), is_loading, "{path}");
        }
    }
}
