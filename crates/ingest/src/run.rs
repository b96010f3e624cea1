//! The service: connects all parts.

use std::sync::Arc;
use std::time::Duration;

use domain::UnixMillis;
use domain::wire::{Flat, Framing};
use futures_util::FutureExt as _;
use kafka::publish::Publisher;
use service::partitions::PartitionCount;
use service::registry::{self, Patience, Schemas};
use service::serve::Drained;
use service::telemetry::Seldom;
use service::{Listeners, Metrics, Readiness, Service, Shutdown, tls};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use upkeep::{Gate, Upkeep};

use crate::Config;
use crate::http::{self, Receiver, RequestLimits};
use crate::metrics::{Counters, Summary};
use crate::watch::{self, ClusterWatch, KAFKA, TOPICS};

/// The reason why ingest does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("TLS cannot be used")]
    Tls(#[source] tls::Error),
    #[error("the Kafka client cannot be created")]
    Kafka(#[source] kafka::Fault),
    #[error("the topics do not meet their contract")]
    Topics(#[source] watch::TopicsRefused),
    #[error("the schema registry cannot be used")]
    Registry(#[source] registry::Error),
}

/// Receives webhooks until `shutdown`, then stops in the order of [`service::run`]. The last step flushes the producer,
/// and the last log line accounts for every request. `clock` stamps arrivals and repairs.
///
/// No thread of a Kafka client outlives this function. If a process exits while librdkafka closes a client, the
/// allocator can abort it.
///
/// # Errors
/// [`Error`] when it cannot start, or when events would be lost on the topics as they are configured.
pub async fn run(
    config: Config,
    listeners: Listeners,
    clock: fn() -> UnixMillis,
    shutdown: Shutdown,
) -> Result<Summary, Error> {
    let tls = config.http.tls().map_err(Error::Tls)?;
    let (metrics, readiness, stop) = (Metrics::new(), Readiness::new(&[KAFKA, TOPICS]), Shutdown::new());
    let (schemas, framing, flat) = register(&config, &metrics).await.map_err(Error::Registry)?;
    let publisher = Publisher::open(&config.kafka, config.publish).map_err(Error::Kafka)?;
    let partitions = PartitionCount::new(&config.topics.users, Some(config.partitions));
    metrics.register(|registry| partitions.register(registry));
    let watch = ClusterWatch::new(&config.kafka, &config.topics, &readiness, partitions).map_err(Error::Kafka)?;
    let counters = Counters::register(&metrics);
    let repairer = config.keeper.then(|| publisher.clone());
    let upkeep = Upkeep::new(config.kafka.clone(), config.topics.clone(), repairer, clock, &metrics);
    let upkeep = upkeep.with_schemas(&schemas).with_state_topic(&config.topics, flat, &metrics);
    let gate = upkeep.gate();
    let logs = gate.logs().clone();

    let mut parts = JoinSet::new();
    parts.spawn(watch.run(stop.clone()).map(|watched| watched.map_err(Error::Topics)));
    parts.spawn(upkeep.run(stop.clone()).map(Ok));

    let (deadline, limits, path) = (config.publish.deadline, config.limits, config.path.clone());
    let methods = config.methods;
    let sender = &config.policy.sender;
    let preferred = [config.preferred.as_slice(), &sender.allowed, &sender.trusted_proxies].concat();
    let receiver = receiver(config, framing, publisher.clone(), gate, counters.clone(), clock);
    let router = http::router(&path, methods, Arc::new(receiver));
    let service = Service { router, tls, limits, preferred, metrics, readiness, parts, stop };
    let stopped = service.run(listeners, &shutdown, flush(&publisher, deadline)).await;
    logs.close().await;
    let summary = counters.summary();
    account(&summary, stopped.connections);
    stopped.outcome.map(|()| summary)
}

/// Returns the schemas of the registry, the framing in which events are written, and the format of the state topic.
async fn register(config: &Config, metrics: &Metrics) -> Result<(Schemas, Framing, Flat), registry::Error> {
    let (users, late) = (config.topics.users.as_str(), config.topics.late.as_str());
    let schemas = Schemas::open(config.registry.clone(), users, Patience::SERVICE, metrics).await?;
    let framing = schemas.register(&[users, late]).await?;
    let flat = match &config.topics.state {
        Some(topic) => schemas.register_state(topic).await?,
        None => Flat::default(),
    };
    Ok((schemas, framing, flat))
}

fn receiver(
    config: Config,
    framing: Framing,
    publisher: Publisher,
    gate: Gate,
    counters: Counters,
    clock: fn() -> UnixMillis,
) -> Receiver {
    let limits = RequestLimits {
        body_bytes_max: config.body_bytes_max,
        body_read: config.body_read,
        refused_is_ok: config.refused_is_ok,
    };
    let places = Semaphore::new(config.requests_max);
    let Config { policy, topics, .. } = config;
    let (seldom, strangers) = (Seldom::default(), Seldom::default());
    Receiver { policy, publisher, topics, framing, limits, counters, gate, clock, places, seldom, strangers }
}

/// Waits until no record waits for its acknowledgement. A remaining record is not a failure: its sender got no 200.
async fn flush(publisher: &Publisher, deadline: Duration) -> Result<(), Error> {
    if let Err(error) = publisher.close(deadline).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "records were not acknowledged; their senders got no 200"
        );
    }
    Ok(())
}

fn account(summary: &Summary, connections: Drained) {
    debug_assert!(summary.adds_up(), "a request is missing or counted twice: {summary:?}");
    tracing::info!(
        received = summary.received,
        accepted = summary.accepted,
        rejected = summary.rejected,
        unavailable = summary.unavailable,
        abandoned = summary.abandoned,
        connections.finished = connections.finished,
        connections.aborted = connections.aborted,
        "ingest stopped"
    );
}
