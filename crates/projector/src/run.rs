//! The service: the projection, its HTTP side and its admin side, put together.

use std::sync::Arc;
use std::time::Duration;

use domain::{Checkpoint, UnixMillis};
use futures_util::FutureExt as _;
use kafka::client::{CredentialsWatch, Probe};
use service::deviations::Deviations;
use service::permissions::MissingPermissions;
use service::registry::{self, Patience, Schemas};
use service::{Listeners, Metrics, Readiness, Service, Shutdown, cgroup, resources, tls};
use tokio::task::JoinSet;

use crate::auth::{Access, AuthError, Denials, Readers, Shares};
use crate::config::{Config, log_memory, subscribers_max};
use crate::contents::ContentsCollector;
use crate::error;
use crate::facts::Facts;
use crate::facts::collector::FactsCollector;
use crate::http::{self, Admits, Gate, Trail};
use crate::options::Options;
use crate::phase::Phase;
use crate::projection::Projection;
use crate::watch::ClusterWatch;

/// Readiness: the table has been read to where the log ended at start, and is not too old.
const TABLE: &str = "table";
/// Readiness: no partition is behind because the Kafka client had stopped to fetch it.
const READER: &str = "reader";
/// How often the age of the table is looked at.
const AGE_INTERVAL: Duration = Duration::from_secs(1);

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub checkpoint: Checkpoint,
    pub connections_aborted: usize,
}

/// Why a service could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the projection has failed")]
    Projection(#[source] error::Error),
    #[error("TLS cannot be used")]
    Tls(#[source] tls::Error),
    #[error("the schema registry cannot be used")]
    Registry(#[source] registry::Error),
    #[error("nobody is admitted")]
    Auth(#[source] AuthError),
}

/// Serves the current state of every user until `shutdown`, then stops in the order of [`service::run`]; the last step
/// makes the last commit and closes the store.
///
/// # Errors
/// [`Error`] when the folder or the topic cannot be used, or the projection fails on the way.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<Summary, Error> {
    run_watched(config, listeners, shutdown, |_| ()).await
}

/// As [`run`], and shows the projection to `watch` as soon as it begins, before it is ready.
///
/// # Errors
/// As [`run`].
pub async fn run_watched(
    config: Config,
    listeners: Listeners,
    shutdown: Shutdown,
    watch: impl FnOnce(&Projection),
) -> Result<Summary, Error> {
    let tls = config.http.tls().map_err(Error::Tls)?;
    let (metrics, readiness, stop) = (Metrics::new(), Readiness::new(&[TABLE, READER]), Shutdown::new());
    let mut parts = JoinSet::new();
    let credentials = CredentialsWatch::begin(&config.projection.kafka);
    parts.spawn(credentials.run(stop.clone().until_requested()).map(Ok));
    let gate = gate(config.access, &listeners, config.projection.clock, &metrics, &mut parts, &stop)?;
    let users = &config.projection.topic;
    let schemas = Schemas::open(config.registry, users, Patience::SERVICE, &metrics).await.map_err(Error::Registry)?;
    log_memory(cgroup::memory(), &config.projection);
    let limits = resources::fit(config.limits);
    let subscribers_max = subscribers_max(config.projection.subscribers_max, &limits);
    let options = Options { schemas, subscribers_max, ..config.projection };
    let projection = Projection::open(options).map_err(Error::Projection)?;
    watch(&projection);
    metrics.register(|registry| {
        projection.shared.metrics.register(registry);
        projection.shared.partitions.register(registry);
        projection.shared.readers_reopened.register(registry);
        registry.register_collector(Box::new(FactsCollector(Arc::clone(&projection.shared.facts))));
        registry.register_collector(Box::new(ContentsCollector(Arc::clone(&projection.shared))));
    });

    parts.spawn(report(projection.clone(), readiness.clone(), stop.clone()));
    let watching = cluster_watch(&projection, &readiness, &metrics)?.run(stop.clone());
    parts.spawn(watching.map(Ok));

    let router =
        http::router(projection.clone(), stop.clone(), readiness.clone(), gate, config.hosts, &config.cors_origins);
    let preferred = config.preferred;
    let service = Service { router, tls, limits, preferred, metrics, readiness, parts, stop };
    let last = async { projection.close().await.map_err(Error::Projection) };
    let stopped = service.run(listeners, &shutdown, last).await;
    let summary = Summary { checkpoint: projection.checkpoint(), connections_aborted: stopped.connections.aborted };
    tracing::info!(
        checkpoint = %summary.checkpoint,
        connections.finished = stopped.connections.finished,
        connections.aborted = stopped.connections.aborted,
        "projector stopped"
    );
    stopped.outcome.map(|()| summary)
}

/// Returns the watch of the cluster, with its metrics.
fn cluster_watch(projection: &Projection, readiness: &Readiness, metrics: &Metrics) -> Result<ClusterWatch, Error> {
    let options = &projection.shared.options;
    let probe = Probe::new(&options.kafka, &options.topic)
        .map_err(|fault| Error::Projection(error::Error::Options(fault.to_string())))?;
    let (permissions, deviations) = (MissingPermissions::new(readiness), Deviations::new(readiness));
    metrics.register(|registry| {
        permissions.register(registry);
        deviations.register(registry);
    });
    Ok(ClusterWatch { projection: projection.clone(), probe, permissions, deviations })
}

/// Returns who may ask. What is read again meanwhile becomes a part of the service.
fn gate(
    access: Access,
    listeners: &Listeners,
    clock: fn() -> UnixMillis,
    metrics: &Metrics,
    parts: &mut JoinSet<Result<(), Error>>,
    stop: &Shutdown,
) -> Result<Gate, Error> {
    let (denials, trail) = (Denials::default(), Trail::default());
    metrics.register(|registry| denials.register(registry));
    parts.spawn(trail.clone().follow(stop.clone()).map(Ok));
    if access.is_for_everybody() {
        if let Ok(address) = listeners.http.local_addr() {
            if !access.may_listen_on(address) {
                return Err(Error::Auth(AuthError::Open(address)));
            }
            tracing::info!(%address, "without [auth], everybody who reaches this address may read everything");
        }
        return Ok(Gate { admits: Admits::Everybody, denials, trail });
    }
    let shares = Shares::new(access.shares);
    let (readers, followers) = Readers::open(access, clock, &denials, stop).map_err(Error::Auth)?;
    for follower in followers {
        parts.spawn(follower.map(Ok));
    }
    Ok(Gate { admits: Admits::Readers { readers: Box::new(readers), shares }, denials, trail })
}

/// Keeps readiness true to phase and age of the table until `stop`, or until the projection has ended by itself.
async fn report(projection: Projection, readiness: Readiness, stop: Shutdown) -> Result<(), Error> {
    let (shared, mut phase, mut stalled) =
        (&projection.shared, projection.phase(), projection.shared.stalled.subscribe());
    loop {
        let partitions = stalled.borrow_and_update().clone();
        if partitions.is_empty() {
            readiness.holds(READER);
        } else {
            readiness.lacks(
                READER,
                format!("behind on partitions {partitions:?}, which the Kafka client had stopped to fetch"),
            );
        }
        let now = phase.borrow_and_update().clone();
        let facts = shared.facts.lock().clone();
        if matches!(now, Phase::Failed { .. } | Phase::Ended) {
            return Ok(());
        }
        match lacking(&now, &facts, shared.indexes_missing(), shared.now(), shared.options.behind_max) {
            None => readiness.holds(TABLE),
            Some(reason) => readiness.lacks(TABLE, reason),
        }
        tokio::select! {
            () = stop.requested() => return Ok(()),
            changed = phase.changed() => if changed.is_err() { return Ok(()) },
            changed = stalled.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(AGE_INTERVAL) => {}
        }
    }
}

/// Returns why the table cannot be relied on. While the cluster answers, it must have been read to where the log ended
/// at start. While it does not, that cannot be known, and what is there counts, if it is not too old. In any case every
/// route must answer: no index is missing.
fn lacking(
    phase: &Phase,
    facts: &Facts,
    indexes_missing: usize,
    now: UnixMillis,
    behind_max: Duration,
) -> Option<String> {
    let is_silent = facts.is_silent();
    match phase {
        Phase::Following => facts.behind(now, behind_max),
        Phase::Stored { .. } | Phase::CatchingUp if is_silent && indexes_missing == 0 => facts.behind(now, behind_max),
        other => Some(facts.with_trouble(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_counts_while_the_cluster_is_away() {
        const MAX: Duration = Duration::from_secs(60);
        let at = |seconds: i64| UnixMillis::from_millis(seconds * 1_000);
        let stored = Phase::Stored { waits_for: "the cluster".to_owned() };
        let mut facts = Facts::default();
        facts.begin(&"0:5".parse().unwrap(), at(10));
        assert!(lacking(&stored, &facts, 0, at(20), MAX).unwrap().contains("waiting for the cluster"));
        assert!(lacking(&Phase::CatchingUp, &facts, 0, at(20), MAX).is_some());
        facts.unanswered(None);
        for phase in [&stored, &Phase::CatchingUp, &Phase::Following] {
            assert_eq!(lacking(phase, &facts, 0, at(70), MAX), None, "{phase}");
            assert!(lacking(phase, &facts, 0, at(71), MAX).unwrap().contains("more than 60 s ago"), "{phase}");
        }
        assert!(lacking(&stored, &facts, 1, at(20), MAX).is_some(), "an index is missing");
        assert!(lacking(&Phase::Indexing { missing: 1 }, &facts, 1, at(20), MAX).is_some());
        let starting = Phase::Starting { waits_for: "the cluster".to_owned() };
        assert!(lacking(&starting, &Facts::default(), 0, at(20), MAX).is_some());
    }
}
