//! How long records wait for others to be committed with them. Pure.
//!
//! A commit costs some pages whatever is in it: the checkpoint, the end of the changes. At a low rate each record is
//! committed at once; the more there are, the longer a commit waits, so that many share one.

use std::time::Duration;

use tokio::time::Instant;

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// The rate from which on commits wait longest. Below, the wait is as the square of the rate: at 500 a second 5 ms.
const RATE_FULL: f64 = 1_000.0;
/// The time over which the rate is taken: longer than the waits, so that a few records at once are no rate.
const WINDOW: Duration = Duration::from_millis(200);

/// The rate of the records that were committed.
#[derive(Debug)]
pub(super) struct Pace {
    /// Records a second, as of `at`.
    rate: f64,
    at: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { rate: 0.0, at: now }
    }

    /// Counts records that are committed.
    #[expect(clippy::cast_precision_loss, reason = "an estimate of a rate")]
    pub(super) fn count(&mut self, records: usize, now: Instant) {
        let (passed, window) = (now.saturating_duration_since(self.at).as_secs_f64(), WINDOW.as_secs_f64());
        self.rate = self.rate * (-passed / window).exp() + records as f64 / window;
        self.at = now;
    }

    /// Returns when the next commit is to begin if records are there: so long after the last one.
    pub(super) fn due(&self) -> Instant {
        self.at + WAIT_MAX.mul_f64((self.rate / RATE_FULL).powi(2).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets records arrive at that rate, evenly, for some seconds. Returns how long one waits at most after the first
    /// half second, and how many are committed together on average.
    fn run(per_second: u32) -> (Duration, u32) {
        let (begin, gap) = (Instant::now(), Duration::from_secs(1) / per_second);
        let (mut pace, mut first, mut waiting) = (Pace::new(begin), None, 0_usize);
        let (mut longest, mut commits, mut records) = (Duration::ZERO, 0_u32, 0_u32);
        for number in 0..3 * per_second {
            let now = begin + gap * number;
            // What waits is committed before the next record, if it is due before.
            if let Some(first_at) = first.filter(|_| pace.due() <= now) {
                let at = pace.due().max(first_at);
                pace.count(waiting, at);
                if number > per_second / 2 {
                    longest = longest.max(at - first_at);
                    commits += 1;
                    records += u32::try_from(waiting).unwrap();
                }
                (first, waiting) = (None, 0);
            }
            first.get_or_insert(now);
            waiting += 1;
        }
        (longest, records.checked_div(commits).unwrap_or(0))
    }

    #[test]
    fn the_more_records_there_are_the_more_share_a_commit() {
        for (per_second, wait_ms_max, together_min) in
            [(1, 0, 1), (50, 1, 1), (500, 6, 2), (1_000, 21, 16), (5_000, 21, 80)]
        {
            let (longest, together) = run(per_second);
            assert!(longest <= Duration::from_millis(wait_ms_max), "{per_second} a second wait for {longest:?}");
            assert!(together >= together_min, "{per_second} a second: {together} together");
        }
    }
}
