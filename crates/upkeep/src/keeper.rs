//! The keeper: makes the log converge, so that after quiet the last record of every key is the newest one.
//!
//! Deliveries come late, and compaction keeps the record that was appended last. When a partition is read to its end, its owner
//! appends the state of every dirty key again ([`domain::roll`]): same key, same value, same headers, one more that names the
//! offset it repairs, and in a tied second the other events of it. That makes the key clean, and a clean key is left alone:
//! appending again is idempotent, and two keepers at once (a rebalance, a member thought dead) at worst append the same twice.
//!
//! [`Plan`] decides, pure; [`crate::Upkeep`] reads and appends. The consumer group [`GROUP`] only shares out who repairs which
//! partition: every replica reads them all, for the gate too.

mod plan;

pub(crate) mod refetch;

mod repair;

pub use plan::{Action, BACKOFF_MAX, BACKOFF_MIN, Event, Plan, REPAIRS_MAX};
pub use repair::Fetched;
pub use repair::{needed, repair};

/// The consumer group whose members share the partitions out.
pub const GROUP: &str = "rollcall-keeper";
