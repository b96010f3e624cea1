//! Which leader epoch appended which part of a log, as far as a reader has seen.

use std::collections::BTreeMap;

use super::Position;

/// The most epochs that are kept of a partition: years of restarts. Of older ones nothing is known.
const EPOCHS_MAX: usize = 1_000;

/// The leader epochs of the records that a reader has read. Epochs rise with offsets.
///
/// A position that names an epoch can be compared with it. A record that was cut off the log, and whose offset holds
/// another one now, had a lower epoch than the records that took the place of the cut ones.
///
/// | records read | compared | answer |
/// | --- | --- | --- |
/// | 0 to 9 of epoch 3, 10 to 20 of epoch 5 | `0:7@3`, `0:12@5` | same |
/// | | `0:12@3` | other: the log of epoch 3 was cut at 10 |
/// | | `0:7@5` | other: this reader's log is the one that was cut, or the name is wrong |
/// | 0 to 9 of epoch 3, 15 to 20 of epoch 5 | `0:12@3` | unknown: the record was compacted away, or cut off |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs(BTreeMap<i32, Vec<Span>>);

/// The records of one epoch that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    epoch: i32,
    first: i64,
    last: i64,
}

/// The result of comparing a position with the records that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochMatch {
    /// The offset is among records of that epoch.
    Same,
    /// The log that was read has no such record, and never had.
    Other,
    /// The records that were read do not tell.
    Unknown,
}

impl LeaderEpochs {
    /// Returns what [`LeaderEpochs::spans`] has yielded.
    pub fn from_spans(spans: impl IntoIterator<Item = (i32, i32, i64, i64)>) -> Self {
        let mut epochs = Self::default();
        for (partition, epoch, first, last) in spans {
            epochs.0.entry(partition).or_default().push(Span { epoch, first, last });
        }
        for spans in epochs.0.values_mut() {
            spans.sort_by_key(|span| span.epoch);
            spans.drain(..spans.len().saturating_sub(EPOCHS_MAX));
        }
        epochs
    }

    /// Notes the record at `position`. Those of a partition come in the order of their offsets.
    ///
    /// Returns whether its epoch is new.
    pub fn note(&mut self, position: Position, epoch: i32) -> bool {
        let spans = self.0.entry(position.partition).or_default();
        match spans.last_mut() {
            Some(span) if span.epoch >= epoch => {
                span.last = span.last.max(position.offset);
                false
            }
            _ => {
                if spans.len() == EPOCHS_MAX {
                    spans.remove(0);
                }
                spans.push(Span { epoch, first: position.offset, last: position.offset });
                true
            }
        }
    }

    /// Adds the records that another reader has read, those of each partition after all that are there.
    pub fn extend(&mut self, other: &Self) {
        for (partition, epoch, first, last) in other.spans() {
            self.note(Position { partition, offset: first }, epoch);
            self.note(Position { partition, offset: last }, epoch);
        }
    }

    /// Returns the epoch of the record at `position`, if it was read.
    pub fn of(&self, position: Position) -> Option<i32> {
        let spans = self.0.get(&position.partition)?;
        let span = spans.iter().rev().find(|span| span.first <= position.offset)?;
        (position.offset <= span.last).then_some(span.epoch)
    }

    /// Returns the epoch of the last record that was read below `next`.
    pub fn before(&self, partition: i32, next: i64) -> Option<i32> {
        self.0.get(&partition)?.iter().rev().find(|span| span.first < next).map(|span| span.epoch)
    }

    /// Returns whether the log that was read has, or had, a record of `epoch` at `position`.
    pub fn compare(&self, position: Position, epoch: i32) -> EpochMatch {
        let Some(spans) = self.0.get(&position.partition) else { return EpochMatch::Unknown };
        let offset = position.offset;
        for span in spans.iter().rev() {
            if (span.epoch > epoch && span.first <= offset) || (span.epoch < epoch && span.last >= offset) {
                return EpochMatch::Other;
            }
            if span.epoch == epoch && (span.first..=span.last).contains(&offset) {
                return EpochMatch::Same;
            }
        }
        EpochMatch::Unknown
    }

    /// Yields partition, epoch, first and last offset of each span.
    pub fn spans(&self) -> impl Iterator<Item = (i32, i32, i64, i64)> + '_ {
        let of = |(partition, spans): (&i32, &Vec<Span>)| {
            let partition = *partition;
            spans.clone().into_iter().map(move |span| (partition, span.epoch, span.first, span.last))
        };
        self.0.iter().flat_map(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Position {
        Position { partition: 0, offset }
    }

    fn read(spans: &[(i32, i64, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, first, last) in spans {
            for offset in *first..=*last {
                epochs.note(at(offset), *epoch);
            }
        }
        epochs
    }

    #[test]
    fn the_table_of_the_doc() {
        let whole = read(&[(3, 0, 9), (5, 10, 20)]);
        for (offset, epoch, expected) in [
            (7, 3, EpochMatch::Same),
            (12, 5, EpochMatch::Same),
            (12, 3, EpochMatch::Other),
            (7, 5, EpochMatch::Other),
            (7, 4, EpochMatch::Other),
            (21, 5, EpochMatch::Unknown),
            (21, 6, EpochMatch::Unknown),
            (21, 4, EpochMatch::Other),
        ] {
            assert_eq!(whole.compare(at(offset), epoch), expected, "{offset}@{epoch}");
        }
        assert_eq!(read(&[(3, 0, 9), (5, 15, 20)]).compare(at(12), 3), EpochMatch::Unknown);
        assert_eq!(whole.compare(Position { partition: 1, offset: 0 }, 0), EpochMatch::Unknown);
    }

    #[test]
    fn each_record_has_the_epoch_of_its_leader() {
        let epochs = read(&[(3, 0, 9), (5, 15, 20)]);
        for (offset, epoch) in [(0, Some(3)), (9, Some(3)), (12, None), (15, Some(5)), (20, Some(5)), (21, None)] {
            assert_eq!(epochs.of(at(offset)), epoch, "{offset}");
        }
        for (next, epoch) in [(0, None), (1, Some(3)), (15, Some(3)), (16, Some(5)), (99, Some(5))] {
            assert_eq!(epochs.before(0, next), epoch, "{next}");
        }
        assert_eq!(LeaderEpochs::from_spans(epochs.spans()), epochs);
    }

    #[test]
    fn the_oldest_epochs_are_let_go() {
        let mut epochs = LeaderEpochs::default();
        for offset in 0..2_000 {
            assert!(epochs.note(at(offset), i32::try_from(offset).unwrap()));
        }
        assert_eq!(epochs.spans().count(), EPOCHS_MAX);
        assert_eq!((epochs.of(at(999)), epochs.of(at(1_000))), (None, Some(1_000)));
    }
}
