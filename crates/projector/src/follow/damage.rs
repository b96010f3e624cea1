//! Damage of the table in use, whoever meets it: readers, the writer, or a look at its files.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use crate::start::RebuildReason;
use crate::store::{StoreFolder, StoreReaders, Writer};

/// How often the files of the table are looked at: SQLite does not notice that one was removed or replaced.
const LOOK: Duration = Duration::from_secs(1);

/// Sees damage of a table.
#[derive(Debug)]
pub(super) struct DamageWatch {
    folder: Arc<StoreFolder>,
    readers: Arc<StoreReaders>,
    look: Interval,
}

impl DamageWatch {
    pub(super) fn new(folder: &Arc<StoreFolder>, writer: &Writer) -> Self {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { folder: Arc::clone(folder), readers: Arc::clone(writer.readers()), look }
    }

    /// Waits until the table is worth nothing any more.
    ///
    /// Cancel-safe.
    pub(super) async fn met(&mut self) -> RebuildReason {
        loop {
            tokio::select! {
                biased;
                reason = self.readers.damage() => return reason,
                _ = self.look.tick() => {
                    if !self.readers.is_in_place() || self.folder.current().as_deref() != Some(self.readers.path()) {
                        return RebuildReason::Removed;
                    }
                }
            }
        }
    }
}
