//! Bounds the log lines of one kind, and counts those that are left out.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// At most so many lines a minute. How many more there were is told once: with the first line of a later minute, or by
/// whoever asks when the minute has ended.
#[derive(Debug)]
pub struct LineLimit {
    lines_max: u64,
    minute: Mutex<Option<Minute>>,
}

/// The lines since the first one of a minute.
#[derive(Clone, Copy, Debug)]
struct Minute {
    began: Instant,
    lines: u64,
}

/// What is to be written for one more line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub is_written: bool,
    /// The lines that were left out of the minute before, if it has just ended.
    pub left_out_before: u64,
}

impl LineLimit {
    /// The time in which the lines are counted.
    pub const INTERVAL: Duration = Duration::from_secs(60);

    pub const fn new(lines_max: u64) -> Self {
        Self { lines_max, minute: parking_lot::const_mutex(None) }
    }

    /// Counts one more line.
    pub fn count(&self, now: Instant) -> Counted {
        let mut minute = self.minute.lock();
        let left_out_before = self.end(&mut minute, |minute| now >= minute.began + Self::INTERVAL);
        let minute = minute.get_or_insert(Minute { began: now, lines: 0 });
        minute.lines += 1;
        Counted { is_written: minute.lines <= self.lines_max, left_out_before }
    }

    /// Returns how many lines were left out, once their minute has ended; 0 for none.
    pub fn left_out_until(&self, now: Instant) -> u64 {
        self.end(&mut self.minute.lock(), |minute| now >= minute.began + Self::INTERVAL)
    }

    /// Returns how many lines were left out of a minute that has not ended either.
    pub fn left_out_so_far(&self) -> u64 {
        self.end(&mut self.minute.lock(), |_| true)
    }

    fn end(&self, minute: &mut Option<Minute>, has_ended: impl FnOnce(&mut Minute) -> bool) -> u64 {
        minute.take_if(has_ended).map_or(0, |minute| minute.lines.saturating_sub(self.lines_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_minute_are_bounded_and_the_others_are_told_once() {
        let (limit, start) = (LineLimit::new(2), Instant::now());
        let count = |seconds| {
            let Counted { is_written, left_out_before } = limit.count(start + Duration::from_secs(seconds));
            (is_written, left_out_before)
        };
        let ended = |seconds| limit.left_out_until(start + Duration::from_secs(seconds));
        assert_eq!([count(0), count(1), count(2), count(59)], [(true, 0), (true, 0), (false, 0), (false, 0)]);
        assert_eq!(ended(59), 0, "the minute has not ended");
        assert_eq!([count(60), count(61)], [(true, 2), (true, 0)]);
        assert_eq!([count(62), count(63), count(64)], [(false, 0), (false, 0), (false, 0)]);
        assert_eq!([ended(119), ended(120), ended(121)], [0, 3, 0]);
        assert_eq!([count(130), count(131), count(132)], [(true, 0), (true, 0), (false, 0)]);
        assert_eq!([limit.left_out_so_far(), limit.left_out_so_far()], [1, 0]);
    }
}
