//! The guarantees of the crate, against the embedded broker. Each test has its own broker and topics.

#![expect(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the failure; the lint exempts only test functions"
)]

mod broker;
mod connect;
mod ends;
mod group;
mod proxy;
mod publish;
mod scan;
mod tail;
mod topics;
