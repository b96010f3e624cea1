//! The input of one transaction, and its result.

use domain::{Checkpoint, UnixMillis};
use kafka::Record;

use super::{Change, Unread};

/// The input of one transaction.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    pub records: Vec<Record>,
    /// Partitions of which everything below the offset was handed over: compaction leaves holes that no record fills.
    pub ends: Vec<(i32, i64)>,
}

impl LogBatch {
    /// Returns whether nothing in it goes beyond `checkpoint`.
    pub(crate) fn is_past(&self, checkpoint: &Checkpoint) -> bool {
        self.records.iter().all(|record| checkpoint.covers(record.position))
            && self.ends.iter().all(|(partition, next)| checkpoint.next(*partition) >= Some(*next))
    }

    /// Returns the time that the table is as of with this batch: that of its last record, which may be long ago while
    /// the projection catches up; `now` at the latest.
    pub(crate) fn as_of(&self, now: UnixMillis) -> UnixMillis {
        self.records.last().map_or(now, |record| record.timestamp.min(now))
    }
}

/// The result of one transaction.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub checkpoint: Checkpoint,
    /// Every change of a user's state, in the order of the records.
    pub changes: Vec<Change>,
    pub newer: u64,
    pub duplicate: u64,
    pub stale: u64,
    pub forgotten: u64,
    pub gaps_found: u64,
    /// Gaps that late events have closed.
    pub gaps_closed: u64,
    pub unreadable: Vec<Unread>,
}
