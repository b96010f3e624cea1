//! When forgotten users are erased from the file: at once, in all no longer than a tenth of the time.

use std::time::Duration;

use tokio::time::Instant;

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
    pub(super) fn see(&mut self, waits: bool) {
        if !waits {
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

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_secs(60);

    /// Returns how long the next erasure waits; `None` when it is due.
    fn wait(eraser: &Eraser) -> Option<Duration> {
        eraser.due.map(|due| due.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero())
    }

    fn tried(held_back: Option<&str>) -> Eraser {
        let mut eraser = Eraser::default();
        eraser.see(true);
        assert!(eraser.is_due(), "the first one at once");
        eraser.tried(TOOK, held_back);
        eraser
    }

    #[test]
    fn erasing_takes_a_tenth_of_the_time_at_most() {
        let mut eraser = tried(None);
        eraser.see(false);
        assert_eq!((eraser.is_due(), wait(&eraser)), (false, None), "nothing waits");
        eraser.see(true);
        let rest = wait(&eraser).unwrap();
        assert!(!eraser.is_due() && rest > TOOK * (REST - 1) && rest <= TOOK * REST, "{rest:?}");
        eraser.see(true);
        assert!(wait(&eraser).unwrap() <= rest, "more tombstones do not put it off");
    }

    #[test]
    fn one_that_is_held_back_is_tried_again() {
        let mut eraser = tried(Some("somebody reads"));
        eraser.see(true);
        assert!(wait(&eraser).unwrap() > TOOK);
        eraser.tried(Duration::ZERO, Some("somebody reads"));
        eraser.see(true);
        assert!(wait(&eraser).unwrap() <= RETRY);
    }
}
