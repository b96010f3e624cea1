//! Updates readiness from the state of the cluster: the broker answers, and the topics match their contract.

use std::time::Duration;

use domain::topics::{Names, Spec};
use kafka::ClientOptions;
use kafka::client::Probe;
use kafka::topics::{self, Severity};
use service::partitions::PartitionCount;
use service::{Readiness, Shutdown};
use tokio::time::Instant;

/// Readiness condition: the broker answers.
pub(crate) const KAFKA: &str = "kafka";
/// Readiness condition: the topics match their contract.
pub(crate) const TOPICS: &str = "topics";
/// The interval of requests to the broker.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// The interval of looks at the number of partitions.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(30);
/// The time limit of such a request.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);

/// The reason why events would be lost on the topics.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TopicsRefused(String);

/// The cluster that is watched, and the readiness that is updated.
pub(crate) struct ClusterWatch {
    options: ClientOptions,
    topics: Names,
    readiness: Readiness,
    partitions: PartitionCount,
    probe: Probe,
}

impl ClusterWatch {
    /// # Errors
    /// When the options cannot be used.
    pub(crate) fn new(
        options: &ClientOptions,
        topics: &Names,
        readiness: &Readiness,
        partitions: PartitionCount,
    ) -> Result<Self, kafka::Fault> {
        let probe = Probe::new(options, &topics.users)?;
        Ok(Self { options: options.clone(), topics: topics.clone(), readiness: readiness.clone(), partitions, probe })
    }

    /// Watches until `stop`. The probe's client is closed when this returns.
    ///
    /// # Errors
    /// [`TopicsRefused`] as soon as the topics have settings with which events would be lost.
    pub(crate) async fn run(self, stop: Shutdown) -> Result<(), TopicsRefused> {
        let watched = self.until(&stop).await;
        self.probe.close().await;
        watched
    }

    async fn until(&self, stop: &Shutdown) -> Result<(), TopicsRefused> {
        let mut checked = false;
        let mut count_at = Instant::now();
        loop {
            let answered = self.probe.cluster_answers(PROBE_DEADLINE).await;
            if stop.is_requested() {
                return Ok(());
            }
            match answered {
                Ok(()) => self.readiness.holds(KAFKA),
                Err(error) => self.readiness.lacks(KAFKA, error.to_string()),
            }
            if !checked {
                checked = self.check_topics().await?;
            }
            if Instant::now() >= count_at && self.count_partitions().await {
                count_at = Instant::now() + PARTITIONS_INTERVAL;
            }
            tokio::select! {
                () = stop.requested() => return Ok(()),
                () = tokio::time::sleep(PROBE_INTERVAL) => {}
            }
        }
    }

    /// Returns whether the number of partitions is known.
    async fn count_partitions(&self) -> bool {
        let described = topics::describe(&self.options, &self.topics.users, PROBE_DEADLINE).await;
        // An outage is visible in the readiness.
        described.inspect(|description| self.partitions.report(description.partitions)).is_ok()
    }

    /// Returns whether the topics could be checked. They then match the contract.
    async fn check_topics(&self) -> Result<bool, TopicsRefused> {
        // The contract with one partition and one replica: the operator chooses how many there are.
        let specs = Spec::contract(&self.topics, 1, 1);
        let findings = match topics::check(&self.options, &specs, PROBE_DEADLINE).await {
            Ok(findings) => findings,
            Err(error) => {
                self.readiness.lacks(TOPICS, error.to_string());
                return Ok(false);
            }
        };
        let mut refused = Vec::new();
        for finding in findings {
            match finding.severity {
                Severity::Refuse => refused.push(finding.to_string()),
                Severity::Warn => tracing::warn!(%finding, "a topic deviates from its contract"),
                Severity::Note => tracing::info!(%finding, "a topic cannot be checked in full"),
            }
        }
        if !refused.is_empty() {
            return Err(TopicsRefused(refused.join("; ")));
        }
        self.readiness.holds(TOPICS);
        Ok(true)
    }
}
