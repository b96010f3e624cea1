//! The shell of a Rollcall process: the parts that ingest and projector share.
//!
//! ```text
//! config::load ──▶ raw ──▶ validated configuration      telemetry::init ──▶ logs      Metrics ──▶ /metrics
//! Service { router, parts, .. }.run(listeners, shutdown, last) ──▶ Stopped            Readiness ──▶ /readyz
//! ```
//!
//! Reading order:
//! - [`run`]: the skeleton of both services, from the first request to the last step of the stop. [`Shutdown`] is the
//!   one stop signal of a process. Only the command line connects it to SIGTERM.
//! - [`serve`]: the accept loop, with a limit on every resource that a peer can hold, and an orderly stop. [`tls`]: TLS
//!   in front of it. [`hosts`]: the names by which it may be asked; `browsers`: what browsers may do with its answers;
//!   `leaving`: answers before the listener closes.
//! - [`cgroup`] and [`resources`]: the limits on memory, files and threads that the process is given.
//! - [`admin`]: `/livez`, `/readyz`, `/metrics`.
//! - [`config`] and [`settings`]: file, environment and flags become one value, with all faults reported together.
//!   [`origin`] checks the origins of web pages. [`secret`]: text that does not print itself.
//! - [`registry`]: the schemas that records name by an id. [`oauth`]: tokens for Kafka. [`client`] asks a server.
//! - [`problem`]: errors in the format of RFC 9457. [`busy`]: the answer when a place is missing. [`answer`]: hooks on
//!   each response. [`telemetry`] and [`metrics`]; [`trace`]: the trace of a request.
//!   [`partitions`]: a part of the topics' contract that both services watch. [`readers`] of Kafka that were reopened.
//!   [`permissions`] that are missing, and [`deviations`] of the topics while a service runs.
//!
//! Invariant: a service does not bind ports, install signal handlers or read the clock. Its caller provides all three.
//!
//! ```
//! use service::{Listeners, Metrics, Readiness, Service, Shutdown};
//! use tokio::{net::TcpListener, task::JoinSet};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let (readiness, stop) = (Readiness::new(&["data"]), Shutdown::new());
//! let mut parts = JoinSet::new();
//! parts.spawn({
//!     let (readiness, stop) = (readiness.clone(), stop.clone());
//!     async move {
//!         readiness.holds("data");
//!         stop.requested().await;
//!         Ok::<(), std::io::Error>(())
//!     }
//! });
//! let router = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
//! let (limits, preferred) = (Default::default(), Vec::new());
//! let service = Service { router, tls: None, limits, preferred, metrics: Metrics::new(), readiness, parts, stop };
//!
//! let bind = || TcpListener::bind("127.0.0.1:0");
//! let listeners = Listeners { http: bind().await?, admin: bind().await? };
//! let shutdown = Shutdown::new();
//! shutdown.trigger();
//! let stopped = service.run(listeners, &shutdown, async { Ok(()) }).await;
//! assert_eq!(stopped.connections.aborted, 0);
//! stopped.outcome
//! # }
//! ```

#![forbid(unsafe_code)]

mod shutdown;

pub mod run;

pub mod serve;

pub mod tls;

mod pem;

pub mod hosts;

mod browsers;

pub mod admin;

pub mod config;

pub mod settings;

pub mod origin;

pub mod deviations;

pub mod partitions;

pub mod permissions;

pub mod readers;

pub mod problem;

pub mod secret;

pub mod telemetry;

pub mod metrics;

pub mod cgroup;

pub mod resources;

pub mod answer;

pub mod busy;

mod leaving;

pub mod trace;

pub mod client;

pub mod registry;

pub mod oauth;

pub use admin::Readiness;
pub use metrics::Metrics;
pub use problem::Problem;
pub use run::{Listeners, Service, Stopped};
pub use secret::Secret;
pub use shutdown::Shutdown;
