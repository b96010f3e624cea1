//! The parts that tests of several crates share. A dev-dependency only; nothing that ships names it.
//!
//! | module | content |
//! | --- | --- |
//! | [`event`] | users, events and heads, made from as little as a test wants to say |
//! | [`deliveries`] | bodies as the vendor sends them |
//! | [`broker`] | the embedded broker with the topics, a publisher on it, and a topic read to its end |
//! | [`http`] | an HTTP client: requests by the book, and bytes as the test writes them |
//! | [`wait`] | waiting for a condition, never for a duration |
//! | [`random`] | numbers that nobody chose, the same in every run |
//!
//! Everything panics where its premise fails: the panic is the failure of the test, and names its line.
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
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

pub mod broker;
pub mod deliveries;
pub mod event;
pub mod http;
pub mod random;
pub mod wait;

pub use http::{Answer, Http};
pub use wait::eventually;
