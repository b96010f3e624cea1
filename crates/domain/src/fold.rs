//! The fold: records of one key in, its state out.
//!
//! Total, without a clock, and small: a state is the head of the winning record and two offsets. The payload of the winner (its
//! bytes, or a row in a table) stays with the caller, who replaces it when [`Effect::replaces_payload`] says so.

use crate::gap::Gap;
pub use crate::order::RecordHead;
use crate::order::{self, Order};

/// The state of one key: its winning record, and where its last one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyState {
    pub winner: RecordHead,
    pub winner_offset: i64,
    /// Offset of the last record of the key, which is the one that compaction keeps.
    pub last_offset: i64,
}

impl KeyState {
    /// Returns whether the last record of the key is the newest: a clean key survives compaction as it is.
    pub fn is_clean(&self) -> bool {
        self.winner_offset == self.last_offset
    }
}

/// What a record did to the state of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It won. A `gap` is suspected from digests alone: decode both users and ask [`crate::gap::changed_fields`] to confirm it.
    Newer { gap: Option<Gap> },
    /// The winner again, at a later offset. Its bytes may differ in the time of receipt, so it replaces the payload: it is the
    /// copy that compaction keeps.
    Duplicate,
    /// It lost; the state of the user is as it was, and the key is dirty.
    Stale,
    /// It won, and the user is forgotten.
    Forgotten,
}

impl Effect {
    /// Returns whether the caller's payload of the key is now this record's.
    pub fn replaces_payload(self) -> bool {
        match self {
            Self::Newer { .. } | Self::Duplicate | Self::Forgotten => true,
            Self::Stale => false,
        }
    }
}

/// Returns the state of a key after `record` at `offset`, and what the record did.
///
/// Records of one key are applied in the order of their offsets. A record at or below the last offset has been applied already
/// and changes nothing, so that reading again is harmless.
pub fn apply(state: Option<KeyState>, offset: i64, record: RecordHead) -> (KeyState, Effect) {
    let won = KeyState { winner: record, winner_offset: offset, last_offset: offset };
    let Some(current) = state else {
        return (won, won_effect(None, &record));
    };
    if offset <= current.last_offset {
        let effect = if offset == current.winner_offset { Effect::Duplicate } else { Effect::Stale };
        return (current, effect);
    }
    match order::compare(&record, &current.winner) {
        Order::Newer => (won, won_effect(Some(&current.winner), &record)),
        Order::Same => (won, Effect::Duplicate),
        Order::Stale => (KeyState { last_offset: offset, ..current }, Effect::Stale),
    }
}

/// Returns the state of a key after a record of it at `offset` that cannot be read: nothing of the user has changed, and the key is
/// dirty, as after a stale record.
pub fn pass_over(state: KeyState, offset: i64) -> KeyState {
    KeyState { last_offset: state.last_offset.max(offset), ..state }
}

fn won_effect(current: Option<&RecordHead>, record: &RecordHead) -> Effect {
    match (current, record) {
        (_, RecordHead::Forgotten { .. }) => Effect::Forgotten,
        (Some(RecordHead::Event(current)), RecordHead::Event(next)) => {
            Effect::Newer { gap: Gap::between(current, next) }
        }
        (None | Some(RecordHead::Forgotten { .. }), RecordHead::Event(_)) => Effect::Newer { gap: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, EventType, Head, UnixMillis, UserId, Version};

    fn changed(at: i64, version: u8, parent: u8) -> RecordHead {
        let user_id = UserId::new(180).unwrap();
        let (version, parent) = (Version::from_bytes([version; 16]), Some(Version::from_bytes([parent; 16])));
        let event_id = EventId::derive(user_id, EventType::Changed, &at.to_string(), version, parent);
        let occurred_at = UnixMillis::from_millis(at);
        RecordHead::Event(Head {
            user_id,
            kind: EventType::Changed,
            occurred_at,
            version,
            parent,
            event_id,
            received_at: UnixMillis::from_millis(0),
        })
    }

    fn forgotten(at: i64) -> RecordHead {
        RecordHead::Forgotten { at: UnixMillis::from_millis(at) }
    }

    /// Given the records at offsets 0, 1, …, then the state after the last and what each did.
    fn fold(records: &[RecordHead]) -> (KeyState, Vec<Effect>) {
        let (mut state, mut effects) = (None, Vec::new());
        for (offset, record) in (0..).zip(records) {
            let (next, effect) = apply(state, offset, *record);
            state = Some(next);
            effects.push(effect);
        }
        (state.unwrap(), effects)
    }

    #[test]
    fn a_user_first_seen_through_a_change_has_no_gap() {
        let (state, effects) = fold(&[changed(5, 2, 1)]);
        assert_eq!(effects, [Effect::Newer { gap: None }]);
        assert!(state.is_clean());
    }

    #[test]
    fn a_stale_record_makes_the_key_dirty_and_its_winner_again_makes_it_clean() {
        let (newest, stale) = (changed(9, 3, 2), changed(5, 2, 1));
        let (dirty, effects) = fold(&[newest, stale]);
        assert_eq!(effects[1], Effect::Stale);
        assert_eq!((dirty.winner_offset, dirty.last_offset, dirty.is_clean()), (0, 1, false));
        let (clean, effects) = fold(&[newest, stale, newest]);
        assert_eq!(effects[2], Effect::Duplicate);
        assert_eq!((clean.winner_offset, clean.last_offset, clean.is_clean()), (2, 2, true));
    }

    #[test]
    fn a_missing_parent_is_a_gap() {
        let (_, effects) = fold(&[changed(1, 2, 1), changed(2, 4, 3)]);
        assert!(matches!(effects[1], Effect::Newer { gap: Some(_) }));
        let (_, effects) = fold(&[changed(1, 2, 1), changed(2, 3, 2)]);
        assert_eq!(effects[1], Effect::Newer { gap: None });
    }

    #[test]
    fn a_forgotten_user_stays_so_until_something_newer() {
        let (state, effects) = fold(&[changed(1, 2, 1), forgotten(5), changed(3, 3, 2)]);
        assert_eq!(effects[1..], [Effect::Forgotten, Effect::Stale]);
        assert_eq!(state.winner, forgotten(5));
        let (_, effects) = fold(&[forgotten(5), changed(6, 3, 2)]);
        assert_eq!(effects[1], Effect::Newer { gap: None });
    }

    #[test]
    fn a_record_that_cannot_be_read_makes_the_key_dirty_and_its_winner_again_makes_it_clean() {
        let (state, _) = fold(&[changed(5, 2, 1)]);
        assert_eq!(pass_over(state, 0), state, "it was read before");
        let dirty = pass_over(state, 1);
        assert_eq!((dirty.winner, dirty.winner_offset, dirty.last_offset), (state.winner, 0, 1));
        assert!(apply(Some(dirty), 2, changed(5, 2, 1)).0.is_clean());
    }

    #[test]
    fn applying_a_record_again_changes_nothing() {
        let records = [changed(9, 3, 2), changed(5, 2, 1)];
        let (state, _) = fold(&records);
        assert_eq!(apply(Some(state), 0, records[0]), (state, Effect::Duplicate));
        assert_eq!(apply(Some(state), 1, records[1]), (state, Effect::Stale));
    }
}
