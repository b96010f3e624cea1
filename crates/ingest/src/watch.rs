//! Keeps readiness true to the state of the cluster: the broker answers, and the topics keep to their contract.

use std::time::Duration;

use domain::topics::{Names, Spec};
use kafka::ClientOptions;
use kafka::client::Probe;
use kafka::topics::{self, Severity};
use service::{Readiness, Shutdown};

/// Readiness: the broker answers.
pub(crate) const KAFKA: &str = "kafka";
/// Readiness: the topics keep to their contract.
pub(crate) const TOPICS: &str = "topics";
/// How often the broker is asked whether it is there.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);

/// Why events would be lost on the topics.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TopicsRefused(String);

/// The cluster that is watched, and the readiness that follows it.
pub(crate) struct ClusterWatch {
    options: ClientOptions,
    topics: Names,
    readiness: Readiness,
    probe: Probe,
}

impl ClusterWatch {
    /// # Errors
    /// When the options cannot be used.
    pub(crate) fn new(options: &ClientOptions, topics: &Names, readiness: &Readiness) -> Result<Self, kafka::Fault> {
        let probe = Probe::new(options, &topics.users)?;
        Ok(Self { options: options.clone(), topics: topics.clone(), readiness: readiness.clone(), probe })
    }

    /// Watches until `stop`. The probe's client has ended when this returns.
    ///
    /// # Errors
    /// [`TopicsRefused`] as soon as the topics turn out to be ones on which events would be lost.
    pub(crate) async fn run(self, stop: Shutdown) -> Result<(), TopicsRefused> {
        let watched = self.until(&stop).await;
        self.probe.close().await;
        watched
    }

    async fn until(&self, stop: &Shutdown) -> Result<(), TopicsRefused> {
        let mut checked = false;
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
            tokio::select! {
                () = stop.requested() => return Ok(()),
                () = tokio::time::sleep(PROBE_INTERVAL) => {}
            }
        }
    }

    /// Returns whether the topics could be checked; they then keep to the contract.
    async fn check_topics(&self) -> Result<bool, TopicsRefused> {
        // One partition and one replica are asked for: how many there are is the operator's business.
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
                Severity::Warn => tracing::warn!(%finding, "a topic is not what it should be"),
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
