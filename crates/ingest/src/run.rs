//! The service: everything put together, started and stopped in order.

use std::sync::Arc;
use std::time::Duration;

use domain::topics::Spec;
use kafka::client::Probe;
use kafka::publish::Publisher;
use kafka::topics::{self, Severity};
use service::admin::{self, Readiness};
use service::serve::{self, serve};
use service::{Metrics, Shutdown, tls};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use upkeep::gate::{self, Gate};
use upkeep::keeper::{self, Keeper};

use crate::http::{self, Limits, Webhook};
use crate::metrics::{Counters, Summary};
use crate::{Config, Topics};

/// The sockets that ingest serves; it binds none itself.
#[derive(Debug)]
pub struct Listeners {
    pub webhooks: TcpListener,
    pub admin: TcpListener,
}

/// Why ingest does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("TLS cannot be used")]
    Tls(#[source] tls::Error),
    #[error("the Kafka client cannot be made")]
    Kafka(#[source] kafka::Fault),
    #[error("the topics are not what they must be: {0}")]
    Topics(String),
}

/// Readiness: the broker answers.
const KAFKA: &str = "kafka";
/// Readiness: the topics are what they must be.
const TOPICS: &str = "topics";
/// How often the broker is asked whether it is there.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// How long the stop waits for a question to the broker that is on its way.
const PROBE_END: Duration = Duration::from_secs(5);
/// The admin listener answers until the very end, then its few connections have this long.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// Receives webhooks until `shutdown`, then stops in order: not ready, no new connections, requests in flight finished, producer
/// flushed, every request accounted for. No thread of a Kafka client outlives it: a process that exits while the client library
/// is still closing a client can be aborted by the allocator.
///
/// # Errors
/// [`Error`] when it cannot start, or the topics turn out to be ones on which events would be lost.
pub async fn run(config: Config, listeners: Listeners, shutdown: Shutdown) -> Result<Summary, Error> {
    let tls = config.tls.tls().map_err(Error::Tls)?;
    let publisher = Publisher::open(&config.kafka, config.publish).map_err(Error::Kafka)?;
    let probe = Probe::new(&config.kafka, &config.topics.users).map_err(Error::Kafka)?;
    let metrics = Metrics::new();
    let readiness = Readiness::new(&[KAFKA, TOPICS]);
    let counters = Counters::register(&metrics);

    let admin_shutdown = Shutdown::new();
    let admin_limits = serve::Limits { drain: ADMIN_DRAIN, ..serve::Limits::default() };
    let admin_router = admin::router(readiness.clone(), metrics.clone());
    let admin = tokio::spawn(serve(listeners.admin, None, admin_limits, admin_router, admin_shutdown.clone()));

    let stop = Shutdown::new();
    let users = &config.topics.users;
    let gate = config.gate.then(|| Gate::new(&metrics));
    let mut followers = JoinSet::new();
    if let Some(gate) = &gate {
        followers.spawn(gate::run(gate.clone(), config.kafka.clone(), users.clone(), stop.clone()));
    }
    if config.keeper {
        let keeper = Keeper::new(config.kafka.clone(), users.clone(), publisher.clone(), http::now, &metrics);
        followers.spawn(keeper::run(keeper, stop.clone()));
    }
    let webhook = Arc::new(Webhook {
        policy: config.policy,
        publisher: publisher.clone(),
        topics: config.topics.clone(),
        limits: Limits {
            body_bytes_max: config.body_bytes_max,
            body_read: config.body_read,
            refused_is_ok: config.refused_is_ok,
        },
        counters: counters.clone(),
        gate,
        places: Semaphore::new(config.requests_max),
    });
    let router = metrics.instrument(http::router(&config.path, webhook));
    let server = tokio::spawn(serve(listeners.webhooks, tls, config.http, router, stop.clone()));

    let mut watching = std::pin::pin!(watch_kafka(&config.kafka, &config.topics, probe, &readiness, &stop));
    let mut watched = tokio::select! {
        () = shutdown.requested() => Ok(()),
        watched = &mut watching => watched,
    };

    readiness.lacks(KAFKA, "stopping");
    stop.trigger();
    let drained = server.await.expect("the accept loop does not panic");
    if watched.is_ok() {
        watched = tokio::time::timeout(PROBE_END, watching).await.unwrap_or(Ok(()));
    }
    followers.join_all().await;
    if let Err(error) = publisher.close(config.publish.deadline).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "records were left behind; their senders were not answered 200"
        );
    }
    admin_shutdown.trigger();
    admin.await.expect("the accept loop does not panic");
    let summary = counters.summary();
    tracing::info!(
        received = summary.received,
        accepted = summary.accepted,
        rejected = summary.rejected,
        unavailable = summary.unavailable,
        abandoned = summary.abandoned,
        connections.finished = drained.finished,
        connections.aborted = drained.aborted,
        "ingest stopped"
    );
    watched.map(|()| summary)
}

/// Keeps readiness true to what the broker says until `stop`, or until the topics turn out to be ones that must not be written to.
async fn watch_kafka(
    options: &kafka::ClientOptions,
    names: &Topics,
    probe: Probe,
    readiness: &Readiness,
    stop: &Shutdown,
) -> Result<(), Error> {
    let watched = watch(options, names, &probe, readiness, stop).await;
    probe.close().await;
    watched
}

async fn watch(
    options: &kafka::ClientOptions,
    names: &Topics,
    probe: &Probe,
    readiness: &Readiness,
    stop: &Shutdown,
) -> Result<(), Error> {
    let mut checked = false;
    loop {
        let answered = probe.cluster_answers(PROBE_DEADLINE).await;
        if stop.is_requested() {
            return Ok(());
        }
        match answered {
            Ok(()) => readiness.holds(KAFKA),
            Err(error) => readiness.lacks(KAFKA, error.to_string()),
        }
        if !checked {
            match check_topics(options, names).await {
                Ok(()) => {
                    checked = true;
                    readiness.holds(TOPICS);
                }
                Err(Check::Refused(error)) => return Err(error),
                Err(Check::Later(reason)) => readiness.lacks(TOPICS, reason),
            }
        }
        tokio::select! {
            () = stop.requested() => return Ok(()),
            () = tokio::time::sleep(PROBE_INTERVAL) => {}
        }
    }
}

enum Check {
    Refused(Error),
    Later(String),
}

async fn check_topics(options: &kafka::ClientOptions, names: &Topics) -> Result<(), Check> {
    // One partition and one replica are asked for: how many there are is the operator's business.
    let specs = Spec::contract(names, 1, 1);
    let findings =
        topics::check(options, &specs, PROBE_DEADLINE).await.map_err(|error| Check::Later(error.to_string()))?;
    let mut refused = Vec::new();
    for finding in findings {
        match finding.severity {
            Severity::Refuse => refused.push(finding.to_string()),
            Severity::Warn => tracing::warn!(%finding, "a topic is not what it should be"),
            Severity::Note => tracing::info!(%finding, "a topic cannot be checked in full"),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Check::Refused(Error::Topics(refused.join("; ")))) }
}
