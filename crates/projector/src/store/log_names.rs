//! The names of a store's positions outside the process.

use std::sync::Arc;

use domain::{Checkpoint, EpochMatch, LeaderEpochs, Position, TopicId, TopicPosition};

/// Names the positions of one log, with its topic and the leader epochs of its records.
#[derive(Clone, Debug)]
pub struct LogNames {
    topic: TopicId,
    epochs: Arc<LeaderEpochs>,
}

impl LogNames {
    pub(crate) fn new(topic: TopicId, epochs: LeaderEpochs) -> Self {
        Self { topic, epochs: Arc::new(epochs) }
    }

    pub fn topic(&self) -> TopicId {
        self.topic
    }

    /// Returns the name of a position.
    pub fn of(&self, position: Position) -> TopicPosition {
        TopicPosition { topic: self.topic, position, epoch: self.epochs.of(position) }
    }

    /// Returns the leader epoch of the record at a position, where it is known.
    pub(crate) fn epoch(&self, position: Position) -> Option<i32> {
        self.epochs.of(position)
    }

    /// Returns whether the log has, or had, a record of this leader epoch there.
    pub(crate) fn compare(&self, position: Position, epoch: i32) -> EpochMatch {
        self.epochs.compare(position, epoch)
    }

    /// Returns whether a reader that has read so far has read this log, which a table has read up to `held`. Where the
    /// table does not tell, because compaction has removed records that the reader has seen, the answer is no.
    pub(crate) fn is_of(&self, read: &Checkpoint, held: &Checkpoint) -> bool {
        read.entries().all(|(partition, next, epoch)| {
            let (Some(epoch), true) = (epoch, next > 0) else { return true };
            if (held.next(partition), held.epoch(partition)) == (Some(next), Some(epoch)) {
                return true;
            }
            match self.compare(Position { partition, offset: next - 1 }, epoch) {
                EpochMatch::Same => true,
                EpochMatch::Other => false,
                // Beyond the table, or where its broker told no epochs, nothing speaks against it.
                EpochMatch::Unknown => {
                    held.next(partition).is_none_or(|held| held < next) || held.epoch(partition).is_none()
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_of_a_log_that_was_cut_is_told_apart() {
        // Records 0 to 9 of epoch 3 and 10 to 19 of epoch 5; of partition 1 all between were compacted away.
        let spans = [(0, 3, 0, 9), (0, 5, 10, 19), (1, 3, 0, 0), (1, 5, 19, 19)];
        let names = LogNames::new(TopicId::from_bytes([1; 16]), LeaderEpochs::from_spans(spans));
        let held: Checkpoint = "0:20@5,1:22@5,2:7".parse().unwrap();
        for (read, expected) in [
            ("", true),
            ("0:10@3", true),
            ("0:15@5", true),
            ("0:15@3", false),
            ("0:11@3", false),
            ("0:15", true),
            ("0:25@5", true),
            ("0:25@6", true),
            ("0:25@3", false),
            ("1:10@3", false),
            ("1:22@5", true),
            ("2:5@1", true),
            ("0:0@9", true),
        ] {
            assert_eq!(names.is_of(&read.parse().unwrap(), &held), expected, "{read}");
        }
    }
}
