//! The parts that tests of several crates share. A dev-dependency only: no shipped crate depends on it.
//!
//! | module | content |
//! | --- | --- |
//! | [`event`] | users and events from few arguments |
//! | [`deliveries`] | bodies as the vendor sends them |
//! | [`broker`] | the embedded broker with the topics, a publisher to it, and a topic read to its end |
//! | [`registry`] | a schema registry in memory |
//! | [`authorization`] | an authorization server, with its token endpoint |
//! | [`issuer`] | an issuer of JWTs, with its keys |
//! | [`tls`] | a certificate that is its own authority |
//! | [`http`] | an HTTP client: well-formed requests, and raw bytes |
//! | [`wait`] | waits for a condition, never for a fixed duration |
//! | [`random`] | reproducible random numbers |
//!
//! Every function panics where its premise fails. The panic fails the test, and shows the line of the caller.
//!
//! ```
//! use testkit::{broker::Log, event, eventually, wait::PATIENCE};
//!
//! # #[tokio::main] async fn main() {
//! let log = Log::start(3);
//! let position = log.event(&event::changed(180, "Rachel", "Rachel Smith", 2)).await;
//! let records = eventually("the record can be read", PATIENCE, async || {
//!     Some(log.records(&log.names.users).await).filter(|records| !records.is_empty())
//! });
//! assert_eq!(records.await[0].position, position);
//! # }
//! ```

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test stops at the first failure")]

pub mod authorization;
pub mod broker;
pub mod deliveries;
pub mod event;
pub mod http;
pub mod issuer;
pub mod promtool;
pub mod random;
pub mod registry;
pub mod tls;
pub mod wait;

pub use http::{Answer, Http};
pub use wait::eventually;
