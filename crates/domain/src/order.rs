//! The order of records: which of two records of one user is newer, or that they tie.
//!
//! Every record has a [`Rank`], computed from that record alone and compared by class, then time, then kind:
//!
//! | class | record | time |
//! | --- | --- | --- |
//! | ahead | an event that occurred more than [`AHEAD_MAX`] after its own receipt: a wrong clock must not freeze a user | `occurredAt` |
//! | imported | an imported event: any webhook is better | `occurredAt`, the import's as-of |
//! | created | a created event: a user is created before any change, even if the clocks disagree | `occurredAt` |
//! | changed | a changed event, and after those of the same time a forgotten marker | `occurredAt`; the marker's `ce_time` |
//!
//! Events of equal rank tie, because the vendor's clock has a resolution of one second. [`crate::roll`] decides a tie
//! from the whole set of tied events. Pairwise comparison cannot decide it: the "built on" relation holds between
//! neighbours only, so it is not transitive.
//!
//! A creation ranks below every marker, whatever its time. A forgotten user comes back by a later change, never by a
//! creation. (If a marker were compared by time with creations, and as a change with changes, the order would be
//! circular.)

use std::time::Duration;

use crate::{EventType, Head, UnixMillis, wire};

/// The version of the rule in this file and in [`crate::roll`]. Raise it whenever either decides differently.
const DECISION: i64 = 1;

/// The version of how a log is read: of the rule, and of the list of released schemas, because a further one turns
/// records that were unknown into events. A table with another version is rebuilt from the log.
pub const RULE_VERSION: i64 = DECISION * 1_000 + wire::SCHEMAS.len() as i64;

/// The largest accepted lead of an event's time over its receipt: clocks differ by minutes, time zones by an hour.
pub const AHEAD_MAX: Duration = Duration::from_secs(15 * 60);

/// The place of a record among the records of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    class: Class,
    time: UnixMillis,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Class {
    Ahead,
    Imported,
    Created,
    Changed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Event,
    Forgotten,
}

impl Rank {
    /// Returns the rank of an event.
    pub fn of_event(head: &Head) -> Self {
        let class = match head.kind {
            _ if head.is_ahead() => Class::Ahead,
            EventType::Imported => Class::Imported,
            EventType::Created => Class::Created,
            EventType::Changed => Class::Changed,
        };
        Self { class, time: head.occurred_at, kind: Kind::Event }
    }

    /// Returns the rank of a forgotten marker: a record without a value.
    pub fn of_forgotten(at: UnixMillis) -> Self {
        Self { class: Class::Changed, time: at, kind: Kind::Forgotten }
    }

    /// Returns the time of the record: an event's `occurredAt`, or the time as of which the user is forgotten.
    pub fn time(self) -> UnixMillis {
        self.time
    }

    pub fn is_forgotten(self) -> bool {
        self.kind == Kind::Forgotten
    }

    /// Returns whether the record is an imported event that is not ahead.
    pub fn is_imported(self) -> bool {
        self.class == Class::Imported
    }

    /// Returns whether the record is an event that is ahead of its receipt.
    pub fn is_ahead(self) -> bool {
        self.class == Class::Ahead
    }
}

impl Head {
    /// Returns the rank of the event.
    pub fn rank(&self) -> Rank {
        Rank::of_event(self)
    }

    /// Returns whether the event occurred, by its own time, more than [`AHEAD_MAX`] after its receipt.
    pub fn is_ahead(&self) -> bool {
        self.ahead_by().is_some()
    }

    /// Returns by how much the event occurred, by its own time, after its receipt, if that is more than [`AHEAD_MAX`].
    pub fn ahead_by(&self) -> Option<Duration> {
        let (occurred, received) = (i128::from(self.occurred_at.millis()), i128::from(self.received_at.millis()));
        let ahead = u64::try_from(occurred - received).ok().map(Duration::from_millis);
        ahead.filter(|ahead| *ahead > AHEAD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, UserId, Version};

    const NOW: i64 = 1_000_000_000;

    fn event(kind: EventType, at: i64) -> Rank {
        let (user_id, version) = (UserId::new(180).unwrap(), Version::from_bytes([1; 16]));
        Rank::of_event(&Head {
            user_id,
            kind,
            occurred_at: UnixMillis::from_millis(at),
            version,
            parent: None,
            event_id: EventId::of_text("x"),
            received_at: UnixMillis::from_millis(NOW),
        })
    }

    fn forgotten(at: i64) -> Rank {
        Rank::of_forgotten(UnixMillis::from_millis(at))
    }

    /// The order, from the lowest rank to the highest. A change of the order must raise [`RULE_VERSION`].
    #[test]
    fn the_order_of_this_rule_version() {
        use EventType::{Changed, Created, Imported};
        let limit = NOW + 15 * 60 * 1000;
        let ranks = [
            event(Created, limit + 1),
            event(Changed, limit + 2),
            event(Imported, i64::MAX),
            event(Imported, 1),
            event(Imported, limit),
            event(Created, i64::MIN),
            event(Created, limit),
            forgotten(i64::MIN),
            event(Changed, 0),
            forgotten(0),
            event(Changed, 1),
            forgotten(1),
            event(Changed, limit),
            forgotten(limit + 2),
        ];
        assert!(ranks.is_sorted_by(|low, high| low < high), "{ranks:?}");
        assert_eq!(RULE_VERSION, 1_001, "the version of this table");
    }

    #[test]
    fn the_lead_of_an_event_over_its_receipt_counts_beyond_a_quarter_of_an_hour() {
        let (user_id, version) = (UserId::new(180).unwrap(), Version::from_bytes([1; 16]));
        let ahead_by = |occurred_at: i64, received_at: i64| {
            let at = UnixMillis::from_millis;
            let head = Head {
                user_id,
                kind: EventType::Changed,
                occurred_at: at(occurred_at),
                version,
                parent: None,
                event_id: EventId::of_text("x"),
                received_at: at(received_at),
            };
            head.ahead_by().map(|lead| lead.as_millis())
        };
        assert_eq!(ahead_by(900_000, 0), None);
        assert_eq!(ahead_by(900_001, 0), Some(900_001));
        assert_eq!(ahead_by(0, 900_001), None);
        assert_eq!(ahead_by(i64::MAX, i64::MIN), Some(u64::MAX.into()));
        assert_eq!(ahead_by(i64::MIN, i64::MAX), None);
    }

    #[test]
    fn events_of_one_time_and_class_are_a_tie() {
        assert_eq!(event(EventType::Changed, 5), event(EventType::Changed, 5));
        let limit = NOW + 15 * 60 * 1000;
        assert_eq!(event(EventType::Changed, limit + 1), event(EventType::Created, limit + 1), "ahead, both");
    }
}
