//! Numbers for Prometheus, by OpenTelemetry's names where it has one.

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

use process::Process;
use requests::{Measure, Requests};

pub use instruments::{Counted, duration_histogram};

/// The registry of one service, written out by [`Metrics::encode`].
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// The media type of [`Metrics::encode`].
    pub(crate) const MEDIA_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Returns a registry that knows the process: its version, memory and open files.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("rollcall_build", "The version that runs", build);
        registry.register_collector(Box::new(Process));
        Self(Arc::new(Mutex::new(registry)))
    }

    /// Calls `register` with the registry; it adds metrics by their whole names.
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

    /// Returns `router` with each request measured: its duration by method, scheme, route and status, and the number of
    /// requests in flight.
    ///
    /// The route is the pattern that matched, never the path; a request that matched none has an empty label. The log
    /// line of a request, at debug, has neither query nor headers.
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
