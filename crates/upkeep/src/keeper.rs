//! The keeper: makes the log converge, so that the last record of every key is the newest one.
//!
//! Deliveries come late, and compaction keeps the record that was appended last. The keeper follows the topic and, at the end of a
//! partition, appends the winning record of every dirty key again: same key, same value, same headers, and one more that names
//! the offset it repairs. By [`domain::fold`] that makes the key clean, and a clean key is left alone: appending again is
//! idempotent, and two keepers at once (a rebalance, a member thought dead) at worst append the same record twice.
//!
//! [`Partition`] is the pure core; the shell around it is a member of the consumer group [`GROUP`].
//!
//! The record's Kafka timestamp is the time of the repair. What protects the winner until then is the youth of the stale record
//! after it: while that is younger than `min.compaction.lag.ms`, the cleaner does not know of it.

mod partition;

pub(crate) mod refetch;

mod shell;

pub use partition::{Partition, Repair};
pub use refetch::clusters;
pub use shell::{Keeper, run};

/// The consumer group whose members share the partitions out.
pub const GROUP: &str = "rollcall-keeper";
