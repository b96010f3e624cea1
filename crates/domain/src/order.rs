//! The order: which of two records of one user is newer. The one definition, used everywhere.
//!
//! | incoming | current | answer |
//! | --- | --- | --- |
//! | later rank | earlier rank | newer |
//! | earlier rank | later rank | stale |
//! | the same event | | same |
//! | tie, built on current (`parent` = current `version`) | | newer |
//! | tie, current was built on it (`version` = current `parent`) | | stale |
//! | tie, unrelated | | newer: the later offset wins, as it does in compaction |
//!
//! The rank is `(0, occurredAt)` for an imported user, `(1, occurredAt)` for a created one and `(2, occurredAt)` for a changed one:
//! a webhook is better than an import, and a user is created before it is changed, whatever the clocks say. A forgotten marker
//! ranks as a change at its time, and wins a tie.
//!
//! Invariant: nothing but the two records decides. A state that remembered more than its winning record could differ from one
//! that is rebuilt from the compacted log, where only the winner is left.

use crate::{EventType, Head, UnixMillis};

/// What decides a record's place in the order: the head of an event, or the time of a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordHead {
    Event(Head),
    /// The user was forgotten: a record without a value, at the time of its `ce_time` header.
    Forgotten {
        at: UnixMillis,
    },
}

/// How an incoming record, appended later, stands to the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Newer,
    /// The same event, delivered or appended again.
    Same,
    Stale,
}

/// Compares `incoming` with `current`, a record of the same key at a lower offset.
pub fn compare(incoming: &RecordHead, current: &RecordHead) -> Order {
    match (incoming, current) {
        (RecordHead::Event(incoming), RecordHead::Event(current)) if incoming.event_id == current.event_id => {
            Order::Same
        }
        (RecordHead::Forgotten { at: incoming }, RecordHead::Forgotten { at: current }) if incoming == current => {
            Order::Same
        }
        _ => match rank(incoming).cmp(&rank(current)) {
            std::cmp::Ordering::Greater => Order::Newer,
            std::cmp::Ordering::Less => Order::Stale,
            std::cmp::Ordering::Equal => break_tie(incoming, current),
        },
    }
}

fn rank(head: &RecordHead) -> (u8, UnixMillis) {
    match head {
        RecordHead::Event(head) => match head.kind {
            EventType::Imported => (0, head.occurred_at),
            EventType::Created => (1, head.occurred_at),
            EventType::Changed => (2, head.occurred_at),
        },
        RecordHead::Forgotten { at } => (2, *at),
    }
}

fn break_tie(incoming: &RecordHead, current: &RecordHead) -> Order {
    match (incoming, current) {
        (RecordHead::Forgotten { .. }, _) => Order::Newer,
        (RecordHead::Event(_), RecordHead::Forgotten { .. }) => Order::Stale,
        (RecordHead::Event(incoming), RecordHead::Event(current)) => {
            if incoming.parent == Some(current.version) {
                Order::Newer
            } else if current.parent == Some(incoming.version) {
                Order::Stale
            } else {
                Order::Newer
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, UserId, Version};

    fn event(kind: EventType, at: i64, version: u8, parent: Option<u8>) -> RecordHead {
        let user_id = UserId::new(180).unwrap();
        let (version, parent) = (Version::from_bytes([version; 16]), parent.map(|p| Version::from_bytes([p; 16])));
        RecordHead::Event(Head {
            user_id,
            kind,
            occurred_at: UnixMillis::from_millis(at),
            version,
            parent,
            event_id: EventId::derive(user_id, kind, &at.to_string(), version, parent),
            received_at: UnixMillis::from_millis(0),
        })
    }

    fn created(at: i64) -> RecordHead {
        event(EventType::Created, at, 1, None)
    }

    fn changed(at: i64, version: u8, parent: u8) -> RecordHead {
        event(EventType::Changed, at, version, Some(parent))
    }

    fn forgotten(at: i64) -> RecordHead {
        RecordHead::Forgotten { at: UnixMillis::from_millis(at) }
    }

    #[test]
    fn table_of_incoming_and_current() {
        let table = [
            (changed(2, 3, 2), changed(1, 2, 1), Order::Newer, "a later change"),
            (changed(1, 2, 1), changed(2, 3, 2), Order::Stale, "an earlier change"),
            (
                changed(1, 2, 1),
                created(9),
                Order::Newer,
                "a change before its creation's time, as in the vendor's samples",
            ),
            (created(9), changed(1, 2, 1), Order::Stale, "a creation after its change"),
            (created(2), created(1), Order::Newer, "a later creation"),
            (changed(1, 2, 1), changed(1, 2, 1), Order::Same, "the same change"),
            (changed(1, 3, 2), changed(1, 2, 1), Order::Newer, "a tie, built on current"),
            (changed(1, 2, 1), changed(1, 3, 2), Order::Stale, "a tie, current was built on it"),
            (changed(1, 9, 8), changed(1, 3, 2), Order::Newer, "a tie of strangers: the later offset"),
            (changed(1, 2, 3), changed(1, 3, 2), Order::Newer, "a tie, there and back: built on current"),
            (forgotten(1), changed(1, 2, 1), Order::Newer, "forgetting wins a tie"),
            (changed(1, 2, 1), forgotten(1), Order::Stale, "and keeps it"),
            (changed(2, 2, 1), forgotten(1), Order::Newer, "a newer change brings the user back"),
            (changed(0, 2, 1), forgotten(1), Order::Stale, "an older one does not"),
            (created(9), forgotten(1), Order::Stale, "a creation never does"),
            (forgotten(1), changed(2, 2, 1), Order::Stale, "a late marker"),
            (forgotten(1), forgotten(1), Order::Same, "the same marker"),
            (forgotten(2), forgotten(1), Order::Newer, "a later marker"),
            (forgotten(0), created(9), Order::Newer, "a marker ranks as a change"),
        ];
        for (incoming, current, expected, what) in table {
            assert_eq!(compare(&incoming, &current), expected, "{what}");
        }
    }
}
