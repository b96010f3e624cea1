//! The offset at which each partition is read, and whether the log holds it. Pure.

use std::collections::BTreeMap;

use domain::{Checkpoint, Position};

use super::Error;
use crate::topics::Watermarks;

/// The reading position in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Every record below was delivered.
    pub(crate) next: i64,
    /// The leader epoch of the last record that was read, where it is known.
    pub(crate) epoch: Option<i32>,
    /// Whether nothing was read and no position requested. The beginning of the log may then move without loss.
    pub(crate) at_beginning: bool,
}

#[derive(Debug)]
pub(crate) struct Cursors(BTreeMap<i32, Cursor>);

impl Cursors {
    /// Sets the first offset of each partition. Refuses a checkpoint that the log does not hold.
    pub(crate) fn place(log: &[Watermarks], from: &Checkpoint) -> Result<Self, Error> {
        for (partition, _) in from.iter() {
            find(log, partition)?;
        }
        let mut cursors = BTreeMap::new();
        for found in log {
            let cursor = match from.next(found.partition) {
                None => Cursor { next: found.low, epoch: None, at_beginning: true },
                Some(next) => {
                    within(found, next)?;
                    Cursor { next, epoch: from.epoch(found.partition), at_beginning: false }
                }
            };
            cursors.insert(found.partition, cursor);
        }
        Ok(Self(cursors))
    }

    /// Refuses a log that no longer holds the cursors. Moves cursors that are still at the beginning.
    pub(crate) fn verify(&mut self, log: &[Watermarks]) -> Result<(), Error> {
        for (partition, cursor) in &mut self.0 {
            let found = find(log, *partition)?;
            if cursor.at_beginning {
                cursor.next = found.low;
            } else {
                within(found, cursor.next)?;
            }
        }
        Ok(())
    }

    /// Moves past a record. Returns false if it was passed before (librdkafka may deliver a record again after a
    /// reassignment), or if its partition is not followed.
    pub(crate) fn pass(&mut self, position: Position, epoch: Option<i32>) -> bool {
        let Some(cursor) = self.0.get_mut(&position.partition) else {
            return false;
        };
        if position.offset < cursor.next {
            return false;
        }
        *cursor = Cursor { next: position.offset + 1, epoch, at_beginning: false };
        true
    }

    /// Moves to the end of a partition, beyond offsets that compaction has removed. Returns the new offset.
    pub(crate) fn reach(&mut self, partition: i32, end: i64) -> Option<i64> {
        let cursor = self.0.get_mut(&partition)?;
        *cursor = Cursor { next: cursor.next.max(end), at_beginning: false, ..*cursor };
        Some(cursor.next)
    }

    /// Starts to follow the new ones among the partitions, and returns them.
    pub(crate) fn add(&mut self, partitions: impl Iterator<Item = i32>) -> Vec<i32> {
        let added: Vec<i32> = partitions.filter(|partition| !self.0.contains_key(partition)).collect();
        for partition in &added {
            self.0.insert(*partition, Cursor { next: 0, epoch: None, at_beginning: true });
        }
        added
    }

    /// Returns the error of a reader whose log was truncated at `end`. Returns none if the partition is not followed,
    /// or if it was not read beyond `end`.
    pub(crate) fn cut(&self, partition: i32, end: i64) -> Option<Error> {
        let next_offset = self.0.get(&partition)?.next;
        (next_offset > end).then_some(Error::PositionOutsideLog { partition, next_offset, low: 0, high: end })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, Cursor)> + '_ {
        self.0.iter().map(|(partition, cursor)| (*partition, *cursor))
    }
}

fn find(log: &[Watermarks], partition: i32) -> Result<&Watermarks, Error> {
    log.iter().find(|found| found.partition == partition).ok_or(Error::PartitionMissing { partition })
}

fn within(found: &Watermarks, next_offset: i64) -> Result<(), Error> {
    let Watermarks { partition, low, high, .. } = *found;
    if (low..=high).contains(&next_offset) {
        return Ok(());
    }
    Err(Error::PositionOutsideLog { partition, next_offset, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [Watermarks; 2] = [
        Watermarks { partition: 0, low: 10, stable: 20, high: 20 },
        Watermarks { partition: 1, low: 0, stable: 0, high: 0 },
    ];

    fn place(from: &str) -> Result<Cursors, Error> {
        Cursors::place(&LOG, &from.parse().unwrap())
    }

    fn nexts(from: &str) -> Vec<(i32, i64)> {
        let cursors = place(from).unwrap();
        cursors.iter().map(|(partition, cursor)| (partition, cursor.next)).collect()
    }

    #[test]
    fn a_checkpoint_inside_the_log() {
        assert_eq!(nexts(""), [(0, 10), (1, 0)]);
        assert_eq!(nexts("0:20,1:0"), [(0, 20), (1, 0)]);
    }

    #[test]
    fn a_checkpoint_outside_the_log() {
        for next_offset in [9, 21] {
            assert_eq!(
                place(&format!("0:{next_offset}")).unwrap_err(),
                Error::PositionOutsideLog { partition: 0, next_offset, low: 10, high: 20 }
            );
        }
        assert_eq!(place("2:0").unwrap_err(), Error::PartitionMissing { partition: 2 });
    }

    #[test]
    fn the_log_may_be_cut_before_anything_was_read_but_not_after() {
        let later = [
            Watermarks { partition: 0, low: 15, stable: 20, high: 20 },
            Watermarks { partition: 1, low: 0, stable: 0, high: 0 },
        ];
        let mut untouched = place("").unwrap();
        assert_eq!(untouched.verify(&later), Ok(()));
        assert_eq!(untouched.iter().next().map(|(_, cursor)| cursor.next), Some(15));

        let mut read = place("").unwrap();
        assert!(read.pass(Position { partition: 0, offset: 12 }, None));
        assert_eq!(
            read.verify(&later),
            Err(Error::PositionOutsideLog { partition: 0, next_offset: 13, low: 15, high: 20 })
        );
    }

    #[test]
    fn a_record_is_passed_once() {
        let mut cursors = place("0:12").unwrap();
        for (offset, passes) in [(11, false), (12, true), (12, false), (14, true), (13, false)] {
            assert_eq!(cursors.pass(Position { partition: 0, offset }, None), passes, "{offset}");
        }
        assert!(!cursors.pass(Position { partition: 9, offset: 0 }, None));
    }

    #[test]
    fn the_epoch_is_of_the_last_record_read() {
        let mut cursors = place("0:12@3").unwrap();
        let epoch = |cursors: &Cursors| cursors.iter().next().and_then(|(_, cursor)| cursor.epoch);
        assert_eq!(epoch(&cursors), Some(3));
        assert!(cursors.pass(Position { partition: 0, offset: 12 }, Some(5)));
        assert_eq!(cursors.reach(0, 20), Some(20));
        assert_eq!(epoch(&cursors), Some(5));
    }

    #[test]
    fn the_end_is_beyond_what_compaction_removed_and_never_back() {
        let mut cursors = place("0:12").unwrap();
        assert_eq!(cursors.reach(0, 20), Some(20));
        assert_eq!(cursors.reach(0, 18), Some(20));
        assert_eq!(cursors.reach(9, 1), None);
    }

    #[test]
    fn a_cut_matters_to_a_reader_that_was_beyond_it() {
        let mut cursors = place("0:12").unwrap();
        assert!(cursors.pass(Position { partition: 0, offset: 19 }, None));
        let outside = Error::PositionOutsideLog { partition: 0, next_offset: 20, low: 0, high: 17 };
        assert_eq!(cursors.cut(0, 17), Some(outside), "though the log may reach beyond 20 again");
        assert_eq!(cursors.cut(0, 20), None);
        assert_eq!(cursors.cut(9, 0), None);
    }

    #[test]
    fn only_new_partitions_are_added() {
        let mut cursors = place("").unwrap();
        assert_eq!(cursors.add(0..4), [2, 3]);
        assert_eq!(cursors.add(0..4), Vec::<i32>::new());
    }
}
