//! Properties for arbitrary bytes: one function per fuzz target, which panics when a property does not hold.
//!
//! The targets in `fuzz_targets` call these functions from libFuzzer. `tests/seeds.rs` of the crate `ingest` calls them
//! with the seeds, on any toolchain, so that a fixed fault stays fixed.
//!
//! ```text
//! cargo install cargo-fuzz
//! cd crates/ingest
//! cargo +nightly fuzz run --sanitizer none accept fuzz/corpus/accept fuzz/seeds/accept -- \
//!   -max_len=4096 -max_total_time=600
//! cargo +nightly fuzz run --sanitizer none wire fuzz/corpus/wire fuzz/seeds/wire -- \
//!   -max_len=4096 -max_total_time=600
//! ```
//!
//! The targets also check, by [`effort`], that the time for an input grows with its length and no faster.
//!
//! No sanitizer: the tested crates have no unsafe code, and librdkafka, which is linked in, does not build with one.
//! Each fault found becomes a file in `seeds`, named for its content.

pub mod accept;

pub mod effort;

mod judge;

mod sender;

pub mod wire;
