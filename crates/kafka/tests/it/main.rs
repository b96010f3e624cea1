//! What the crate promises, against the embedded broker. Each test has a broker and topics of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the failure; the lint exempts only test functions"
)]

mod broker;
mod group;
mod publish;
mod scan;
mod tail;
mod topics;
