//! When forgotten users are erased from the file: at once, in all no longer than a tenth of the time.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::Erasures;

/// How many times as long as an erasure took the next one waits: nothing is committed meanwhile, and the larger the
/// table, the more tombstones share one.
const REST: u32 = 9;
/// How long to wait before an erasure that was held back is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The time of the next erasure.
#[derive(Debug, Default)]
pub(super) struct Eraser {
    /// `None` when nothing waits.
    due: Option<Instant>,
    /// When the next one may begin.
    rested: Option<Instant>,
    is_held_back: bool,
}

impl Eraser {
    /// Waits until it is time, for ever while nothing waits to be erased.
    ///
    /// Cancel-safe.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        self.due.is_some_and(|due| Instant::now() >= due)
    }

    /// Sets the time when something waits to be erased.
    pub(super) fn see(&mut self, erasures: &Erasures) {
        if erasures.is_empty() {
            self.due = None;
        } else if self.due.is_none() {
            self.due = Some(self.rested.unwrap_or_else(Instant::now));
        }
    }

    /// Notes an attempt: how long it took, and what held it back. The first one in a row that was held back is logged.
    pub(super) fn tried(&mut self, took: Duration, held_back: Option<&str>) {
        let rest = match held_back {
            Some(reason) => {
                if !std::mem::replace(&mut self.is_held_back, true) {
                    tracing::warn!(reason, "erasing forgotten users is held back: trying again");
                }
                RETRY.max(took * REST)
            }
            None => {
                self.is_held_back = false;
                tracing::info!(?took, "forgotten users are erased from the store");
                took * REST
            }
        };
        self.due = None;
        self.rested = Some(Instant::now() + rest);
    }
}
