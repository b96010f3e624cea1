//! The service: connects all parts.

use std::sync::Arc;
use std::time::Duration;

use domain::UnixMillis;
use domain::wire::{Flat, Framing};
use futures_util::FutureExt as _;
use kafka::client::{CredentialsWatch, Probe};
use kafka::publish::Publisher;
use parking_lot::Mutex;
use service::deviations::{Deviations, TOPICS};
use service::partitions::PartitionCount;
use service::permissions::MissingPermissions;
use service::registry::{self, Patience, Schemas};
use service::serve::Drained;
use service::telemetry::Seldom;
use service::{Listeners, Metrics, Readiness, Service, Shutdown, tls};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use upkeep::{Gate, Upkeep};

use crate::Config;
use crate::dead_letter::LetterCount;
use crate::http::{self, Receiver, RequestLimits};
use crate::memory;
use crate::metrics::{Counters, Summary};
use crate::refused::Refused;
use crate::transport::{BodyPolicy, Budget};
use crate::watch::{self, ClusterWatch, KAFKA};

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
    warn_of_key_streams(&config.policy.body);
    let (metrics, readiness, stop) = (Metrics::new(), Readiness::new(&[KAFKA, TOPICS]), Shutdown::new());
    let credentials = CredentialsWatch::begin(&config.kafka);
    let (schemas, framing, flat) = register(&config, &metrics).await.map_err(Error::Registry)?;
    let publisher = Publisher::open(&config.kafka, config.publish).map_err(Error::Kafka)?;
    let refused = Arc::<Refused>::default();
    let permissions = MissingPermissions::new(&readiness);
    metrics.register(|registry| permissions.register(registry));
    let watch = watch(&config, &readiness, &refused, permissions.clone(), &metrics).map_err(Error::Kafka)?;
    let counters = Counters::register(&metrics);
    let letters = LetterCount::register(&config.kafka, &config.topics.dead_letter, &metrics);
    let repairer = config.keeper.then(|| publisher.clone());
    let upkeep = Upkeep::new(config.kafka.clone(), config.topics.clone(), repairer, clock, &metrics);
    let upkeep =
        upkeep.with_permissions(permissions).with_schemas(&schemas).with_state_topic(&config.topics, flat, &metrics);
    let gate = upkeep.gate();
    let logs = gate.logs().clone();

    let mut parts = JoinSet::new();
    parts.spawn(credentials.run(stop.clone().until_requested()).map(Ok));
    parts.spawn(watch.run(stop.clone()).map(|watched| watched.map_err(Error::Topics)));
    parts.spawn(upkeep.run(stop.clone()).map(Ok));
    parts.spawn(letters.run(stop.clone()).map(Ok));
    parts.spawn(memory::watch(gate.clone(), stop.clone()).map(Ok));

    let (deadline, limits, path) = (config.publish.deadline, config.limits, config.path.clone());
    let methods = config.methods;
    let sender = &config.policy.sender;
    let preferred = [config.preferred.as_slice(), &sender.allowed, &sender.trusted_proxies].concat();
    let receiver = receiver(config, framing, publisher.clone(), gate, counters.clone(), clock, refused);
    parts.spawn(Arc::clone(&receiver.refusals).watch(stop.clone()).map(Ok));
    let router = http::router(&path, methods, Arc::new(receiver));
    let service = Service { router, tls, limits, preferred, metrics, readiness, parts, stop };
    let stopped = service.run(listeners, &shutdown, flush(&publisher, deadline)).await;
    logs.close().await;
    let summary = counters.summary();
    account(&summary, stopped.connections);
    stopped.outcome.map(|()| summary)
}

/// Returns the watch of the cluster, with its metrics.
fn watch(
    config: &Config,
    readiness: &Readiness,
    refused: &Arc<Refused>,
    permissions: MissingPermissions,
    metrics: &Metrics,
) -> Result<ClusterWatch, kafka::Fault> {
    let partitions = PartitionCount::new(&config.topics.users, Some(config.partitions));
    let deviations = Deviations::new(readiness);
    metrics.register(|registry| {
        partitions.register(registry);
        deviations.register(registry);
    });
    Ok(ClusterWatch {
        options: config.kafka.clone(),
        topics: config.topics.clone(),
        keeps: config.keeper,
        readiness: readiness.clone(),
        partitions,
        refused: Arc::clone(refused),
        permissions,
        deviations,
        probe: Probe::new(&config.kafka, &config.topics.users)?,
    })
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
    refused: Arc<Refused>,
) -> Receiver {
    let limits = RequestLimits {
        body_bytes_max: config.body_bytes_max,
        body_read: config.body_read,
        refused_is_ok: config.refused_is_ok,
    };
    let places = Semaphore::new(config.requests_max);
    let Config { hosts, policy, topics, .. } = config;
    let is_limited = !policy.body.keys.is_empty() && policy.sender.allowed.is_empty();
    let budget = is_limited.then(|| Mutex::new(Budget::new(config.undecryptable_per_minute)));
    Receiver {
        hosts,
        policy,
        publisher,
        topics,
        framing,
        limits,
        counters,
        gate,
        clock,
        places,
        budget,
        seldom: Seldom::default(),
        refused,
        refusals: Arc::default(),
    }
}

/// Warns of ciphers that may use a key stream twice, which reveals both bodies to whoever sees them.
fn warn_of_key_streams(policy: &BodyPolicy) {
    let streams = policy.keys.iter().map(|key| &key.cipher).filter(|cipher| cipher.is_stream());
    for cipher in streams {
        let cipher_name = cipher.name();
        if !cipher.takes_iv() {
            tracing::warn!(cipher = cipher_name, "each body has the same key stream: use a cipher that takes a vector");
        } else if !policy.require_iv {
            tracing::warn!(
                cipher = cipher_name,
                "bodies without an iv have the same key stream: set random vectors at the vendor, then \
                 security.require_iv = true"
            );
        }
    }
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
