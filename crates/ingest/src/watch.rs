//! Updates readiness from the state of the cluster: the broker answers, and the topics match their contract.

use std::sync::Arc;
use std::time::Duration;

use domain::topics::{Names, Spec};
use kafka::ClientOptions;
use kafka::client::Probe;
use kafka::topics::{self, Severity};
use service::deviations::{Deviations, TOPICS};
use service::partitions::PartitionCount;
use service::permissions::{Asked, MissingPermissions, Permission};
use service::{Readiness, Shutdown};
use tokio::time::Instant;

use crate::refused::Refused;

/// Readiness condition: the broker answers.
pub(crate) const KAFKA: &str = "kafka";
/// Readiness condition: Kafka refuses no record.
const PUBLISH: &str = "publish";
/// The interval of requests to the broker.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// The time limit of such a request.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// The interval of questions what this service may do.
const PERMISSIONS_INTERVAL: Duration = Duration::from_secs(10);

/// Asks for each permission that ingest needs on the cluster. What is not described, and a broker that does not tell,
/// say nothing.
///
/// # Errors
/// If no client can be made.
pub async fn ask_permissions(options: &ClientOptions, topics: &Names, keeps: bool) -> Result<Vec<Asked>, kafka::Fault> {
    let probe = Probe::new(options, &topics.users)?;
    let mut asked = ask_topics(&probe, topics, keeps).await;
    let group = options.group(upkeep::keeper::GROUP);
    if keeps && let Ok(Some(may)) = probe.may_read_group(&group, PROBE_DEADLINE).await {
        asked.push(Asked::new(&group, Permission::Group, may));
    }
    probe.close().await;
    Ok(asked)
}

async fn ask_topics(probe: &Probe, topics: &Names, keeps: bool) -> Vec<Asked> {
    let Names { users, late, dead_letter, state } = topics;
    let state = state.as_ref().filter(|_| keeps);
    let read_and_written = [Some(users), state].into_iter().flatten().map(|topic| (topic, true));
    let mut asked = Vec::new();
    for (topic, is_read) in read_and_written.chain([(late, false), (dead_letter, false)]) {
        if let Ok(Some(may)) = probe.permissions(topic, PROBE_DEADLINE).await {
            asked.extend(is_read.then(|| Asked::new(topic, Permission::Read, may.read)));
            asked.push(Asked::new(topic, Permission::Write, may.write));
            asked.push(Asked::new(topic, Permission::DescribeConfigs, may.describe_configs));
        }
    }
    asked
}

/// The reason why events would be lost on the topics.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TopicsRefused(String);

/// The cluster that is watched, and the readiness that is updated.
pub(crate) struct ClusterWatch {
    pub(crate) options: ClientOptions,
    pub(crate) topics: Names,
    /// Whether this replica repairs, and so writes the state topic.
    pub(crate) keeps: bool,
    pub(crate) readiness: Readiness,
    pub(crate) partitions: PartitionCount,
    pub(crate) refused: Arc<Refused>,
    pub(crate) permissions: MissingPermissions,
    pub(crate) deviations: Deviations,
    pub(crate) probe: Probe,
}

impl ClusterWatch {
    /// Watches until `stop`. The probe's client is closed when this returns.
    ///
    /// # Errors
    /// [`TopicsRefused`] as soon as the topics have settings with which events would be lost.
    pub(crate) async fn run(mut self, stop: Shutdown) -> Result<(), TopicsRefused> {
        let watched = self.until(&stop).await;
        self.probe.close().await;
        watched
    }

    async fn until(&mut self, stop: &Shutdown) -> Result<(), TopicsRefused> {
        let (mut topics_due, mut permissions_due) = (Instant::now(), Instant::now());
        let mut is_checked = false;
        loop {
            let asked_at = Instant::now();
            let answered = self.probe.cluster_answers(PROBE_DEADLINE).await;
            if stop.is_requested() {
                return Ok(());
            }
            let answers = answered.is_ok();
            match answered {
                Ok(partitions) => {
                    self.readiness.holds(KAFKA);
                    self.partitions.report(partitions);
                    self.refused.is_there(&self.topics.users, asked_at);
                }
                Err(error) => {
                    tracing::warn!(%error, "the cluster cannot be used: trying again");
                    self.readiness.lacks(KAFKA, error.to_string());
                }
            }
            match self.refused.reason(Instant::now()) {
                Some(reason) => self.readiness.lacks(PUBLISH, reason),
                None => self.readiness.holds(PUBLISH),
            }
            if answers && Instant::now() >= permissions_due {
                self.ask_permissions().await;
                permissions_due = Instant::now() + PERMISSIONS_INTERVAL;
            }
            if answers
                && Instant::now() >= topics_due
                && let Some(next) = self.check_topics(is_checked).await?
            {
                (is_checked, topics_due) = (true, Instant::now() + next);
            }
            tokio::select! {
                () = stop.requested() => return Ok(()),
                () = tokio::time::sleep(PROBE_INTERVAL) => {}
            }
        }
    }

    /// Asks what this service may do with its topics.
    async fn ask_permissions(&self) {
        let asked = ask_topics(&self.probe, &self.topics, self.keeps).await;
        for Asked { resource, permission, is_missing } in asked.iter().filter(|asked| asked.permission.is_needed()) {
            self.permissions.report(resource, *permission, *is_missing);
        }
    }

    /// Returns the time until the next check if the topics could be checked. They then match the contract, or
    /// `is_running` and readiness says that they no longer do.
    async fn check_topics(&mut self, is_running: bool) -> Result<Option<Duration>, TopicsRefused> {
        // The contract with one partition and one replica: the operator chooses how many there are.
        let specs = Spec::contract(&self.topics, 1, 1);
        let findings = match topics::check(&self.options, &specs, PROBE_DEADLINE).await {
            Ok(findings) => findings,
            Err(_) if is_running => return Ok(None),
            Err(error) => {
                self.readiness.lacks(TOPICS, error.to_string());
                return Ok(None);
            }
        };
        let (mut refused, mut warned) = (Vec::new(), Vec::new());
        for finding in findings {
            match finding.severity {
                Severity::Refuse => refused.push(finding.to_string()),
                Severity::Warn => warned.push(finding.to_string()),
                Severity::Note if !is_running => tracing::info!(%finding, "a topic cannot be checked in full"),
                Severity::Note => {}
            }
        }
        if !refused.is_empty() && !is_running {
            return Err(TopicsRefused(refused.join("; ")));
        }
        Ok(Some(self.deviations.report(refused, warned)))
    }
}
