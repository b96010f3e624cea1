//! Watches, while the service runs, what it may do on the cluster, and whether the topic still meets its contract.

use std::time::Duration;

use domain::topics::Spec;
use kafka::client::Probe;
use kafka::topics::{self, Severity};
use service::Shutdown;
use service::deviations::{Deviations, SETTINGS_INTERVAL};
use service::permissions::{MissingPermissions, Permission};
use tokio::time::Instant;

use crate::projection::Projection;
use crate::shared::ASK_DEADLINE;

/// The interval of questions what this service may do.
const PERMISSIONS_INTERVAL: Duration = Duration::from_secs(10);

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
                self.check_topic().await;
                topic_due = Instant::now() + SETTINGS_INTERVAL;
            }
            tokio::time::sleep(PERMISSIONS_INTERVAL).await;
        }
    }

    /// A topic that is not described says nothing.
    async fn ask_permissions(&self) {
        let topic = &self.projection.shared.options.topic;
        if let Ok(Some(may)) = self.probe.permissions(topic, ASK_DEADLINE).await {
            self.permissions.report(topic, Permission::Describe, !may.describe);
            self.permissions.report(topic, Permission::Read, !may.read);
        }
    }

    /// A topic that cannot be described now is checked the next time.
    async fn check_topic(&mut self) {
        let options = &self.projection.shared.options;
        let Ok(description) = topics::describe(&options.kafka, &options.topic, ASK_DEADLINE).await else { return };
        let (mut refused, mut warned) = (Vec::new(), Vec::new());
        for finding in topics::judge(&Spec::users(&options.topic, description.partitions, 1), Some(&description)) {
            match finding.severity {
                Severity::Refuse => refused.push(finding.to_string()),
                Severity::Warn => warned.push(finding.to_string()),
                Severity::Note => {}
            }
        }
        self.deviations.report(refused, warned);
    }
}
