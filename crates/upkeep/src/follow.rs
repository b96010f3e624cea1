//! The shell of gate and keeper: reads the topic, answers the requests, and appends repairs.

mod follower;

mod group;

mod horizon;

mod look;

mod metrics;

mod round;

mod scribe;

use std::time::Duration;

use domain::topics::Names;
use domain::wire::Flat;
use domain::{Checkpoint, LogId, UnixMillis};
use futures_util::future::BoxFuture;
use kafka::ClientOptions;
use kafka::publish::Publisher;
use kafka::tail::{self, Fetch, Limits, Tail};
use kafka::topics::{self, LogProbe};
use service::permissions::MissingPermissions;
use service::readers::ReadersReopened;
use service::registry::{Schemas, Unsettled};
use service::{Metrics, Shutdown};
use tokio::time::Instant;

use crate::gate::Gate;

use follower::Follower;
use group::Group;
use metrics::Gauges;
use round::Repairer;
use scribe::{Scribe, StateGauges};

/// The pause before the topic is read again from its beginning after an error.
const START_OVER_AFTER: Duration = Duration::from_secs(2);
/// The time limit to describe the topic and its ends.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(10);
/// The longest time that the service's stop waits for a tail that is being opened. Opening cannot be cancelled, and
/// takes longer than this while the cluster is unreachable.
const OPENING_MAX: Duration = Duration::from_secs(5);

/// The reason why the topic cannot be followed now.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Described(#[from] topics::Error),
    #[error(transparent)]
    Read(#[from] tail::Error),
    #[error(transparent)]
    Schema(#[from] Unsettled),
}

/// Reads the whole topic once, for gate and keeper, and appends repairs.
#[derive(Debug)]
pub struct Upkeep {
    options: ClientOptions,
    topic: String,
    schemas: Schemas,
    gate: Gate,
    gauges: Gauges,
    readers: ReadersReopened,
    /// `None` where nobody watches them.
    permissions: Option<MissingPermissions>,
    /// `None` where this replica does not repair.
    repairer: Option<Repairer>,
    state: Option<State>,
}

/// The state topic that is written beside the repairs.
#[derive(Debug)]
struct State {
    names: Names,
    flat: Flat,
    gauges: StateGauges,
}

impl Upkeep {
    /// Returns the upkeep of the topic of users. Without a publisher it does not repair.
    pub fn new(
        options: ClientOptions,
        topics: Names,
        publisher: Option<Publisher>,
        now: fn() -> UnixMillis,
        metrics: &Metrics,
    ) -> Self {
        let (gauges, logs) = (Gauges::register(metrics), LogProbe::new(&options, &topics.users));
        let repairer = publisher.map(|publisher| Repairer {
            options: options.clone(),
            topics: topics.clone(),
            schemas: Schemas::default(),
            logs: logs.clone(),
            publisher,
            now,
            counters: gauges.keeper.clone(),
        });
        let (topic, schemas, readers) = (topics.users, Schemas::default(), ReadersReopened::default());
        metrics.register(|registry| readers.register(registry));
        readers.watch(&topic);
        Self {
            options,
            topic,
            schemas,
            gate: Gate::new(logs, metrics),
            gauges,
            readers,
            permissions: None,
            repairer,
            state: None,
        }
    }

    /// Writes the state topic too, where `topics` names one and this replica repairs.
    pub fn with_state_topic(mut self, topics: &Names, flat: Flat, metrics: &Metrics) -> Self {
        if let Some(topic) = &topics.state {
            self.readers.watch(topic);
            self.state = Some(State { names: topics.clone(), flat, gauges: StateGauges::register(metrics) });
        }
        self
    }

    /// Returns the writer of the state topic for one pass over the topic of users.
    fn scribe(&self, log: &LogId, partitions: i32) -> Option<Scribe> {
        let State { names, flat, gauges } = self.state.as_ref()?;
        let (repairer, readers) = (self.repairer.clone()?, self.readers.clone());
        Scribe::new(repairer, names, log.clone(), *flat, partitions, gauges.clone(), readers)
    }

    /// Reports there whether the group is refused.
    pub fn with_permissions(self, permissions: MissingPermissions) -> Self {
        Self { permissions: Some(permissions), ..self }
    }

    /// Reads records that name their schemas by ids.
    pub fn with_schemas(mut self, schemas: &Schemas) -> Self {
        self.schemas = schemas.clone();
        if let Some(repairer) = &mut self.repairer {
            repairer.schemas = schemas.clone();
        }
        self
    }

    /// Returns the gate, for the requests.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Follows the topic until `shutdown`, and has left the group when it returns. An error withdraws the gate, and the
    /// topic is read again from its beginning.
    pub async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_requested() {
            if let Err(error) = self.open(&shutdown).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the gate is withdrawn and the topic is read again"
                );
            }
            self.gate.withdraw();
            pause(&shutdown, START_OVER_AFTER).await;
        }
    }

    /// Opens a tail and follows it until `shutdown`. The tail is closed in every case.
    async fn open(&self, shutdown: &Shutdown) -> Result<(), Error> {
        let opening = async {
            let limits = Limits { fetch: Fetch::Collected, state_only: true, ..Limits::default() };
            let tail = Tail::open(&self.options, &self.topic, Checkpoint::default(), limits).await?;
            // After the tail, which ends if these are of another log.
            let description = topics::describe(&self.options, &self.topic, DESCRIBE_DEADLINE).await?;
            let ends = topics::watermarks(&self.options, &self.topic, DESCRIBE_DEADLINE).await?;
            // The connection is there by the time that a judgement or a repair asks.
            self.gate.logs().now(DESCRIBE_DEADLINE).await?;
            Ok::<_, Error>((description, ends, tail))
        };
        let mut opening = std::pin::pin!(opening);
        let opened = tokio::select! {
            opened = &mut opening => Some(opened),
            () = shutdown.requested() => tokio::time::timeout(OPENING_MAX, opening).await.ok(),
        };
        let Some(opened) = opened else { return Ok(()) };
        let (description, ends, mut tail) = opened?;
        let mut group = Group::new(self);
        let mut follower = Follower::new(self, tail.log().clone(), &description, &ends);
        let followed = tokio::select! {
            () = shutdown.requested() => Ok(()),
            Err(error) = follower.follow(&mut tail, &mut group, shutdown) => Err(error),
        };
        follower.end().await;
        group.leave().await;
        tail.close().await;
        followed
    }
}

async fn pause(shutdown: &Shutdown, duration: Duration) {
    tokio::select! {
        () = shutdown.requested() => {}
        () = tokio::time::sleep(duration) => {}
    }
}

async fn ready<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(wait: Option<Instant>) {
    match wait {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
