//! Webhook in, Kafka record out.
//!
//! A request to the webhook's path goes through five stages, a file each; each takes the type that the one before it made:
//!
//! ```text
//! http.rs ──▶ RawRequest                       the head
//!   │ pipeline/authenticate  ──▶ Sender        the secret, and where it comes from; only then a place, and the body: Authentic
//!   │ pipeline/decrypt       ──▶ Plaintext     as PHP's openssl_decrypt
//!   │ pipeline/parse         ──▶ Delivery      JSON, and no password any more
//!   │ pipeline/validate      ──▶ UserEvent
//!   ▼
//! gate.rs               stale or stored already?
//!   ▼
//! publish.rs ──▶ Kafka ──acknowledged──▶ 200          keeper.rs   repairs what came late, so that the log converges
//! ```
//!
//! What is refused ends as a [`Rejection`], the one list of reasons with status, label and text; what is worth keeping of it is
//! written to the dead-letter topic first ([`dead_letter`]). [`run`] puts it all together; [`Config`] says how.
//!
//! Invariants: never 200 before the acknowledgement, which is the dead letter's where `refused_is_ok` is set; no password past
//! `parse`; every request is counted exactly once.

#![forbid(unsafe_code)]

mod rejection;

pub mod transport;

mod users;

pub mod pipeline;

pub mod dead_letter;

mod answer;

mod metrics;

mod http;

pub mod config;

mod run;

pub use config::Config;
pub use metrics::Summary;
pub use rejection::Rejection;
pub use run::{Error, Listeners, run};

/// The names of the topics.
pub use domain::topics::Names as Topics;
