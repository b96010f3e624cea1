//! Instruments that both services use.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// The bucket bounds of a duration histogram in seconds: those of OpenTelemetry's HTTP conventions, and two smaller
/// ones for answers from memory.
const DURATION_BOUNDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Returns an empty histogram of durations in seconds.
pub fn duration_histogram() -> Histogram {
    Histogram::new(DURATION_BOUNDS)
}

/// Adds one to a gauge until it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    pub fn by(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
