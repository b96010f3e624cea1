//! Looks into the table: short reads that lead to few rows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Shared, blocking};
use crate::error::Error;
use crate::store::{self, Place, StoreReader, StoreReaders, UserFilter, UserRows};

/// The mean time of a look from which on the disk is taken for slow: some times as long as a look takes while its pages
/// are in memory, and less than one of a disk's.
const SLOW_MEAN: Duration = Duration::from_micros(250);
/// How many looks the mean is of. A thread that the machine has put aside for some milliseconds makes no slow disk.
const LOOKS: u32 = 32;

/// Whether looks wait for the disk.
#[derive(Debug, Default)]
pub(super) struct SlowDisk {
    mean: Duration,
}

impl Shared {
    /// Runs a look: on this thread, since it takes microseconds, and while the disk is slow on one that may block, so
    /// that no other request waits for it. Long reads do not hold it up.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        readers: &Arc<StoreReaders>,
        look: impl FnOnce(&StoreReader) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let is_slow = self.slow_disk.lock().is_slow();
        let timed = |reader: &StoreReader| {
            let began = Instant::now();
            look(reader).map(|answer| (answer, began.elapsed()))
        };
        let (answer, took) = match is_slow {
            true => in_turn(&self.short_reads, readers, timed).await?,
            false => readers.with(timed)?,
        };
        self.slow_disk.lock().note(took);
        Ok(answer)
    }

    /// Finds users of this table. A page that takes searches of indexes alone, some milliseconds, never waits for
    /// longer reads.
    pub(crate) async fn find_of(
        &self,
        readers: &Arc<StoreReaders>,
        filter: UserFilter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<UserRows, Error> {
        let turns = if filter.is_short() { &self.short_reads } else { &self.long_reads };
        in_turn(turns, readers, move |reader| reader.find(&filter, after.as_ref(), limit)).await
    }
}

/// Waits for one of so many turns, and reads on a thread that may block.
pub(super) async fn in_turn<T: Send + 'static>(
    turns: &Semaphore,
    readers: &Arc<StoreReaders>,
    read: impl FnOnce(&StoreReader) -> Result<T, store::Error> + Send + 'static,
) -> Result<T, Error> {
    let _turn = turns.acquire().await.map_err(|_| Error::Ended)?;
    let readers = Arc::clone(readers);
    Ok(blocking(move || readers.with(read)).await??)
}

impl SlowDisk {
    fn is_slow(&self) -> bool {
        self.mean >= SLOW_MEAN
    }

    /// Notes a look that took so long.
    fn note(&mut self, took: Duration) {
        self.mean = (self.mean * (LOOKS - 1) + took) / LOOKS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_slow_while_looks_take_long_and_not_for_one_thread_that_was_put_aside() {
        let (quick, slow, put_aside) = (Duration::from_micros(15), Duration::from_millis(10), Duration::from_millis(4));
        let mut disk = SlowDisk::default();
        for _ in 0..100 {
            for _ in 0..2 * LOOKS {
                disk.note(quick);
                assert!(!disk.is_slow());
            }
            disk.note(put_aside);
            assert!(!disk.is_slow());
        }
        disk.note(slow);
        assert!(disk.is_slow());
        for _ in 0..4 * LOOKS {
            disk.note(quick);
        }
        assert!(!disk.is_slow());
    }
}
