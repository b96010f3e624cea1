//! Where the topic ends, and which partitions have been read so far. Pure.
//!
//! The end is the high watermark. A reader that an open transaction holds back has read the last record that it gets,
//! and knows nothing of those that follow: it has not read to the end.

use std::collections::{BTreeMap, BTreeSet};

use kafka::topics::{Hold, Watermarks};

/// The ends of the partitions, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    ends: BTreeMap<i32, End>,
    /// Partitions that have not been read to their end.
    ahead: BTreeSet<i32>,
    /// Partitions whose reader is held back.
    held: BTreeSet<i32>,
}

/// The end of a partition.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    low: i64,
    /// The end when it was last asked for.
    high: i64,
    /// The end that must be reached: later ones count once the reader reports them.
    goal: i64,
}

impl Horizon {
    /// Returns the horizon of a reader that begins now.
    pub(super) fn new(log: &[Watermarks]) -> Self {
        let end = |found: &Watermarks| (found.partition, End { low: found.low, high: found.high, goal: found.high });
        let ahead = log.iter().map(|found| found.partition).collect();
        Self { ends: log.iter().map(end).collect(), ahead, held: BTreeSet::new() }
    }

    /// Returns whether every partition has been read to its end.
    pub(super) fn is_read(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Adds partitions that are new, or must be read to their ends again.
    pub(super) fn add(&mut self, partitions: &[i32]) {
        self.ahead.extend(partitions);
        for partition in partitions {
            if let Some(end) = self.ends.get_mut(partition) {
                end.goal = end.goal.max(end.high);
            }
        }
    }

    /// Returns whether a partition has an end that is known and has not been reached. Records reach it too: where they
    /// come one after the other, the reader never reports an end.
    pub(super) fn awaits(&self, partition: i32) -> bool {
        self.ahead.contains(&partition) && self.ends.contains_key(&partition)
    }

    /// Returns whether a reader that has come to `next` has read the partition to its end.
    pub(super) fn reach(&mut self, partition: i32, next: i64) -> bool {
        let is_end = next >= self.ends.get(&partition).map_or(0, |end| end.goal);
        if is_end {
            self.ahead.remove(&partition);
            self.held.remove(&partition);
        }
        is_end
    }

    /// Notes where the cluster says that a partition ends.
    pub(super) fn see(&mut self, found: &Watermarks) {
        let end = self.ends.entry(found.partition).or_default();
        (end.low, end.high) = (found.low, found.high);
    }

    /// Notes that a reader is held back which has read to `next`. Returns whether it is, and not known yet: the hold
    /// may have ended since the cluster was asked.
    pub(super) fn hold(&mut self, hold: &Hold, next: i64) -> bool {
        if next >= hold.high {
            return false;
        }
        self.ends.entry(hold.partition).or_default().goal = hold.high;
        self.ahead.insert(hold.partition);
        self.held.insert(hold.partition)
    }

    /// Returns the number of offsets that are still to be read, given the next offset of each partition.
    pub(super) fn behind(&self, next: impl Fn(i32) -> Option<i64>) -> i64 {
        let unread = |(partition, end): (&i32, &End)| (end.high - next(*partition).unwrap_or(end.low)).max(0);
        self.ends.iter().map(unread).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(high: i64) -> Watermarks {
        Watermarks { partition: 0, low: 0, stable: 5, high }
    }

    fn hold(high: i64) -> Hold {
        Hold { partition: 0, stable: 5, high, since: None }
    }

    #[test]
    fn a_reader_that_is_held_back_has_not_read_to_the_end() {
        let mut horizon = Horizon::new(&[log(7)]);
        assert!(!horizon.reach(0, 5) && !horizon.is_read(), "a transaction is open from the start");
        assert!(horizon.reach(0, 7) && horizon.is_read());
        horizon.see(&log(12));
        assert_eq!(horizon.behind(|_| Some(7)), 5);
        assert!(horizon.hold(&hold(12), 7) && !horizon.is_read());
        assert!(!horizon.hold(&hold(14), 7), "it is known");
        assert!(!horizon.reach(0, 12), "the transaction has ended, and another one is open before the goal");
        assert!(horizon.reach(0, 15) && horizon.is_read());
        assert!(!horizon.hold(&hold(15), 15) && horizon.is_read(), "over before the answer came");
    }

    #[test]
    fn records_reach_an_end_that_was_known() {
        let mut horizon = Horizon::new(&[log(7)]);
        assert!(horizon.awaits(0) && !horizon.reach(0, 6) && horizon.awaits(0));
        assert!(horizon.reach(0, 9) && horizon.is_read() && !horizon.awaits(0));
        horizon.see(&log(12));
        horizon.add(&[0, 1]);
        assert!(horizon.awaits(0) && !horizon.reach(0, 11), "after a stall, to where the log is known to end");
        assert!(!horizon.awaits(1), "of a new partition only the reader knows the end");
        assert!(horizon.reach(0, 12) && !horizon.is_read());
    }

    #[test]
    fn partitions_that_are_added_are_read_to_what_the_reader_reports() {
        let mut horizon = Horizon::new(&[log(5)]);
        assert!(horizon.reach(0, 5));
        horizon.add(&[0, 1]);
        assert!(horizon.reach(1, 0) && !horizon.is_read());
        assert!(horizon.reach(0, 5) && horizon.is_read());
    }
}
