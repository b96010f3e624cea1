//! The keeper: makes the log converge. After quiet, the last record of every key is its newest one.
//!
//! Deliveries come late, and compaction keeps the record that was appended last. When a partition has been read to its
//! end, its owner appends the state of every dirty key again ([`domain::roll`]). The new record has the same key, value
//! and headers, a header with the offset that it repairs, and in a tied second the other events of that second. It
//! makes the key clean, and a clean key is not repaired. Appending again is idempotent: two keepers at once (a
//! rebalance, a member wrongly taken for dead) at worst append the same record twice.
//!
//! [`Plan`] decides and is pure; [`crate::Upkeep`] reads and appends. The consumer group [`GROUP`] only decides which
//! replica repairs which partition: every replica reads all partitions, for the gate too.

mod plan;

pub(crate) mod refetch;

mod repair;

pub use plan::{Action, BACKOFF_MAX, BACKOFF_MIN, Event, Plan, REPAIRS_MAX};
pub use repair::Fetched;
pub use repair::{needed, repair};

/// The consumer group whose members share the partitions.
pub const GROUP: &str = "rollcall-keeper";
