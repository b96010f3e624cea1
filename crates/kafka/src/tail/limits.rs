//! The bounds of a tail.

use std::time::Duration;

/// The most records in one event.
const RECORDS_PER_BATCH: usize = 1_000;
/// The most bytes of records in one event, unless a single record is larger.
const BYTES_PER_BATCH: usize = 1024 * 1024;
/// The most events that can wait for the reader.
const EVENTS_WAITING: usize = 8;
/// The time limit for opening, after which the cluster counts as unreachable.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);
/// How long the tail waits for a record that is there before it opens a new client. A fetch takes half a second where
/// nothing is lost; readers have to catch up within ten seconds after a broker's pause.
const STALLED_AFTER: Duration = Duration::from_secs(4);

/// The bounds of a tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub records_per_batch: usize,
    pub bytes_per_batch: usize,
    pub events_waiting: usize,
    pub open_deadline: Duration,
    pub stalled_after: Duration,
    pub fetch: Fetch,
    /// Whether headers are left out that decide nothing about the state of a user: those of deliveries.
    pub state_only: bool,
}

/// How brokers answer fetches. The operator's own settings win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// As soon as there is a record.
    AtOnce,
    /// When there are [`COLLECTED_BYTES`], or after [`COLLECTED_WAIT`]: a small part of the work where records come one
    /// by one.
    Collected,
}

/// The bytes for which a fetch waits.
pub const COLLECTED_BYTES: usize = 64 * 1024;
/// The longest wait of a fetch for them.
pub const COLLECTED_WAIT: Duration = Duration::from_millis(50);

impl Default for Limits {
    fn default() -> Self {
        Self {
            records_per_batch: RECORDS_PER_BATCH,
            bytes_per_batch: BYTES_PER_BATCH,
            events_waiting: EVENTS_WAITING,
            open_deadline: OPEN_DEADLINE,
            stalled_after: STALLED_AFTER,
            fetch: Fetch::AtOnce,
            state_only: false,
        }
    }
}
