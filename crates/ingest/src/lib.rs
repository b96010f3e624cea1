//! Webhook in, Kafka record out.
//!
//! A request passes five stages, one file each. Each stage takes the type that the previous one returns:
//!
//! ```text
//! http.rs ──▶ RawRequest                       the head
//!   │ transport/authenticate ──▶ Sender        checks secret and source; only then the body is read: Authentic
//!   │ transport/decrypt      ──▶ Plaintext     like PHP's openssl_decrypt
//!   │ transport/parse        ──▶ Delivery      strict JSON, passwords removed
//!   │ users/validate         ──▶ UserEvent
//!   ▼
//! upkeep::gate          superseded or already stored?
//!   ▼
//! users/publish ──▶ Kafka ──acknowledged──▶ 200
//! ```
//!
//! `transport` serves any webhook of this vendor and does not depend on `users`, the user webhook. [`pipeline`] joins
//! the two. A refused request ends as a [`Rejection`], the one list of reasons with status, label and text. An
//! unreadable body is first written to the dead-letter topic ([`dead_letter`]). [`run()`] connects all parts, with the
//! keeper beside them, as [`Config`] sets them up. [`import`] sends the users of a list through the same stages.
//!
//! Invariants: never 200 before the acknowledgement (of the dead letter where `refused_is_ok` is set); no password past
//! `parse`; every request is counted exactly once.
//!
//! ```
//! use ingest::transport::{BodyPolicy, RawRequest, SenderPolicy, authenticate};
//! use ingest::{Rejection, pipeline};
//!
//! let policy = SenderPolicy { secrets: vec![service::Secret::new("s3cret")], ..SenderPolicy::default() };
//! let peer = [192, 0, 2, 1].into();
//! let request = |query: &str| RawRequest { query: query.to_owned(), peer, forwarded_for: vec![] };
//! assert_eq!(authenticate(&request("secret-key=guess"), &policy).unwrap_err(), Rejection::Unauthenticated);
//!
//! let sender = authenticate(&request("secret-key=s3cret"), &policy)?;
//! let body = r#"{"old":null,"new":{"userId":180,"password":"x"},"timestamp":"2017-06-06T10:53:43+02:00"}"#;
//! let received_at = domain::UnixMillis::from_millis(1_496_739_224_000);
//! let event = pipeline::accept(&sender.sent(body.into()), &BodyPolicy::default(), received_at)?;
//! assert_eq!(event.user_id.get(), 180);
//! assert!(event.password_changed && event.new.extra.is_empty());
//! # Ok::<(), Rejection>(())
//! ```

#![forbid(unsafe_code)]

mod refused;
mod rejection;

pub mod transport;

mod users;

pub mod pipeline;

pub mod dead_letter;

pub mod import;

mod answer;

mod metrics;

mod http;

pub mod config;

mod watch;

mod memory;

mod run;

pub use config::Config;
pub use metrics::Summary;
pub use rejection::Rejection;
pub use run::{Error, run};
pub use service::Listeners;
pub use watch::ask_permissions;
