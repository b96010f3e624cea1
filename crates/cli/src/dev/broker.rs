//! The broker of `rollcall dev`: in memory, or an existing cluster.

use std::net::SocketAddr;

use anyhow::Context as _;
use domain::Position;
use domain::topics::{Names, Spec};
use kafka::ClientOptions;
use kafka::embedded::EmbeddedBroker;
use kafka::placement::partition_for;
use kafka::topics::{self, Severity};

use crate::cluster::{ANSWER_WAIT_MAX, reach};

/// Several, to show more than one.
const PARTITIONS: i32 = 3;

/// The broker. The process keeps it alive.
pub(super) struct Broker {
    pub(super) options: ClientOptions,
    /// The partitions of the users topic.
    pub(super) partitions: i32,
    embedded: Option<EmbeddedBroker>,
}

impl Broker {
    pub(super) fn is_in_memory(&self) -> bool {
        self.embedded.is_some()
    }

    /// Starts the in-memory broker, or creates the topics on the given cluster.
    ///
    /// # Errors
    /// If the broker does not start, or the topics cannot be created.
    pub(super) async fn start(bootstrap: Option<&str>) -> anyhow::Result<Self> {
        let names = Names::default();
        let Some(bootstrap) = bootstrap else {
            let topics =
                [(names.users.as_str(), PARTITIONS), (names.late.as_str(), 1), (names.dead_letter.as_str(), 1)];
            let embedded = EmbeddedBroker::start(&topics).context("the broker in memory does not start")?;
            let options = embedded.client_options();
            return Ok(Self { options, partitions: PARTITIONS, embedded: Some(embedded) });
        };
        let options = ClientOptions::new(bootstrap);
        let faults = options.validate();
        anyhow::ensure!(faults.is_empty(), "{}", faults.join("; "));
        reach(&options).await?;
        let specs = Spec::contract(&names, PARTITIONS, 1);
        let unreachable = || format!("the topics could not be created on Kafka at {bootstrap}");
        topics::create(&options, &specs, ANSWER_WAIT_MAX).await.with_context(unreachable)?;
        let findings = topics::check(&options, &specs, ANSWER_WAIT_MAX).await.with_context(unreachable)?;
        let refused: Vec<String> =
            findings.iter().filter(|finding| finding.severity == Severity::Refuse).map(ToString::to_string).collect();
        anyhow::ensure!(refused.is_empty(), "{}", refused.join("; "));
        let found = topics::describe(&options, &names.users, ANSWER_WAIT_MAX).await.with_context(unreachable)?;
        Ok(Self { options, partitions: found.partitions, embedded: None })
    }

    /// Returns `[kafka]` for both services, with properties that tune clients to the in-memory broker.
    pub(super) fn settings(&self) -> service::settings::Kafka {
        let ClientOptions { bootstrap, client_id, group_prefix, properties, .. } = self.options.clone();
        service::settings::Kafka { bootstrap, client_id, group_prefix, properties, ..Default::default() }
    }

    /// Returns the command that queries the sample's user. It finds the user even when it runs right after the sample.
    pub(super) fn sample_query(&self, user: i64, queries: SocketAddr, simulated: bool) -> String {
        let url = format!("http://{queries}/users/{user}");
        if self.embedded.is_some() && !simulated {
            // Nobody else writes to this broker, so the sample is the first record of its partition, and the query
            // waits for it.
            let partition = partition_for(user.to_string().as_bytes(), PARTITIONS);
            format!("curl -sS -w '\\n' '{url}?at_least={}'", Position { partition, offset: 0 })
        } else {
            // The position of the record is unknown here, so the query is repeated silently until the projector has
            // read the record.
            format!("curl -s -w '\\n' --fail --retry 5 --retry-delay 1 --retry-all-errors '{url}'")
        }
    }
}
