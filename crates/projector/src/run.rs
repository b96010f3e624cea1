//! The service: the projection, its HTTP side and its admin side, put together.

use domain::Checkpoint;
use service::registry::{self, Patience, Schemas};
use service::{Listeners, Metrics, Readiness, Service, Shutdown, tls};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::error;
use crate::http;
use crate::options::Options;
use crate::phase::Phase;
use crate::projection::Projection;

/// Readiness: the table has been read to where the log ended at start.
const TABLE: &str = "table";

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
    let (metrics, readiness, stop) = (Metrics::new(), Readiness::new(&[TABLE]), Shutdown::new());
    let users = &config.projection.topic;
    let schemas = Schemas::open(config.registry, users, Patience::SERVICE, &metrics).await.map_err(Error::Registry)?;
    let projection = Projection::open(Options { schemas, ..config.projection }).map_err(Error::Projection)?;
    watch(&projection);
    metrics.register(|registry| {
        projection.shared.metrics.register(registry);
        projection.shared.partitions.register(registry);
    });

    let mut parts = JoinSet::new();
    parts.spawn(report(projection.clone(), readiness.clone(), stop.clone()));

    let router = http::router(projection.clone(), stop.clone(), &config.cors_origins);
    let (limits, preferred) = (config.limits, config.preferred);
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

/// Keeps readiness true to the phase of the projection until `stop`, or until the projection has ended by itself.
async fn report(projection: Projection, readiness: Readiness, stop: Shutdown) -> Result<(), Error> {
    let mut phase = projection.phase();
    loop {
        let now = phase.borrow_and_update().clone();
        match now {
            Phase::Following => readiness.holds(TABLE),
            Phase::Failed { .. } | Phase::Ended => return Ok(()),
            other => readiness.lacks(TABLE, other.to_string()),
        }
        tokio::select! {
            () = stop.requested() => return Ok(()),
            changed = phase.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}
