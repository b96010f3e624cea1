//! The number of bodies that a source may send that cannot be read, where bodies are encrypted.
//!
//! The vendor's encryption has no authentication, so a stranger with a captured body learns something from each answer.
//! Past the budget a source learns nothing more, and leaves no more dead letters. The vendor tries again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The time over which failures are counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// The most sources that are remembered. For a further one, the source that failed first is forgotten.
const SOURCES_MAX: usize = 4_096;

/// The failures of each source. Pure.
#[derive(Debug)]
pub(crate) struct Budget {
    failures_max: u32,
    sources: HashMap<IpAddr, Failures>,
}

/// The failures of a source since the first one of its window.
#[derive(Clone, Copy, Debug)]
struct Failures {
    first: Instant,
    count: u32,
}

impl Failures {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.first) >= WINDOW
    }
}

impl Budget {
    /// Returns a budget of so many failures per source and [`WINDOW`].
    pub(crate) fn new(failures_max: u32) -> Self {
        Self { failures_max, sources: HashMap::new() }
    }

    /// Returns whether the source has used up its budget.
    pub(crate) fn is_spent(&self, source: IpAddr, now: Instant) -> bool {
        let failures = self.sources.get(&source);
        failures.is_some_and(|failures| !failures.is_over(now) && failures.count >= self.failures_max)
    }

    /// Counts a failure.
    pub(crate) fn fail(&mut self, source: IpAddr, now: Instant) {
        if !self.sources.contains_key(&source) && self.sources.len() >= SOURCES_MAX {
            self.make_room(now);
        }
        let failures = self.sources.entry(source).or_insert(Failures { first: now, count: 0 });
        if failures.is_over(now) {
            *failures = Failures { first: now, count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
    }

    fn make_room(&mut self, now: Instant) {
        self.sources.retain(|_, failures| !failures.is_over(now));
        if self.sources.len() >= SOURCES_MAX {
            let first = self.sources.iter().min_by_key(|(_, failures)| failures.first).map(|(source, _)| *source);
            first.map(|source| self.sources.remove(&source));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant serves as the first one")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_source_has_its_budget_and_a_new_one_after_the_window() {
        let (mut budget, at) = (Budget::new(2), start());
        let [one, other] = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(192, 0, 2, last)));
        for _ in 0..2 {
            assert!(!budget.is_spent(one, at));
            budget.fail(one, at);
        }
        let end = at + WINDOW;
        assert!(budget.is_spent(one, at) && budget.is_spent(one, end - Duration::from_nanos(1)));
        assert!(!budget.is_spent(other, at) && !budget.is_spent(one, end));
        budget.fail(one, end);
        assert!(!budget.is_spent(one, end), "a new window");
    }

    #[test]
    fn the_sources_remembered_are_bounded() {
        let (mut budget, at) = (Budget::new(1), start());
        let source = |number: usize| IpAddr::from(Ipv4Addr::from_bits(u32::try_from(number).unwrap()));
        for number in 0..=SOURCES_MAX {
            budget.fail(source(number), at + Duration::from_nanos(number as u64));
        }
        assert_eq!(budget.sources.len(), SOURCES_MAX);
        let now = at + Duration::from_secs(1);
        assert!(!budget.is_spent(source(0), now) && budget.is_spent(source(1), now), "the first is forgotten");
        budget.fail(source(0), now + WINDOW);
        assert_eq!(budget.sources.len(), 1, "no source is remembered without need");
    }
}
