//! Metrics for Prometheus, with OpenTelemetry's names where it defines one.

mod exposition;

mod instruments;

mod process;

mod requests;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use parking_lot::Mutex;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tower::layer::layer_fn;

pub(crate) use exposition::Exposition;
use process::Process;
use requests::{Measure, Requests};

pub use instruments::{Counted, duration_histogram};

/// The metrics registry of one service, written by [`Metrics::encode`].
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Returns a registry with the metrics of the process: version, start, processor time, memory and open files.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("rollcall_build", "The version of the running process", build);
        registry.register_collector(Box::new(Process));
        Self(Arc::new(Mutex::new(registry)))
    }

    /// Calls `register` with the registry, which adds metrics by their full names.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.0.lock())
    }

    /// Returns all metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self.0.lock();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes every character");
        text
    }

    /// Returns `router` with metrics of its requests: the duration by method, scheme, route and status, and the number
    /// of requests in flight.
    ///
    /// The route is the matched pattern, never the path. It is empty for a request without a match. Requests are logged
    /// at debug level, without query or headers.
    pub(crate) fn instrument(&self, router: Router) -> Router {
        let requests = self.register(Requests::register);
        router.layer(layer_fn(move |within| Measure { requests: requests.clone(), within }))
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
