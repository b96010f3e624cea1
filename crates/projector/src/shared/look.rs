//! Looks into the table: short reads that lead to few rows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Shared, blocking};
use crate::error::Error;
use crate::store::{self, Place, StoreReader, StoreReaders, UserFilter, UserRows};

/// How long a look takes at most while its pages are in memory, with much to spare.
const LOOK_MAX: Duration = Duration::from_millis(2);
/// How long the disk is taken for slow after a look that took longer.
const SLOW_DISK: Duration = Duration::from_secs(1);

/// Whether looks wait for the disk.
#[derive(Debug, Default)]
pub(super) struct SlowDisk {
    until: Option<Instant>,
}

impl Shared {
    /// Runs a look: on this thread, since it takes microseconds, and while the disk is slow on one that may block, so
    /// that no other request waits for it. Long reads do not hold it up.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        readers: &Arc<StoreReaders>,
        look: impl FnOnce(&StoreReader) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let is_slow = self.slow_disk.lock().is_at(began);
        let timed = |readers: &StoreReaders| {
            let began = Instant::now();
            let answer = readers.with(look);
            (answer, began.elapsed())
        };
        let (answer, took) = if is_slow {
            let readers = Arc::clone(readers);
            blocking(move || timed(&readers)).await?
        } else {
            timed(readers)
        };
        self.slow_disk.lock().note(began + took, took);
        Ok(answer?)
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
    fn is_at(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Notes a look that took so long until now.
    fn note(&mut self, now: Instant, took: Duration) {
        if took >= LOOK_MAX {
            self.until = Some(now + SLOW_DISK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_slow_until_no_look_took_long_for_a_while() {
        let (mut disk, begin) = (SlowDisk::default(), Instant::now());
        disk.note(begin, LOOK_MAX / 2);
        assert!(!disk.is_at(begin));
        disk.note(begin, LOOK_MAX);
        assert!(disk.is_at(begin) && disk.is_at(begin + SLOW_DISK / 2));
        disk.note(begin + SLOW_DISK / 2, LOOK_MAX);
        disk.note(begin + SLOW_DISK / 2, LOOK_MAX / 2);
        assert!(disk.is_at(begin + SLOW_DISK) && !disk.is_at(begin + SLOW_DISK * 2));
    }
}
