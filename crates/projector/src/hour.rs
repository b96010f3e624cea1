//! The last hour by the minute, and how late deliveries were: for people who look without a Prometheus.

use std::collections::VecDeque;

use domain::UnixMillis;

/// How many minutes are kept.
const MINUTES_MAX: usize = 60;
const MINUTE_MS: i64 = 60_000;

/// The buckets of lateness, receipt less occurrence: the upper bound in milliseconds, and its name. What is later than
/// all is in one more.
pub(crate) const LATENESS: [(i64, &str); 6] = [
    (1_000, "1 s"),
    (10_000, "10 s"),
    (MINUTE_MS, "1 min"),
    (10 * MINUTE_MS, "10 min"),
    (60 * MINUTE_MS, "1 h"),
    (24 * 60 * MINUTE_MS, "1 d"),
];

/// What happened since the process started, the minutes of the last hour apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hour {
    minutes: VecDeque<Minute>,
    lateness: [u64; LATENESS.len() + 1],
}

/// One minute; only those have one in which something was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Minute {
    /// Since 1970.
    number: i64,
    /// The deliveries that were read.
    pub(crate) events: u64,
    /// Of the latest delivery of the minute.
    pub(crate) lateness_max_ms: Option<i64>,
    /// The greatest that was seen; `None` while it was not known.
    pub(crate) lag: Option<i64>,
    /// The most that were seen.
    pub(crate) subscribers: i64,
}

impl Minute {
    pub(crate) fn begins_at(&self) -> UnixMillis {
        UnixMillis::from_millis(self.number.saturating_mul(MINUTE_MS))
    }
}

impl Hour {
    /// Counts deliveries that were read at `now`, by how late they were.
    pub(crate) fn read(&mut self, now: UnixMillis, lateness_ms: &[i64]) {
        for late in lateness_ms {
            let place = LATENESS.iter().position(|(bound, _)| late <= bound).unwrap_or(LATENESS.len());
            self.lateness[place] += 1;
        }
        let latest = lateness_ms.iter().max().copied();
        if let Some(minute) = self.minute(now).filter(|_| latest.is_some()) {
            minute.events += lateness_ms.len() as u64;
            minute.lateness_max_ms = minute.lateness_max_ms.max(latest);
        }
    }

    /// Notes what there is at `now`.
    pub(crate) fn look(&mut self, now: UnixMillis, lag: Option<i64>, subscribers: i64) {
        if let Some(minute) = self.minute(now) {
            minute.lag = minute.lag.max(lag);
            minute.subscribers = minute.subscribers.max(subscribers);
        }
    }

    /// Returns the minutes of the hour before `now`, the oldest first.
    pub(crate) fn minutes(&self, now: UnixMillis) -> impl Iterator<Item = &Minute> {
        let first = now.millis().div_euclid(MINUTE_MS) - MINUTES_MAX as i64;
        self.minutes.iter().filter(move |minute| minute.number > first)
    }

    /// Returns how many deliveries there were in each bucket, and later than all.
    pub(crate) fn lateness(&self) -> [u64; LATENESS.len() + 1] {
        self.lateness
    }

    /// Returns the minute of `now`; the last one when the clock was set back.
    fn minute(&mut self, now: UnixMillis) -> Option<&mut Minute> {
        let number = now.millis().div_euclid(MINUTE_MS);
        if self.minutes.back().is_none_or(|last| last.number < number) {
            self.minutes.push_back(Minute { number, ..Minute::default() });
            if self.minutes.len() > MINUTES_MAX {
                self.minutes.pop_front();
            }
        }
        self.minutes.back_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> UnixMillis {
        UnixMillis::from_millis(second * 1_000)
    }

    #[test]
    fn each_minute_has_its_worst_and_the_hour_its_last_sixty() {
        let mut hour = Hour::default();
        hour.read(at(30), &[400, 7_000]);
        hour.read(at(59), &[90]);
        hour.look(at(59), Some(3), 2);
        hour.look(at(59), Some(1), 1);
        hour.look(at(60), None, 0);
        let seen: Vec<_> = hour.minutes(at(61)).map(|minute| (minute.events, minute.lag, minute.subscribers)).collect();
        assert_eq!(seen, [(3, Some(3), 2), (0, None, 0)]);
        assert_eq!(hour.minutes(at(61)).next().unwrap().lateness_max_ms, Some(7_000));
        assert_eq!(hour.minutes(at(3_600)).count(), 1, "the first is over an hour ago");
        for minute in 0..1_000 {
            hour.look(at(60 * minute), Some(0), 0);
        }
        assert_eq!(hour.minutes(at(60 * 999)).count(), MINUTES_MAX);
        assert_eq!(hour.minutes.len(), MINUTES_MAX);
    }

    #[test]
    fn a_delivery_is_in_the_bucket_of_its_lateness() {
        let mut hour = Hour::default();
        hour.read(at(0), &[-5_000, 0, 1_000, 1_001, 86_400_000, 86_400_001]);
        assert_eq!(hour.lateness(), [3, 1, 0, 0, 0, 1, 1]);
    }
}
