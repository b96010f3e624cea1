//! The service: the projection, its HTTP side and its admin side, from start to stop.

use domain::Checkpoint;
use service::admin::{self, Readiness};
use service::{Metrics, Shutdown, serve, tls};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::error;
use crate::http;
use crate::phase::Phase;
use crate::projection::Projection;

/// The one condition of readiness: the table has been read to where the log ended at start.
const TABLE: &str = "table";

/// The sockets, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    pub http: TcpListener,
    pub admin: TcpListener,
}

/// The result of a run.
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
    #[error("TLS cannot be offered")]
    Tls(#[source] tls::Error),
}

/// Serves the current state of every user until the shutdown.
///
/// Stops in this order: not ready, no new connections, requests in flight finished, the last commit made, the store
/// closed.
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
    let Listeners { http, admin } = listeners;
    let tls = config.tls.tls().map_err(Error::Tls)?;
    let metrics = Metrics::new();
    let readiness = Readiness::new(&[TABLE]);
    let projection = Projection::open(config.projection).map_err(Error::Projection)?;
    watch(&projection);
    metrics.register(|registry| projection.shared.metrics.register(registry));

    // The admin side outlives the HTTP side, so that it shows the stop.
    let admin_shutdown = Shutdown::new();
    let admin_routes = admin::router(readiness.clone(), metrics.clone());
    let admin_side = tokio::spawn(serve::serve(admin, None, config.http, admin_routes, admin_shutdown.clone()));
    let ready = tokio::spawn(report(projection.clone(), readiness.clone()));
    let failed = {
        let (projection, shutdown) = (projection.clone(), shutdown.clone());
        tokio::spawn(async move {
            projection.ended().await;
            shutdown.trigger();
        })
    };

    let routes = http::router(projection.clone(), shutdown.clone(), &config.cors_origins);
    let drained = serve::serve(http, tls, config.http, metrics.instrument(routes), shutdown.clone()).await;
    ready.abort();
    readiness.lacks(TABLE, "the service is stopping");
    let checkpoint = projection.checkpoint();
    let closed = projection.close().await;
    failed.abort();
    admin_shutdown.trigger();
    if let Err(error) = admin_side.await {
        tracing::error!(%error, "the admin side ended badly");
    }
    closed.map_err(Error::Projection)?;
    tracing::info!(%checkpoint, connections.aborted = drained.aborted, "stopped");
    Ok(Summary { checkpoint, connections_aborted: drained.aborted })
}

/// Keeps the readiness what the projection's phase says.
async fn report(projection: Projection, readiness: Readiness) {
    let mut phase = projection.phase();
    loop {
        let now = phase.borrow_and_update().clone();
        match now {
            Phase::Following => readiness.holds(TABLE),
            other => readiness.lacks(TABLE, other.to_string()),
        }
        if phase.changed().await.is_err() {
            return;
        }
    }
}
