//! The routes of the admin listener: liveness, readiness and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use crate::metrics::Exposition;
use crate::{Metrics, Problem};

/// The conditions of a service's readiness, by name. Each has a reason while it does not hold. Clones share them.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<Conditions>>);

#[derive(Debug)]
struct Conditions {
    reasons: BTreeMap<&'static str, Option<String>>,
    stopping: bool,
}

impl Readiness {
    /// Returns a readiness whose `conditions` do not hold yet.
    pub fn new(conditions: &[&'static str]) -> Self {
        let reasons = conditions.iter().map(|name| (*name, Some("not yet".to_owned()))).collect();
        Self(Arc::new(Mutex::new(Conditions { reasons, stopping: false })))
    }

    /// Records that `condition` holds.
    pub fn holds(&self, condition: &'static str) {
        self.0.lock().reasons.insert(condition, None);
    }

    /// Records that `condition` does not hold, with the reason.
    pub fn lacks(&self, condition: &'static str, reason: impl Into<String>) {
        self.0.lock().reasons.insert(condition, Some(reason.into()));
    }

    /// Ends the readiness for good: the service is stopping, whatever its conditions.
    pub fn end(&self) {
        self.0.lock().stopping = true;
    }

    /// Returns the conditions that do not hold, with their reasons. The service is ready when there are none.
    pub fn missing(&self) -> Vec<(&'static str, String)> {
        let conditions = self.0.lock();
        let stopping = conditions.stopping.then(|| ("service", "it is stopping".to_owned()));
        let lacking = conditions.reasons.iter().filter_map(|(name, reason)| Some((*name, reason.clone()?)));
        stopping.into_iter().chain(lacking).collect()
    }
}

/// The answer at `/`.
const INDEX: &str = "\
Rollcall, the admin port. It has no authentication: keep it private.

GET /livez     200 while the process runs
GET /readyz    200 when it is ready, else 503 with the reason
GET /metrics   for Prometheus
";

/// Returns the routes `/livez`, `/readyz` and `/metrics`, and a list of them at `/`.
pub fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(exposition).with_state(metrics))
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed("GET, HEAD") })
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let missing = readiness.missing();
    if missing.is_empty() {
        return "ok\n".into_response();
    }
    let detail = missing.iter().map(|(name, reason)| format!("{name}: {reason}")).collect::<Vec<_>>().join("; ");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE).detail(detail).into_response()
}

async fn exposition(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    let format = Exposition::asked(&headers);
    // What is counted only now can take a while.
    let encoding = tokio::task::spawn_blocking(move || metrics.encode());
    let text = encoding.await.expect("writing numbers does not panic");
    ([(CONTENT_TYPE, format.media_type()), (VARY, "accept")], format.of(text)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn get(router: &Router, path: &str) -> (StatusCode, String) {
        let response = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ready_only_when_every_condition_holds() {
        let readiness = Readiness::new(&["kafka", "topics"]);
        let router = router(readiness.clone(), Metrics::new());
        let (status, body) = get(&router, "/readyz").await;
        assert_eq!(status, 503);
        assert!(body.contains("kafka: not yet; topics: not yet"), "{body}");
        readiness.holds("kafka");
        readiness.lacks("topics", "vcc.users is not compacted");
        assert!(get(&router, "/readyz").await.1.contains("vcc.users is not compacted"));
        readiness.holds("topics");
        assert_eq!(get(&router, "/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
        readiness.lacks("kafka", "no answer");
        assert_eq!(get(&router, "/readyz").await.0, 503);
        readiness.end();
        readiness.holds("kafka");
        assert!(get(&router, "/readyz").await.1.contains("service: it is stopping"), "an end is for good");
    }

    #[tokio::test]
    async fn a_living_process_says_so_and_shows_its_numbers() {
        let router = router(Readiness::new(&["never"]), Metrics::new());
        assert_eq!(get(&router, "/livez").await.0, 200);
        let (status, text) = get(&router, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("# TYPE process_open_fds gauge\n") && !text.contains("# EOF"), "{text}");
        let request = Request::get("/metrics").header("accept", "application/openmetrics-text");
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert!(text.ends_with(b"# EOF\n"));
        assert_eq!(get(&router, "/other").await.0, 404);
    }
}
