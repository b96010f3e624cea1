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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records_per_batch: RECORDS_PER_BATCH,
            bytes_per_batch: BYTES_PER_BATCH,
            events_waiting: EVENTS_WAITING,
            open_deadline: OPEN_DEADLINE,
            stalled_after: STALLED_AFTER,
        }
    }
}
