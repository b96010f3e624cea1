//! When the indexes that look-ups and filters need are made: one at a time, while nothing else is to be done, and under
//! steady traffic in half of the time. Nothing is committed while one is made.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;
use crate::shared::{Shared, blocking};
use crate::start::RebuildReason;
use crate::store::{StoreReaders, Writer};

/// How long to wait before an index that could not be made is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// When the next index may be made.
#[derive(Debug)]
pub(super) struct Indexer {
    readers: Arc<StoreReaders>,
    /// While nothing else is to be done.
    idle: Instant,
    /// Though records wait.
    due: Instant,
}

/// The result of an attempt to make an index.
pub(super) enum Made {
    One,
    /// None is missing, or it is tried again later.
    Nothing,
    Shutdown,
    Damaged(RebuildReason),
}

impl Indexer {
    /// Prepares to make the indexes of a table, the first one after that time.
    pub(super) fn new(writer: &Writer, pause: Duration) -> Self {
        let at = Instant::now() + pause;
        Self { readers: Arc::clone(writer.readers()), idle: at, due: at }
    }

    /// Waits until an index is to be made though records may wait, for ever when none is missing.
    ///
    /// Cancel-safe.
    pub(super) async fn due(&self) {
        self.missing(self.due).await;
    }

    /// Waits until an index may be made if nothing else is to be done, for ever when none is missing.
    ///
    /// Cancel-safe.
    pub(super) async fn idle(&self) {
        self.missing(self.idle).await;
    }

    async fn missing(&self, at: Instant) {
        if self.readers.indexes().are_made() {
            return std::future::pending().await;
        }
        #[cfg(test)]
        hold::released(self.readers.path()).await;
        tokio::time::sleep_until(at).await;
    }
}

/// Makes the next index that is missing. A failure is not the table's: it is tried again, after a pause.
pub(super) async fn make_next(
    shared: &Shared,
    lent: &mut Option<Writer>,
    indexer: &mut Indexer,
) -> Result<Made, Error> {
    // It does not come back from work that panics.
    let mut writer = lent.take().ok_or(Error::Ended)?;
    let (began, interrupt) = (Instant::now(), writer.interrupt());
    let mut making = std::pin::pin!(blocking(move || {
        let made = writer.make_index();
        (writer, made)
    }));
    let (writer, made) = tokio::select! {
        made = making.as_mut() => made?,
        () = shared.shutdown.requested() => {
            interrupt.now();
            *lent = Some(making.await?.0);
            return Ok(Made::Shutdown);
        }
    };
    *lent = Some(writer);
    shared.see_indexes();
    let took = began.elapsed();
    (indexer.idle, indexer.due) = (Instant::now(), Instant::now() + took);
    match made {
        Ok(Some(name)) => {
            tracing::info!(name, ?took, "an index is made");
            Ok(Made::One)
        }
        Ok(None) => Ok(Made::Nothing),
        Err(error) => match RebuildReason::of_damage(&error) {
            Some(reason) => Ok(Made::Damaged(reason)),
            None => {
                let error = Error::Store(error);
                shared.note_exhausted(&error);
                shared.log_wait(&error, "an index cannot be made: trying again");
                (indexer.idle, indexer.due) = (Instant::now() + RETRY, Instant::now() + RETRY);
                Ok(Made::Nothing)
            }
        },
    }
}

/// Holds the making of indexes, for tests: of the table in a folder, so many are made and no further one.
#[cfg(test)]
pub(crate) mod hold {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use parking_lot::Mutex;

    use crate::store::StoreReader;

    static HELD: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());
    const LOOK: Duration = Duration::from_millis(2);

    /// Lets `indexes` be made, or all of them.
    pub(crate) fn at(folder: &Path, indexes: Option<usize>) {
        match indexes {
            Some(indexes) => drop(HELD.lock().insert(folder.to_owned(), indexes)),
            None => drop(HELD.lock().remove(folder)),
        }
    }

    /// Waits until a further index may be made of that table.
    pub(super) async fn released(table: &Path) {
        let folder = table.parent().unwrap();
        let is_held = || {
            let held = HELD.lock().get(folder).copied();
            held.is_some_and(|held| StoreReader::open(table).unwrap().indexes_made() >= held)
        };
        while is_held() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests;
