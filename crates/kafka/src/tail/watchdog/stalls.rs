//! Which partitions are stalled. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// The longest patience with a partition that a new client did not help.
const PATIENCE_MAX: Duration = Duration::from_secs(5 * 60);

/// The partitions of a reader that are behind.
#[derive(Debug)]
pub(super) struct Stalls {
    stalled_after: Duration,
    marks: BTreeMap<i32, Mark>,
}

/// A partition at the last look.
#[derive(Debug)]
struct Mark {
    next: i64,
    /// When it was first seen behind at this offset.
    behind_since: Option<Duration>,
    /// Twice as long after each new client that did not help: a record that takes long to fetch must arrive at last.
    patience: Duration,
}

impl Stalls {
    pub(super) fn new(stalled_after: Duration) -> Self {
        Self { stalled_after, marks: BTreeMap::new() }
    }

    /// Returns the partitions whose next offset has stayed below their end for too long. `waited` is how long the
    /// reader has waited for records since its start. `ends` has the partitions that the cluster has answered for.
    pub(super) fn judge(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
        waited: Duration,
    ) -> Vec<i32> {
        let mut stalled = Vec::new();
        for (&partition, &next) in cursors {
            let fresh = || Mark { next, behind_since: None, patience: self.stalled_after };
            let mark = self.marks.entry(partition).or_insert_with(fresh);
            if mark.next != next {
                *mark = fresh();
            }
            if ends.get(&partition).is_none_or(|end| *end <= next) {
                mark.behind_since = None;
                continue;
            }
            let since = *mark.behind_since.get_or_insert(waited);
            if waited.saturating_sub(since) >= mark.patience {
                *mark = Mark { next, behind_since: None, patience: (mark.patience * 2).min(PATIENCE_MAX) };
                stalled.push(partition);
            }
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once a second at partition 0, with the next offset, the end, and whether the reader waited for that
    /// second. Returns the seconds at which it was stalled.
    fn stalls(looks: impl IntoIterator<Item = (i64, Option<i64>, bool)>) -> Vec<u64> {
        let (mut stalls, mut waited) = (Stalls::new(Duration::from_secs(4)), Duration::ZERO);
        let look = |(second, (next, end, waits)): (u64, (i64, Option<i64>, bool))| {
            waited += Duration::from_secs(u64::from(waits));
            let ends = end.map(|end| (0, end)).into_iter().collect();
            let stalled = stalls.judge(&BTreeMap::from([(0, next)]), &ends, waited);
            (!stalled.is_empty()).then_some(second)
        };
        (0..).zip(looks).filter_map(look).collect()
    }

    const NEVER: [u64; 0] = [];

    #[test]
    fn a_forgotten_partition_is_stalled() {
        assert_eq!(stalls(vec![(5, Some(6), true); 5]), [4]);
    }

    #[test]
    fn a_client_that_does_not_help_is_given_more_time() {
        assert_eq!(stalls(vec![(5, Some(6), true); 40]), [4, 13, 30]);
        let mut patience = Stalls::new(Duration::from_secs(4));
        for turn in 0..100 {
            patience.judge(&BTreeMap::from([(0, 5)]), &BTreeMap::from([(0, 6)]), PATIENCE_MAX * turn);
        }
        assert_eq!(patience.marks[&0].patience, PATIENCE_MAX);
    }

    #[test]
    fn a_reader_that_moves_or_is_at_the_end_is_not() {
        assert_eq!(stalls((0..100).map(|next| (next, Some(1_000), true))), NEVER, "it catches up");
        assert_eq!(stalls(vec![(5, Some(5), true); 100]), NEVER, "nothing comes, or an open transaction holds it back");
        assert_eq!(stalls((0..100).map(|look| (look / 3, Some(1_000), true))), NEVER, "it is slow");
    }

    #[test]
    fn time_in_which_the_consumer_takes_nothing_does_not_count() {
        assert_eq!(stalls(vec![(5, Some(6), false); 100]), NEVER);
        let slow = vec![(5, Some(6), false); 50].into_iter().chain(vec![(5, Some(6), true); 3]);
        assert_eq!(stalls(slow), NEVER);
    }

    #[test]
    fn time_in_which_the_cluster_does_not_answer_does_not_count() {
        let outage = (0..100).map(|look| (5, (look % 4 == 0).then_some(6), true));
        assert_eq!(stalls(outage), NEVER);
    }

    #[test]
    fn one_partition_is_not_hidden_by_another() {
        let mut stalls = Stalls::new(Duration::from_secs(4));
        let looks = (0..6).map(|second: u32| {
            let cursors = BTreeMap::from([(0, i64::from(second)), (1, 7)]);
            stalls.judge(&cursors, &BTreeMap::from([(0, 100), (1, 8)]), Duration::from_secs(1) * second)
        });
        assert_eq!(looks.flatten().collect::<Vec<_>>(), [1]);
    }
}
