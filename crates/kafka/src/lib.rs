//! The Kafka side of Rollcall. No other crate names the client library.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`client`] | options that every client shares, and [`client::Probe`], which asks whether the cluster answers |
//! | [`topics`] | the contract of the three topics: create, check, describe, watermarks |
//! | [`publish`] | one record in, its position or a typed error within a deadline |
//! | [`tail`] | follows partitions from a checkpoint, for ever, and says when an end is reached |
//! | [`group`] | the same for a member of a consumer group, who is told which partitions are its own |
//! | [`scan`] | reads ranges of offsets as fast as the client can, borrowed and synchronous |
//! | [`placement`] | which partition a key belongs to |
//! | [`embedded`] | a broker in memory, for `dev` and for tests |
//!
//! Offsets are never committed to Kafka and never read from it: whoever reads keeps its own position beside its own
//! state. The library never resets a position on its own account: a position outside the log is an error that the reader sees.

pub mod client;
pub mod embedded;
mod fault;
pub mod group;
mod native;
pub mod placement;
pub mod publish;
mod record;
pub mod scan;
pub mod tail;
pub mod topics;
mod unavailable;

pub use client::ClientOptions;
pub use fault::Fault;
pub use record::Record;
pub use unavailable::Unavailable;
