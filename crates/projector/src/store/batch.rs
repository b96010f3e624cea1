//! The input of one transaction, and its result.

use std::sync::Arc;

use domain::roll::Effect;
use domain::wire::Ids;
use domain::{Checkpoint, LeaderEpochs};
use kafka::Record;

use super::{Change, Erasures, Unread};

/// The input of one transaction.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    pub records: Vec<Record>,
    /// Partitions of which everything below the offset was handed over: compaction leaves holes that no record fills.
    pub ends: Vec<(i32, i64)>,
    /// The schemas that the records were translated with.
    pub ids: Arc<Ids>,
}

impl LogBatch {
    /// Returns whether nothing in it goes beyond `checkpoint`.
    pub(crate) fn is_past(&self, checkpoint: &Checkpoint) -> bool {
        self.records.iter().all(|record| checkpoint.covers(record.position))
            && self.ends.iter().all(|(partition, next)| checkpoint.next(*partition) >= Some(*next))
    }
}

/// The result of one transaction.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub checkpoint: Checkpoint,
    /// The leader epochs of the records.
    pub epochs: LeaderEpochs,
    /// Every change of a user, in the order of the records; of one who was forgotten, none before that.
    pub changes: Vec<Change>,
    pub effects: Effects,
    /// From occurrence to receipt, in milliseconds, of each delivery.
    pub lateness_ms: Vec<i64>,
    pub gaps_found: u64,
    /// Gaps that late events have closed.
    pub gaps_closed: u64,
    /// The records that could not be read or are unknown.
    pub unreadable: Vec<Unread>,
    /// The tombstones that removed rows.
    pub erasures: Erasures,
}

/// How many records had each effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    pub newer: u64,
    pub tied: u64,
    pub duplicate: u64,
    pub stale: u64,
    pub forgotten: u64,
    pub unreadable: u64,
    pub unknown: u64,
}

impl Effects {
    pub(super) fn count(&mut self, effect: Effect) {
        *match effect {
            Effect::Newer { .. } => &mut self.newer,
            Effect::Tied => &mut self.tied,
            Effect::Duplicate => &mut self.duplicate,
            Effect::Stale => &mut self.stale,
            Effect::Forgotten => &mut self.forgotten,
            Effect::Unreadable => &mut self.unreadable,
            Effect::Unknown => &mut self.unknown,
        } += 1;
    }

    /// Returns the counts with their names.
    pub(crate) fn named(self) -> [(&'static str, u64); 7] {
        let Self { newer, tied, duplicate, stale, forgotten, unreadable, unknown } = self;
        [
            ("newer", newer),
            ("tied", tied),
            ("duplicate", duplicate),
            ("stale", stale),
            ("forgotten", forgotten),
            ("unreadable", unreadable),
            ("unknown", unknown),
        ]
    }
}
