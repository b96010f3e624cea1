//! Numbers for Prometheus, by OpenTelemetry's names where it has one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::Method;
use http::uri::Scheme;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;
use tower::Service;
use tower::layer::layer_fn;

use crate::answer::{Finish, Finishing};

/// The registry of one service; what it holds is written by [`Metrics::encode`].
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// The media type of [`Metrics::encode`].
    pub const MEDIA_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Returns a registry that knows the process: its version, memory and open files.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("rollcall_build", "The version that runs", build);
        registry.register_collector(Box::new(Process));
        Self(Arc::new(Mutex::new(registry)))
    }

    /// Lets `register` add metrics; the names are the caller's whole names.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns all metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes every character");
        text
    }

    /// Returns `router` with each request measured: how long it took, by method, scheme, route and status, and how many are in
    /// flight.
    ///
    /// The route is the pattern that matched, never the path; what matched none has none, which is an empty label to Prometheus.
    /// The log line of a request, at debug, has neither query nor headers.
    pub fn instrument(&self, router: Router) -> Router {
        let http = self.register(Http::register);
        router.layer(layer_fn(move |within| Measure { http: http.clone(), within }))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Bounds of a duration histogram in seconds, those that OpenTelemetry's HTTP conventions advise, with two below for answers
/// that come from memory.
pub const DURATION_BOUNDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Returns an empty histogram of durations in seconds.
pub fn duration_histogram() -> Histogram {
    Histogram::new(DURATION_BOUNDS)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    http_request_method: &'static str,
    url_scheme: &'static str,
    http_route: Option<String>,
    http_response_status_code: u16,
}

type Durations = Family<RequestLabels, Histogram, fn() -> Histogram>;

#[derive(Clone)]
struct Http {
    duration: Durations,
    active: Gauge,
}

impl Http {
    fn register(registry: &mut Registry) -> Self {
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

/// Measures what passes through to the service within.
#[derive(Clone)]
struct Measure<S> {
    http: Http,
    within: S,
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
            duration: self.http.duration.clone(),
            _in_flight: InFlight::enter(&self.http.active),
            method: known_method(request.method()),
            scheme: known_scheme(request.extensions().get::<Scheme>()),
            route: matched.map(|path| path.as_str().to_owned()),
            started: Instant::now(),
        };
        Finishing::new(self.within.call(request), measuring)
    }
}

/// What is known of a request before its answer.
struct Measuring {
    duration: Durations,
    _in_flight: InFlight,
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

/// Counts a request until it is dropped, also when its connection ends before its answer.
struct InFlight(Gauge);

impl InFlight {
    fn enter(active: &Gauge) -> Self {
        active.inc();
        Self(active.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The method, or `_OTHER`, as OpenTelemetry asks: a peer must not be able to invent labels.
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

/// Returns the scheme that the accept loop spoke; a router that is called without one speaks to nobody over TLS.
fn known_scheme(scheme: Option<&Scheme>) -> &'static str {
    if scheme == Some(&Scheme::HTTPS) { "https" } else { "http" }
}

/// Reads what Linux tells of the process each time metrics are asked for; elsewhere these metrics are absent.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(bytes) = resident_bytes() {
            let gauge = ConstGauge::<u64>::new(bytes);
            let name = "process_resident_memory";
            let metric = encoder.encode_descriptor(name, "Resident memory", Some(&Unit::Bytes), gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            let gauge = ConstGauge::<u64>::new(files.count() as u64);
            let metric =
                encoder.encode_descriptor("process_open_fds", "Open file descriptors", None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// `VmRSS` of /proc/self/status (proc(5)), which is in KiB.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

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
        let count = r#"http_server_request_duration_seconds_count{http_request_method="GET",url_scheme="http",http_route="/users/{id}",http_response_status_code="200"} 2"#;
        assert!(text.contains(count), "{text}");
        let other = r#"http_request_method="_OTHER",url_scheme="http",http_route="",http_response_status_code="404""#;
        assert!(text.contains(other), "{text}");
        assert!(text.contains(r#"http_request_method="GET",url_scheme="https",http_route="/users/{id}""#), "{text}");
        assert!(text.contains("http_server_active_requests 0"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("pot"), "{text}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_is_measured() {
        let text = Metrics::new().encode();
        let value = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 1 << 20);
        assert!(value("process_open_fds ") > 2);
    }
}
