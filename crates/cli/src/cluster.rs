//! The part of a configuration for commands that only use Kafka.

use std::time::Duration;

use anyhow::Context as _;
use domain::topics::Names;
use ingest::config::Webhook;
use kafka::ClientOptions;
use kafka::client::{Credentials, OptionFault, connect};
use serde::Deserialize;
use service::config::Faults;
use service::registry::{self, Patience, Schemas};
use service::{Metrics, settings};

use crate::sources::Sources;

/// The time limit of one request to the cluster, after which it counts as unreachable.
pub(crate) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// `[kafka]`, `[topics]`, `[registry]`, `[state_topic]` and `[webhook]` of a configuration. Other sections are ignored,
/// so the file of either service can be given.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    kafka: settings::Kafka,
    topics: settings::Topics,
    registry: settings::Registry,
    state_topic: settings::StateTopic,
    webhook: Webhook,
}

/// Returns the context of a cluster's error: the address of the cluster.
pub(crate) fn asked(options: &ClientOptions) -> String {
    format!("request to Kafka at {}", options.bootstrap)
}

/// Returns once the cluster can be used.
///
/// # Errors
/// The reason why it cannot, and the remedy.
pub(crate) async fn reach(options: &ClientOptions) -> anyhow::Result<()> {
    connect(options, ANSWER_WAIT_MAX).await.with_context(|| asked(options))
}

/// Returns the schemas that the records on the topic of users name by ids.
///
/// # Errors
/// When there is a registry, and it does not answer.
pub(crate) async fn schemas(registry: &registry::Options, names: &Names) -> anyhow::Result<Schemas> {
    let metrics = Metrics::new();
    let schemas = Schemas::open(registry.clone(), &names.users, Patience::COMMAND, &metrics);
    schemas.await.context("the schema registry cannot be used")
}

/// The cluster and the topics on it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) options: ClientOptions,
    pub(crate) names: Names,
    pub(crate) registry: registry::Options,
    /// The partitions of the users topic.
    pub(crate) partitions: i32,
    /// The largest body that ingest accepts. It determines the size of the largest record.
    pub(crate) body_bytes_max: usize,
}

impl Cluster {
    /// Returns the cluster of the configuration, which can be used.
    ///
    /// # Errors
    /// All faults of these sections, or the reason why the cluster cannot be used.
    pub(crate) async fn reach(sources: &Sources) -> anyhow::Result<Self> {
        let cluster: Self = sources.valid::<Raw, _>()?;
        reach(&cluster.options).await?;
        Ok(cluster)
    }
}

impl TryFrom<Raw> for Cluster {
    type Error = Faults;

    fn try_from(raw: Raw) -> Result<Self, Faults> {
        let Raw { kafka, topics, registry, state_topic, webhook } = raw;
        let mut faults = Faults::default();
        // A password that cannot be read is a fault already.
        let credentials = Credentials::open(kafka.password(&mut faults)).unwrap_or_default();
        let settings::Kafka { bootstrap, client_id, group_prefix, properties, sasl_password_file: _, oauth } = kafka;
        let tokens = oauth.tokens(&mut faults);
        let options = ClientOptions { bootstrap, client_id, group_prefix, properties, tokens, credentials };
        for OptionFault { key, reason } in options.validate() {
            faults.push(format!("kafka.{key}"), reason);
        }
        topics.check(&mut faults);
        let registry = registry.options(&mut faults);
        let partitions = topics.partitions;
        let names = Names { state: state_topic.name(&topics, &mut faults), ..topics.into() };
        faults.or(Self { options, names, partitions, registry, body_bytes_max: webhook.body_bytes_max })
    }
}
