//! Webhook in, Kafka record out.
//!
//! A request to the webhook's path goes through five stages, a file each; each takes the type that the one before it
//! made:
//!
//! ```text
//! http.rs ──▶ RawRequest                       the head
//!   │ transport/authenticate ──▶ Sender        the secret and the source; only then a place and the body: Authentic
//!   │ transport/decrypt      ──▶ Plaintext     as PHP's openssl_decrypt
//!   │ transport/parse        ──▶ Delivery      JSON, and no password any more
//!   │ users/validate         ──▶ UserEvent
//!   ▼
//! upkeep::gate          stale or stored already?
//!   ▼
//! users/publish ──▶ Kafka ──acknowledged──▶ 200
//! ```
//!
//! `transport` is for any webhook of this vendor and does not name `users`, which is this webhook; [`pipeline`] joins
//! the two. What is refused ends as a [`Rejection`], the one list of reasons with status, label and text; what is worth
//! keeping of it is written to the dead-letter topic first ([`dead_letter`]). [`run()`] puts it all together, with the
//! keeper beside it; [`Config`] says how.
//!
//! Invariants: never 200 before the acknowledgement, which is the dead letter's where `refused_is_ok` is set; no
//! password past `parse`; every request is counted exactly once.
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

mod rejection;

pub mod transport;

mod users;

pub mod pipeline;

pub mod dead_letter;

mod answer;

mod metrics;

mod http;

pub mod config;

mod watch;

mod run;

pub use config::Config;
pub use metrics::Summary;
pub use rejection::Rejection;
pub use run::{Error, run};
pub use service::Listeners;
