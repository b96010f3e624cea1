//! Watches, while the service runs, what it may do on the cluster, and whether the topic still meets its contract.

use std::time::Duration;

use domain::topics::Spec;
use kafka::ClientOptions;
use kafka::client::Probe;
use kafka::topics::{self, Severity};
use service::Shutdown;
use service::deviations::{Deviations, SETTINGS_INTERVAL};
use service::permissions::{Asked, MissingPermissions, Permission};
use tokio::time::Instant;

use crate::projection::Projection;
use crate::shared::ASK_DEADLINE;

/// The interval of questions what this service may do.
const PERMISSIONS_INTERVAL: Duration = Duration::from_secs(10);

/// Asks for each permission that a projector needs on the cluster. A topic that is not described, and a broker that
/// does not tell, say nothing.
///
/// # Errors
/// If no client can be made.
pub async fn ask_permissions(
    kafka: &ClientOptions,
    topic: &str,
    late: Option<&str>,
) -> Result<Vec<Asked>, kafka::Fault> {
    let probe = Probe::new(kafka, topic)?;
    let mut asked = ask_topic(&probe, topic).await;
    if let Some(late) = late
        && let Ok(Some(may)) = probe.permissions(late, ASK_DEADLINE).await
    {
        asked.push(Asked::new(late, Permission::Read, may.read));
    }
    probe.close().await;
    Ok(asked)
}

async fn ask_topic(probe: &Probe, topic: &str) -> Vec<Asked> {
    match probe.permissions(topic, ASK_DEADLINE).await {
        Ok(Some(may)) => vec![
            Asked::new(topic, Permission::Describe, may.describe),
            Asked::new(topic, Permission::Read, may.read),
            Asked::new(topic, Permission::DescribeConfigs, may.describe_configs),
        ],
        Ok(None) | Err(_) => Vec::new(),
    }
}

/// The cluster that is watched.
pub(crate) struct ClusterWatch {
    pub(crate) projection: Projection,
    pub(crate) probe: Probe,
    pub(crate) permissions: MissingPermissions,
    pub(crate) deviations: Deviations,
}

impl ClusterWatch {
    /// Watches until `stop`, or until the projection has ended by itself. The probe's client is closed then.
    pub(crate) async fn run(mut self, stop: Shutdown) {
        let projection = self.projection.clone();
        tokio::select! {
            () = stop.requested() => {}
            () = projection.ended() => {}
            () = self.watch() => {}
        }
        self.probe.close().await;
    }

    /// Does not return.
    async fn watch(&mut self) {
        // At start the follower has checked the topic.
        let mut topic_due = Instant::now() + SETTINGS_INTERVAL;
        loop {
            self.ask_permissions().await;
            if Instant::now() >= topic_due {
                topic_due = Instant::now() + self.check_topic().await;
            }
            tokio::time::sleep(PERMISSIONS_INTERVAL).await;
        }
    }

    async fn ask_permissions(&self) {
        let asked = ask_topic(&self.probe, &self.projection.shared.options.topic).await;
        for Asked { resource, permission, is_missing } in asked.iter().filter(|asked| asked.permission.is_needed()) {
            self.permissions.report(resource, *permission, *is_missing);
        }
    }

    /// Returns the time until the next check. A topic that cannot be described now is checked then.
    async fn check_topic(&mut self) -> Duration {
        let options = &self.projection.shared.options;
        let Ok(description) = topics::describe(&options.kafka, &options.topic, ASK_DEADLINE).await else {
            return SETTINGS_INTERVAL;
        };
        let (mut refused, mut warned) = (Vec::new(), Vec::new());
        for finding in topics::judge(&Spec::users(&options.topic, description.partitions, 1), Some(&description)) {
            match finding.severity {
                Severity::Refuse => refused.push(finding.to_string()),
                Severity::Warn => warned.push(finding.to_string()),
                Severity::Note => {}
            }
        }
        self.deviations.report(refused, warned)
    }
}
