//! What must hold of arbitrary bytes: a function for each fuzz target, which panics when it does not.
//!
//! The targets in `fuzz_targets` feed these functions from libFuzzer; `tests/seeds.rs` of the crate `ingest` feeds them
//! the seeds, on any toolchain, so that what was once found stays mended.
//!
//! ```text
//! cargo install cargo-fuzz
//! cd crates/ingest
//! cargo +nightly fuzz run --sanitizer none accept fuzz/corpus/accept fuzz/seeds/accept -- -max_len=4096 -max_total_time=600
//! cargo +nightly fuzz run --sanitizer none wire fuzz/corpus/wire fuzz/seeds/wire -- -max_len=4096 -max_total_time=600
//! ```
//!
//! No sanitizer: the crates that are tested have no unsafe code, and librdkafka, which is linked in, does not build
//! with one. What is found becomes a file in `seeds`, named for what it shows.

pub mod accept;

mod judge;

mod sender;

pub mod wire;
