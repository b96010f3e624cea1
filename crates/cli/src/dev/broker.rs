//! The broker of `rollcall dev`: in memory, or an existing cluster.

use anyhow::Context as _;
use domain::Position;
use domain::topics::{Names, Spec};
use kafka::embedded::EmbeddedBroker;
use kafka::placement::partition_for;
use kafka::topics::{self, Severity};
use service::settings::Kafka;

use super::settings::{Configs, Settings};
use crate::cluster::{ANSWER_WAIT_MAX, reach};

/// The partitions of the users topic where none are set: several, to show more than one.
pub(super) const PARTITIONS: i32 = 3;

/// The broker. The process keeps it alive.
pub(super) struct Broker {
    /// The address for clients.
    pub(super) bootstrap: String,
    embedded: Option<EmbeddedBroker>,
    partitions: i32,
}

impl Broker {
    pub(super) fn is_in_memory(&self) -> bool {
        self.embedded.is_some()
    }

    /// Starts the broker in memory with the topics, unless the settings name a cluster.
    ///
    /// # Errors
    /// If the broker does not start.
    pub(super) fn start(settings: &Settings) -> anyhow::Result<Self> {
        let partitions = settings.partitions();
        if let Some(bootstrap) = settings.cluster() {
            return Ok(Self { bootstrap, embedded: None, partitions });
        }
        let Names { users, late, dead_letter, state } = settings.topics();
        let state = state.iter().map(|state| (state.as_str(), partitions));
        let topics = [(users.as_str(), partitions), (&late, 1), (&dead_letter, 1)].into_iter().chain(state);
        let topics: Vec<(&str, i32)> = topics.collect();
        let embedded = EmbeddedBroker::start(&topics).context("the broker in memory does not start")?;
        Ok(Self { bootstrap: embedded.bootstrap(), embedded: Some(embedded), partitions })
    }

    /// Sets what clients of the broker in memory need.
    pub(super) fn tune(&self, kafka: &mut Kafka) {
        let Some(embedded) = &self.embedded else { return };
        kafka.bootstrap.clone_from(&self.bootstrap);
        for (name, value) in embedded.client_options().properties {
            kafka.properties.entry(name).or_insert(value);
        }
    }

    /// Creates the topics that are missing on a cluster, and takes over the partitions that the users topic has.
    ///
    /// # Errors
    /// If the cluster cannot be used, or a topic on it.
    pub(super) async fn prepare(&self, configs: &mut Configs) -> anyhow::Result<()> {
        if self.is_in_memory() {
            return Ok(());
        }
        let (options, names) = (&configs.ingest.kafka, &configs.ingest.topics);
        reach(options).await?;
        let specs = Spec::contract(names, self.partitions, 1);
        let unreachable = || format!("the topics could not be created on Kafka at {}", self.bootstrap);
        topics::create(options, &specs, ANSWER_WAIT_MAX).await.with_context(unreachable)?;
        let findings = topics::check(options, &specs, ANSWER_WAIT_MAX).await.with_context(unreachable)?;
        let refused: Vec<String> =
            findings.iter().filter(|finding| finding.severity == Severity::Refuse).map(ToString::to_string).collect();
        anyhow::ensure!(refused.is_empty(), "{}", refused.join("; "));
        let found = topics::describe(options, &names.users, ANSWER_WAIT_MAX).await.with_context(unreachable)?;
        configs.ingest.partitions = found.partitions;
        configs.projector.projection.partitions = Some(found.partitions);
        Ok(())
    }

    /// Returns the position of the user's record, if it is the first record of its partition of the broker in memory.
    pub(super) fn first_position(&self, user: i64) -> Option<Position> {
        let partition = partition_for(user.to_string().as_bytes(), self.partitions);
        self.is_in_memory().then_some(Position { partition, offset: 0 })
    }
}
