//! The part of a configuration that commands need which only speak with Kafka.

use std::time::Duration;

use domain::topics::Names;
use ingest::config::Webhook;
use kafka::ClientOptions;
use serde::Deserialize;
use service::config::Faults;
use service::settings;

use crate::sources::Sources;

/// How long one question to the cluster may take before it counts as not reachable.
pub(crate) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// `[kafka]`, `[topics]` and `[webhook]` of a service's configuration. The other sections are left to the service that
/// they belong to, so that both services' files can be given.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    kafka: settings::Kafka,
    topics: settings::Topics,
    webhook: Webhook,
}

/// Returns the context of a cluster's error: which one was asked.
pub(crate) fn asked(options: &ClientOptions) -> String {
    format!("the Kafka at {} was asked", options.bootstrap)
}

/// The cluster and the topics on it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) options: ClientOptions,
    pub(crate) names: Names,
    /// The largest webhook that ingest takes, by which the size of the largest record goes.
    pub(crate) body_bytes_max: usize,
}

impl Cluster {
    /// Returns the cluster that the configuration names.
    ///
    /// # Errors
    /// All faults of the two sections.
    pub(crate) fn load(sources: &Sources) -> anyhow::Result<Self> {
        let Raw { kafka, topics, webhook } = sources.load()?;
        let options =
            ClientOptions { bootstrap: kafka.bootstrap, client_id: kafka.client_id, properties: kafka.properties };
        let mut faults = Faults::default();
        options.validate().into_iter().for_each(|fault| faults.push("kafka", fault));
        topics.check(&mut faults);
        faults.or(())?;
        Ok(Self { options, names: topics.into(), body_bytes_max: webhook.body_bytes_max })
    }
}
