//! Metrics of requests: their duration, and the number in progress.

use std::task::{Context, Poll};

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::Method;
use http::uri::Scheme;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;
use tower::Service;

use super::instruments::{Counted, duration_histogram};
use crate::answer::{Finish, Finishing};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    http_request_method: &'static str,
    url_scheme: &'static str,
    http_route: Option<String>,
    http_response_status_code: u16,
}

type Durations = Family<RequestLabels, Histogram, fn() -> Histogram>;

/// The metrics of all requests to one router.
#[derive(Clone)]
pub(super) struct Requests {
    duration: Durations,
    active: Gauge,
}

impl Requests {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let duration = Family::new_with_constructor(duration_histogram as fn() -> Histogram);
        let active = Gauge::default();
        registry.register_with_unit(
            "http_server_request_duration",
            "Time from a request's head to its answer's head",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register("http_server_active_requests", "Requests being answered", active.clone());
        Self { duration, active }
    }
}

/// Measures the requests to the inner service.
#[derive(Clone)]
pub(super) struct Measure<S> {
    pub(super) requests: Requests,
    pub(super) within: S,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Measure<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Finishing<S::Future, Measuring>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.within.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let matched = request.extensions().get::<MatchedPath>();
        let measuring = Measuring {
            duration: self.requests.duration.clone(),
            _in_flight: Counted::by(&self.requests.active),
            method: known_method(request.method()),
            scheme: known_scheme(request.extensions().get::<Scheme>()),
            route: matched.map(|path| path.as_str().to_owned()),
            started: Instant::now(),
        };
        Finishing::new(self.within.call(request), measuring)
    }
}

/// The labels of a request that are known before its answer.
pub(super) struct Measuring {
    duration: Durations,
    _in_flight: Counted,
    method: &'static str,
    scheme: &'static str,
    route: Option<String>,
    started: Instant,
}

impl Finish for Measuring {
    fn finish(self, response: &mut Response) {
        let (status, seconds) = (response.status().as_u16(), self.started.elapsed().as_secs_f64());
        tracing::debug!(
            http.request.method = self.method,
            http.route = self.route,
            http.response.status_code = status,
            seconds,
            "request answered"
        );
        let labels = RequestLabels {
            http_request_method: self.method,
            url_scheme: self.scheme,
            http_route: self.route,
            http_response_status_code: status,
        };
        self.duration.get_or_create(&labels).observe(seconds);
    }
}

/// Returns the method, or `_OTHER` as OpenTelemetry requires: a peer must not be able to create labels.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "TRACE" => "TRACE",
        "CONNECT" => "CONNECT",
        _ => "_OTHER",
    }
}

/// Returns the scheme that the accept loop set. A router called without one has no TLS.
fn known_scheme(scheme: Option<&Scheme>) -> &'static str {
    if scheme == Some(&Scheme::HTTPS) { "https" } else { "http" }
}
#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use http::uri::Scheme;
    use tower::ServiceExt;

    use crate::Metrics;

    #[tokio::test]
    async fn requests_are_counted_by_route_and_never_by_path() {
        let metrics = Metrics::new();
        let router = metrics.instrument(Router::new().route("/users/{id}", get(|| async { "a" })));
        for (method, path) in [("GET", "/users/1?secret-key=hunter2"), ("GET", "/users/2"), ("BREW", "/pot")] {
            let request = http::Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap();
        }
        let mut secure = http::Request::get("/users/3").body(Body::empty()).unwrap();
        secure.extensions_mut().insert(Scheme::HTTPS);
        router.clone().oneshot(secure).await.unwrap();
        let text = metrics.encode();
        let count = concat!(
            r#"http_server_request_duration_seconds_count{http_request_method="GET",url_scheme="http","#,
            r#"http_route="/users/{id}",http_response_status_code="200"} 2"#
        );
        assert!(text.contains(count), "{text}");
        let other = r#"http_request_method="_OTHER",url_scheme="http",http_route="",http_response_status_code="404""#;
        assert!(text.contains(other), "{text}");
        assert!(text.contains(r#"http_request_method="GET",url_scheme="https",http_route="/users/{id}""#), "{text}");
        assert!(text.contains("http_server_active_requests 0"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("pot"), "{text}");
    }
}
