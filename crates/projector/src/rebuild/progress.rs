//! How far a rebuild is, and how long it may still take.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The present stage of a rebuild.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Reading,
    Loading,
}

/// How far a rebuild is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    pub stage: Stage,
    /// Which reading of the log this is; more than one are needed when the users do not fit the memory given.
    pub pass: u64,
    /// Offsets of the log, which counts what compaction has removed too.
    pub offsets_done: u64,
    pub offsets_total: u64,
    /// The records of this reading.
    pub records: u64,
    pub users: u64,
    pub elapsed: Duration,
}

/// The counters that the threads of a rebuild add to.
#[derive(Debug)]
pub struct Meter {
    began: Instant,
    stage: AtomicUsize,
    pass: AtomicU64,
    offsets_done: AtomicU64,
    offsets_total: u64,
    records: AtomicU64,
    users: AtomicU64,
    /// Set to end the rebuild before it is done.
    pub(crate) stop: AtomicBool,
}

impl Meter {
    /// Begins to measure a rebuild that reads so many offsets.
    pub fn new(offsets_total: u64) -> Self {
        Self {
            began: Instant::now(),
            stage: AtomicUsize::new(0),
            pass: AtomicU64::new(1),
            offsets_done: AtomicU64::new(0),
            offsets_total,
            records: AtomicU64::new(0),
            users: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        }
    }

    pub(super) fn read(&self, offsets: u64, records: u64) {
        self.offsets_done.fetch_add(offsets, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn begin_pass(&self, pass: u64) {
        self.pass.store(pass, Ordering::Relaxed);
        self.offsets_done.store(0, Ordering::Relaxed);
        self.records.store(0, Ordering::Relaxed);
        self.begin(Stage::Reading);
    }

    pub(super) fn begin(&self, stage: Stage) {
        self.stage.store(stage as usize, Ordering::Relaxed);
    }

    pub(super) fn load(&self, users: u64) {
        self.users.fetch_add(users, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns how far it is.
    pub fn progress(&self) -> Progress {
        Progress {
            stage: match self.stage.load(Ordering::Relaxed) {
                0 => Stage::Reading,
                _ => Stage::Loading,
            },
            pass: self.pass.load(Ordering::Relaxed),
            offsets_done: self.offsets_done.load(Ordering::Relaxed),
            offsets_total: self.offsets_total,
            records: self.records.load(Ordering::Relaxed),
            users: self.users.load(Ordering::Relaxed),
            elapsed: self.began.elapsed(),
        }
    }
}

impl Progress {
    /// Returns the part of this reading that is done, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
    pub(crate) fn share(&self) -> f64 {
        if self.offsets_total == 0 { 1.0 } else { (self.offsets_done as f64 / self.offsets_total as f64).min(1.0) }
    }

    /// Returns how long this reading may still take, once enough is read for an estimate. Loading adds about a fifth.
    fn left(&self) -> Option<Duration> {
        let share = self.share();
        let tellable = self.stage == Stage::Reading && self.pass == 1 && share > 0.01;
        tellable.then(|| self.elapsed.mul_f64((1.0 - share) / share))
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Stage::Reading => {
                write!(f, "{} records read, {:.0} %", self.records, self.share() * 100.0)?;
                if self.pass > 1 {
                    write!(f, " of reading {}", self.pass)?;
                }
            }
            Stage::Loading => write!(f, "{} users loaded", self.users)?,
        }
        match self.left() {
            Some(left) => write!(f, ", about {} s left", left.as_secs() + 1),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_follows_what_is_done() {
        let mut progress = Progress {
            pass: 1,
            offsets_done: 250,
            offsets_total: 1_000,
            records: 240,
            elapsed: Duration::from_secs(10),
            ..Progress::default()
        };
        assert_eq!(progress.left(), Some(Duration::from_secs(30)));
        assert_eq!(progress.to_string(), "240 records read, 25 %, about 31 s left");
        progress.offsets_done = 0;
        assert_eq!(progress.left(), None);
        progress.stage = Stage::Loading;
        assert_eq!(progress.to_string(), "0 users loaded");
        assert_eq!(Progress::default().share(), 1.0, "an empty log is read at once");
    }
}
