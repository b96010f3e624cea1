//! The keeper: makes the log converge. After quiet, the last record of every key is its newest one.
//!
//! Deliveries come late, and compaction keeps the record that was appended last. When a partition has been read to its
//! end, its owner appends the state of every dirty key again ([`domain::roll`]). The new record has the same key, value
//! and headers, a header with the offset that it repairs, and in a tied second the other events of that second. It
//! makes the key clean, and a clean key is not repaired. Appending again is idempotent: two keepers at once (a
//! rebalance, a member wrongly taken for dead) at worst append the same record twice.
//!
//! A tombstone must not expire, or an older delivery would bring the user back where nobody remembers the forgetting.
//! So the keeper appends each again well within `delete.retention.ms`, and once when `max.compaction.lag.ms` has
//! passed: see [`crate::Retention`]. A forgotten user's tombstone goes on every partition that holds the key.
//!
//! A record with broken bytes is copied to the dead letters before anything is appended after it.
//!
//! [`Plan`] decides and is pure, as are [`read`] and [`Repair`]; [`crate::Upkeep`] reads and appends. The group
//! [`GROUP`] only decides which replica repairs which partition: every replica reads all partitions, for the gate too.

mod read;

mod originals;

mod plan;

pub(crate) mod refetch;

mod repair;

pub use originals::Originals;
pub use plan::{Action, BACKOFF_MAX, BACKOFF_MIN, Event, Plan, RENEWALS_EVERY, RENEWALS_MAX, REPAIRS_MAX};
pub use read::read;
pub use repair::{Fetched, Repair};

/// The consumer group whose members share the partitions.
pub const GROUP: &str = "keeper";
