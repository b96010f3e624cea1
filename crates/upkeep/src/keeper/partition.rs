//! What the keeper knows of one partition, and what it has to do: pure, and small enough for millions of keys.

use std::collections::HashMap;

use domain::UserId;
use domain::fold::{self, Effect, KeyState, RecordHead};

/// The heads of a partition's keys, and which of them are dirty.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    keys: HashMap<UserId, KeyState>,
    /// Keys whose last record is not the newest, with what has been done about them.
    dirty: HashMap<UserId, Asked>,
}

/// A dirty key's record to be appended again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    pub user_id: UserId,
    /// Where the winning record is.
    pub winner_offset: i64,
}

/// For which last record of a dirty key a repair has been handed out; a later one needs another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    NotYet,
    AtLast(i64),
}

impl Partition {
    /// Takes in the record at `offset`. Records come in the order of their offsets; a repetition changes nothing.
    pub fn read(&mut self, offset: i64, user_id: UserId, head: RecordHead) -> Effect {
        let (state, effect) = fold::apply(self.keys.get(&user_id).copied(), offset, head);
        self.note(user_id, state);
        effect
    }

    /// Takes in a record of the user at `offset` that cannot be read: after it the newest one must be appended again, or
    /// compaction would keep this one. Before the first that can be read it means nothing.
    pub fn pass_over(&mut self, offset: i64, user_id: UserId) {
        if let Some(state) = self.keys.get(&user_id) {
            self.note(user_id, fold::pass_over(*state, offset));
        }
    }

    fn note(&mut self, user_id: UserId, state: KeyState) {
        self.keys.insert(user_id, state);
        if state.is_clean() {
            self.dirty.remove(&user_id);
        } else {
            self.dirty.entry(user_id).or_insert(Asked::NotYet);
        }
    }

    /// Returns what is to be repaired now that the partition has been read to its end, at most `max` keys, and notes that it was
    /// handed out: while a repair is on its way the key is not handed out again, unless another stale record comes after it.
    pub fn repairs(&mut self, max: usize) -> Vec<Repair> {
        let mut repairs = Vec::new();
        for (user_id, asked) in &mut self.dirty {
            if repairs.len() == max {
                break;
            }
            let state = &self.keys[user_id];
            if *asked != Asked::AtLast(state.last_offset) {
                *asked = Asked::AtLast(state.last_offset);
                repairs.push(Repair { user_id: *user_id, winner_offset: state.winner_offset });
            }
        }
        repairs
    }

    /// Notes that a repair was not appended, as far as is known: it is handed out again.
    pub fn failed(&mut self, repair: Repair) {
        if let Some(asked) = self.dirty.get_mut(&repair.user_id) {
            *asked = Asked::NotYet;
        }
    }

    /// The number of keys seen.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The number of keys whose last record is not the newest.
    pub fn dirty(&self) -> usize {
        self.dirty.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{EventId, EventType, Head, UnixMillis, Version};

    fn id(id: i64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn at(millis: i64) -> RecordHead {
        let user_id = id(1);
        let version = Version::from_bytes([u8::try_from(millis).unwrap(); 16]);
        let event_id = EventId::derive(user_id, EventType::Changed, &millis.to_string(), version, None);
        let occurred_at = UnixMillis::from_millis(millis);
        RecordHead::Event(Head {
            user_id,
            kind: EventType::Changed,
            occurred_at,
            version,
            parent: None,
            event_id,
            received_at: UnixMillis::from_millis(0),
        })
    }

    #[test]
    fn a_clean_key_is_never_repaired() {
        let mut partition = Partition::default();
        for (offset, millis) in [(0, 1), (1, 2), (2, 2), (7, 9)] {
            partition.read(offset, id(1), at(millis));
            assert!(partition.repairs(10).is_empty());
        }
        assert_eq!((partition.keys(), partition.dirty()), (1, 0));
    }

    #[test]
    fn a_stale_record_is_repaired_once_by_its_winner() {
        let mut partition = Partition::default();
        partition.read(0, id(1), at(9));
        partition.read(1, id(1), at(5));
        let repair = Repair { user_id: id(1), winner_offset: 0 };
        assert_eq!(partition.repairs(10), [repair]);
        assert!(partition.repairs(10).is_empty(), "it is on its way");
        partition.read(2, id(1), at(9));
        assert_eq!(partition.dirty(), 0, "it has come back");
        assert!(partition.repairs(10).is_empty());
    }

    #[test]
    fn what_failed_and_what_came_after_are_handed_out_again() {
        let mut partition = Partition::default();
        partition.read(0, id(1), at(9));
        partition.read(1, id(1), at(5));
        let [repair] = partition.repairs(10)[..] else { panic!("one repair") };
        partition.failed(repair);
        assert_eq!(partition.repairs(10), [repair]);
        partition.read(2, id(1), at(6));
        assert_eq!(partition.repairs(10), [repair], "another stale record before the repair came back");
        partition.read(3, id(1), at(10));
        partition.failed(repair);
        assert!(partition.repairs(10).is_empty(), "a newer event has made the key clean meanwhile");
    }

    #[test]
    fn what_cannot_be_read_is_repaired_like_what_is_stale() {
        let mut partition = Partition::default();
        partition.pass_over(0, id(1));
        assert!(partition.repairs(10).is_empty(), "there is nothing to append again");
        partition.read(1, id(1), at(9));
        assert_eq!(partition.dirty(), 0, "it stands in front of nothing");
        partition.pass_over(2, id(1));
        assert_eq!(partition.repairs(10), [Repair { user_id: id(1), winner_offset: 1 }]);
        partition.read(3, id(1), at(9));
        assert_eq!((partition.keys(), partition.dirty()), (1, 0));
    }

    #[test]
    fn a_round_has_a_limit() {
        let mut partition = Partition::default();
        for user in 0..5 {
            partition.read(user * 2, id(user), at(9));
            partition.read(user * 2 + 1, id(user), at(5));
        }
        assert_eq!(partition.repairs(3).len(), 3);
        assert_eq!(partition.repairs(3).len(), 2);
    }
}
