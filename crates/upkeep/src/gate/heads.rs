//! The newest record of every key, and the judgement on a delivery: pure.

use std::collections::HashMap;

use domain::fold::{self, KeyState, RecordHead};
use domain::order::{self, Order};
use domain::{Checkpoint, Head, Position, UserId};

/// What is to be done with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against it.
    Append,
    /// A newer event of the user is at that position.
    Late { newer: Position },
    /// The user was forgotten after it happened, at that position.
    Forgotten { marker: Position },
    /// The same event is stored at that position.
    Stored { position: Position },
}

/// The winning record of every key of the topic, as far as it has been read.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    keys: HashMap<UserId, Winner>,
    read: Checkpoint,
}

#[derive(Clone, Copy, Debug)]
struct Winner {
    partition: i32,
    state: KeyState,
}

impl Heads {
    /// Takes in the record at `position`.
    pub fn read(&mut self, position: Position, user_id: UserId, head: RecordHead) {
        self.read.reach(position.partition, position.offset + 1);
        let known = self.keys.get(&user_id).filter(|winner| winner.partition == position.partition);
        let (state, _) = fold::apply(known.map(|winner| winner.state), position.offset, head);
        self.keys.insert(user_id, Winner { partition: position.partition, state });
    }

    /// Notes that `partition` was read up to `next_offset`.
    pub fn reach(&mut self, partition: i32, next_offset: i64) {
        self.read.reach(partition, next_offset);
    }

    /// Returns what is to be done with a delivery whose event has this head.
    pub fn judge(&self, head: &Head) -> Verdict {
        let Some(Winner { partition, state }) = self.keys.get(&head.user_id) else {
            return Verdict::Append;
        };
        let position = Position { partition: *partition, offset: state.winner_offset };
        match (order::compare(&RecordHead::Event(*head), &state.winner), state.winner) {
            (Order::Newer, _) => Verdict::Append,
            (Order::Same, _) => Verdict::Stored { position },
            (Order::Stale, RecordHead::Event(_)) => Verdict::Late { newer: position },
            (Order::Stale, RecordHead::Forgotten { .. }) => Verdict::Forgotten { marker: position },
        }
    }

    /// How far the topic has been read.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.read
    }

    pub fn keys(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{EventId, EventType, UnixMillis, Version};

    fn head(millis: i64) -> Head {
        let user_id = UserId::new(1).unwrap();
        let version = Version::from_bytes([u8::try_from(millis).unwrap(); 16]);
        let event_id = EventId::derive(user_id, EventType::Changed, &millis.to_string(), version, None);
        let occurred_at = UnixMillis::from_millis(millis);
        Head {
            user_id,
            kind: EventType::Changed,
            occurred_at,
            version,
            parent: None,
            event_id,
            received_at: UnixMillis::from_millis(0),
        }
    }

    #[test]
    fn a_delivery_is_judged_by_the_newest_record() {
        let at = |offset| Position { partition: 3, offset };
        let mut heads = Heads::default();
        assert_eq!(heads.judge(&head(5)), Verdict::Append, "nothing is known");
        heads.read(at(0), head(5).user_id, RecordHead::Event(head(5)));
        assert_eq!(heads.judge(&head(5)), Verdict::Stored { position: at(0) });
        assert_eq!(heads.judge(&head(4)), Verdict::Late { newer: at(0) });
        assert_eq!(heads.judge(&head(6)), Verdict::Append);
        heads.read(at(1), head(5).user_id, RecordHead::Forgotten { at: UnixMillis::from_millis(6) });
        assert_eq!(heads.judge(&head(5)), Verdict::Forgotten { marker: at(1) });
        assert_eq!(heads.judge(&head(7)), Verdict::Append, "a newer one brings the user back");
        assert_eq!(heads.checkpoint().to_string(), "3:2");
    }

    #[test]
    fn a_stale_record_in_the_log_does_not_move_the_fence_back() {
        let at = |offset| Position { partition: 0, offset };
        let mut heads = Heads::default();
        heads.read(at(0), head(9).user_id, RecordHead::Event(head(9)));
        heads.read(at(1), head(5).user_id, RecordHead::Event(head(5)));
        assert_eq!(heads.judge(&head(5)), Verdict::Late { newer: at(0) });
        assert_eq!(heads.judge(&head(9)), Verdict::Stored { position: at(0) });
    }
}
