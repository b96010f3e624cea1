//! The skeleton of both services: the start, the reasons to stop, and the order of the stop.
//!
//! | step of the stop | bounded by |
//! | --- | --- |
//! | not ready: a load balancer turns away, while requests are answered as before | [`ServerLimits::close_delay`] |
//! | no new connections; requests in flight finish | [`ServerLimits::drain`] |
//! | the parts beside the server end | `PARTS_END` |
//! | the service's own last step: flush, or the last commit | the service |
//! | no admin routes | `ADMIN_DRAIN` |
//!
//! The admin routes answer until the end, so that an operator can observe a slow stop. The service itself accounts for
//! its requests.

use std::time::Duration;

use axum::Router;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tower::layer::layer_fn;

use crate::admin::{self, Readiness};
use crate::browsers::Restricted;
use crate::leaving::{Leaving, LeavingAnswers};
use crate::serve::{Drained, Places, ServerLimits, serve};
use crate::tls::Tls;
use crate::trace::Traced;
use crate::{Metrics, Shutdown, resources};

/// The time that the parts of a service have to end after a stop is requested. Then they are aborted.
const PARTS_END: Duration = Duration::from_secs(30);
/// The time that the connections of the admin listener have to finish.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);
/// The places of the admin listener, which are its own: probes, and whoever reads metrics.
const ADMIN_CONNECTIONS_MAX: usize = 128;
const ADMIN_CONNECTIONS_PER_SOURCE_MAX: usize = 32;

/// The sockets of a service, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    pub http: TcpListener,
    pub admin: TcpListener,
}

/// A service that is ready to run: its routes, and the parts that work beside its server.
#[derive(Debug)]
pub struct Service<E> {
    pub router: Router,
    pub tls: Option<Tls>,
    pub limits: ServerLimits,
    /// The networks whose connections are preferred: see [`Places`].
    pub preferred: Vec<IpNet>,
    pub metrics: Metrics,
    pub readiness: Readiness,
    /// Each part ends when `stop` is requested. A part that ends earlier, or fails, stops the service.
    pub parts: JoinSet<Result<(), E>>,
    /// Requested by [`Service::run`] when the service must stop, for any reason.
    pub stop: Shutdown,
}

/// The result of a service that has stopped.
#[derive(Debug)]
pub struct Stopped<E> {
    pub connections: Drained,
    /// The first error of a part, otherwise the error of the last step.
    pub outcome: Result<(), E>,
}

impl<E: Send + 'static> Service<E> {
    /// Runs the service until `shutdown` or the end of a part, then stops it in order. `last` is the service's own last
    /// step.
    ///
    /// # Panics
    /// When a part has panicked.
    pub async fn run(
        self,
        listeners: Listeners,
        shutdown: &Shutdown,
        last: impl Future<Output = Result<(), E>>,
    ) -> Stopped<E> {
        if let (None, Ok(address)) = (&self.tls, listeners.http.local_addr())
            && !address.ip().is_loopback()
        {
            tracing::warn!(
                %address,
                "plain HTTP beyond the loopback: whoever is on the way reads secrets, tokens and users; set \
                 http.tls_certificate_file, or put a TLS proxy in front"
            );
        }
        let Self { router, tls, limits, preferred, metrics, readiness, mut parts, stop } = self;
        let admin_stop = Shutdown::new();
        let limits = resources::fit(limits);
        let admin_limits = ServerLimits {
            connections_max: ADMIN_CONNECTIONS_MAX,
            connections_per_source_max: ADMIN_CONNECTIONS_PER_SOURCE_MAX,
            drain: ADMIN_DRAIN,
            ..ServerLimits::default()
        };
        let restricted = || layer_fn(|within| Restricted { within });
        let admin_router = admin::router(readiness.clone(), metrics.clone()).layer(restricted());
        let admin = tokio::spawn({
            let (places, stop) = (Places::new(&admin_limits, Vec::new()), admin_stop.clone());
            async move { serve(listeners.admin, None, admin_limits, &places, admin_router, stop).await }
        });
        if let Some(tls) = &tls {
            metrics.register(|registry| tls.register(registry));
        }
        let places = Places::new(&limits, preferred);
        places.register(&metrics);
        let leaving = Leaving::default();
        let server = tokio::spawn({
            let answers = leaving.clone();
            let router = router.layer(layer_fn(move |within| LeavingAnswers { within, leaving: answers.clone() }));
            let router = metrics.instrument(router.layer(restricted()));
            let (router, stop) = (router.layer(layer_fn(|within| Traced { within })), stop.clone());
            async move { serve(listeners.http, tls, limits, &places, router, stop).await }
        });

        let mut outcome = tokio::select! {
            () = shutdown.requested() => Ok(()),
            Some(ended) = parts.join_next() => outcome_of(ended),
        };

        readiness.end();
        leaving.begin();
        if shutdown.is_requested() && outcome.is_ok() {
            outcome = tokio::select! {
                () = tokio::time::sleep(limits.close_delay) => Ok(()),
                Some(ended) = parts.join_next() => outcome_of(ended),
            };
        }
        stop.trigger();
        let connections = server.await.expect("the accept loop does not panic");
        outcome = outcome.and(end(parts).await);
        outcome = outcome.and(last.await);
        admin_stop.trigger();
        admin.await.expect("the accept loop does not panic");
        Stopped { connections, outcome }
    }
}

/// Waits for the end of all parts. Returns the first error.
async fn end<E: 'static>(mut parts: JoinSet<Result<(), E>>) -> Result<(), E> {
    let mut outcome = Ok(());
    let all_ended = async {
        while let Some(ended) = parts.join_next().await {
            outcome = std::mem::replace(&mut outcome, Ok(())).and(outcome_of(ended));
        }
    };
    if tokio::time::timeout(PARTS_END, all_ended).await.is_err() {
        tracing::warn!(parts = parts.len(), "the stop deadline has passed: parts of the service are aborted");
        parts.shutdown().await;
    }
    outcome
}

/// Returns the outcome of a part. Resumes its panic.
fn outcome_of<E>(ended: Result<Result<(), E>, JoinError>) -> Result<(), E> {
    ended.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_cut_off) => Ok(()),
    })
}
