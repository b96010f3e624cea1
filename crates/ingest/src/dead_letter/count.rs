//! How many dead letters the topic keeps, as a metric.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kafka::ClientOptions;
use kafka::topics;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use service::{Metrics, Shutdown};

/// The interval of questions. Letters stay for weeks.
const INTERVAL: Duration = Duration::from_secs(10);
/// The time limit of a question.
const DEADLINE: Duration = Duration::from_secs(5);

/// Counts the dead letters on the topic.
pub(crate) struct LetterCount {
    options: ClientOptions,
    topic: String,
    kept: Kept,
}

/// The number of the last answer; no sample before the first one.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Option<i64>>>);

impl Collector for Kept {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(kept) = *self.0.lock() else { return Ok(()) };
        let help =
            "Dead letters on their topic, at most: its offsets. The newer of two with one key replaces the other";
        let metric = encoder.encode_descriptor("rollcall_ingest_dead_letters_kept", help, None, MetricType::Gauge)?;
        ConstGauge::new(kept).encode(metric)
    }
}

impl LetterCount {
    pub(crate) fn register(options: &ClientOptions, topic: &str, metrics: &Metrics) -> Self {
        let kept = Kept::default();
        metrics.register(|registry| registry.register_collector(Box::new(kept.clone())));
        Self { options: options.clone(), topic: topic.to_owned(), kept }
    }

    /// Counts until `stop`. Each question is waited for: no thread of its client may outlive the service.
    pub(crate) async fn run(self, stop: Shutdown) {
        while !stop.is_requested() {
            match topics::watermarks(&self.options, &self.topic, DEADLINE).await {
                Ok(log) => {
                    *self.kept.0.lock() = Some(log.iter().map(|found| found.high - found.low).sum());
                }
                // Readiness has the reason.
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "letters cannot be counted"),
            }
            tokio::select! {
                () = stop.requested() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }
}
