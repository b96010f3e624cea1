//! The shell of a Rollcall process: what ingest and projector share around their work.
//!
//! ```text
//! config::load ──▶ validated configuration          telemetry::init ──▶ logs        metrics::Metrics ──▶ /metrics
//! Shutdown ──▶ serve::serve(listener, router) ──▶ Drained               admin::router(Readiness, Metrics)
//! ```
//!
//! Reading order:
//! - [`Shutdown`]: the one signal that everything waits for; only the command line connects it to SIGTERM.
//! - [`serve`]: the accept loop, with a limit on everything a peer can hold, and an orderly end; [`tls`] in front of it.
//! - [`admin`]: `/livez`, `/readyz`, `/metrics`.
//! - [`config`] and [`settings`]: file, environment and flags into one value, all faults reported together; [`origin`] is one of
//!   the checks.
//! - [`problem`]: errors as RFC 9457 tells them. [`secret`]: text that cannot print itself.
//! - [`telemetry`] and [`metrics`]: logs and numbers. [`answer`]: what layers of requests are made of.
//!
//! Invariant: a service neither binds a port nor installs a signal handler; it is given both.

#![forbid(unsafe_code)]

mod shutdown;

pub mod serve;

pub mod tls;

pub mod admin;

pub mod config;

pub mod settings;

pub mod origin;

pub mod problem;

pub mod secret;

pub mod telemetry;

pub mod metrics;

pub mod answer;

pub use metrics::Metrics;
pub use problem::Problem;
pub use secret::Secret;
pub use shutdown::Shutdown;
