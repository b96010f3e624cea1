//! What is done for the table between its commits: indexes are made, forgotten users are erased, and the write-ahead
//! log is kept small.

use tokio::time::Instant;

use super::super::indexing::{self, Made};
use super::{Follower, Stop};
use crate::error::Error;
use crate::start::RebuildReason;
use crate::store::{Erased, Writer, kept};

impl Follower<'_> {
    /// Makes the next index. A failure of it is not the table's: it is tried again.
    pub(super) async fn make_index(&mut self) -> Result<Option<Stop>, Error> {
        match indexing::make_next(self.shared, &mut self.writer, &mut self.indexer).await? {
            Made::One => self.announcer.progress(),
            Made::Nothing => {}
            Made::Shutdown => return Ok(Some(Stop::Shutdown)),
            Made::Damaged(reason) => return Ok(Some(Stop::Rebuild(reason))),
        }
        Ok(None)
    }

    /// Looks whether something waits to be erased, and sets the time for it.
    pub(super) fn see_erasures(&mut self) {
        let Some(writer) = &self.writer else { return };
        let erasures = writer.erasures();
        self.shared.metrics.see_erasures(&erasures);
        self.eraser.see(!erasures.is_empty());
        kept::tidy(&self.shared.options.store, self.shared.now(), !erasures.is_empty());
    }

    /// Erases what is left of those who were forgotten. A failure of it is not the table's: it is tried again. A
    /// shutdown does not wait for it: the next process erases.
    pub(super) async fn erase(&mut self) -> Result<Option<Stop>, Error> {
        let (shared, began) = (self.shared, Instant::now());
        let Some(interrupt) = self.writer.as_ref().map(Writer::interrupt) else { return Err(Error::Ended) };
        let erased = {
            let mut erasing = std::pin::pin!(self.with_writer(Writer::erase));
            tokio::select! {
                erased = erasing.as_mut() => erased?,
                () = shared.shutdown.requested() => {
                    interrupt.now();
                    drop(erasing.await?);
                    return Ok(Some(Stop::Shutdown));
                }
            }
        };
        let held_back = match erased {
            Ok(Erased::Done | Erased::InPart) => None,
            Ok(Erased::HeldBack(by)) => Some(by.to_string()),
            Err(error) => match RebuildReason::of_damage(&error) {
                Some(reason) => return Ok(Some(Stop::Rebuild(reason))),
                None => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "forgotten users cannot be erased now");
                    Some(error.told().to_owned())
                }
            },
        };
        self.eraser.tried(began.elapsed(), held_back.as_deref());
        *self.shared.erasure_held_back.lock() = held_back;
        self.see_erasures();
        Ok(None)
    }

    /// Keeps the write-ahead log of the store small.
    pub(super) async fn trim_log(&mut self) -> Result<(), Error> {
        match self.with_writer(Writer::trim_log).await? {
            Ok(None) => {}
            Ok(Some((by, bytes))) => {
                tracing::warn!(%by, bytes, "the write-ahead log of the store cannot be cut: it grows")
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "the write-ahead log is not cut"),
        }
        Ok(())
    }
}
