//! The log that a rebuild reads, and its memory and threads.

use domain::{Checkpoint, LeaderEpochs};
use kafka::ClientOptions;
use kafka::scan::Range;
use service::registry::Schemas;

/// The log that a rebuild reads, and its memory and threads.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kafka: ClientOptions,
    pub topic: String,
    /// The schemas that records name by ids.
    pub schemas: Schemas,
    pub ranges: Vec<Range>,
    /// For the tables of all threads together.
    pub memory_bytes_max: usize,
    pub threads: usize,
}

impl Plan {
    /// Returns how many offsets there are to read.
    pub fn offsets(&self) -> u64 {
        self.ranges.iter().map(|range| u64::try_from(range.end - range.start).unwrap_or(0)).sum()
    }

    /// Returns where the table stands once every range is read.
    pub(super) fn checkpoint(&self, epochs: &LeaderEpochs) -> Checkpoint {
        let entry = |range: &Range| (range.partition, range.end, epochs.before(range.partition, range.end));
        Checkpoint::from_entries(self.ranges.iter().map(entry))
    }
}
