//! Lineage of one user: which deliveries never came. The same for the live table and for a rebuild.

use domain::fold::{Effect, RecordHead};
use domain::{Head, Position, Version};
use domain::{gap, wire};

use crate::store::GapRow;

/// How many gaps of one user are remembered, the newest: more tells nobody more.
pub(crate) const GAPS_PER_USER_MAX: usize = 16;
/// How many late events of one user are remembered, the newest: several for every gap that is.
pub(crate) const LATE_EVENTS_PER_USER_MAX: usize = 64;

/// A late event, as the states that it leads from and to.
pub(crate) type Edge = (Version, Version);

/// What is known of a user's lineage.
///
/// Invariant: no gap is bridged by the late events. A late event may be seen before the gap that it fills, so it is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// The open gaps, oldest first.
    pub(crate) gaps: Vec<GapRow>,
    /// The late events, those seen last at the end.
    pub(crate) late: Vec<Edge>,
}

/// What became of a lineage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Followed {
    pub(crate) gaps_changed: bool,
    pub(crate) late_changed: bool,
    /// How many gaps were closed by late events.
    pub(crate) closed: usize,
}

impl Lineage {
    pub(crate) fn is_empty(&self) -> bool {
        self.gaps.is_empty() && self.late.is_empty()
    }

    /// Follows what the record at `position` did.
    ///
    /// `winner` is the record that has won now, this one or another; `held` the value of the record that won before; `value` the
    /// value of this record.
    pub(crate) fn follow(
        &mut self,
        effect: Effect,
        position: Position,
        head: &RecordHead,
        winner: &RecordHead,
        held: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Followed {
        match effect {
            Effect::Newer { gap: Some(gap) } => {
                if gap::is_bridged(gap, &self.late) {
                    return Followed::default();
                }
                let fields = differing_fields(held, value);
                if fields.is_empty() {
                    return Followed::default();
                }
                if self.gaps.len() == GAPS_PER_USER_MAX {
                    self.gaps.remove(0);
                }
                self.gaps.push(GapRow { position, gap, fields });
                Followed { gaps_changed: true, ..Followed::default() }
            }
            Effect::Stale => match (head, winner) {
                (RecordHead::Event(late), RecordHead::Event(_)) => self.note(late),
                // What a forgotten user was is not to be remembered.
                (RecordHead::Event(_), RecordHead::Forgotten { .. }) | (RecordHead::Forgotten { .. }, _) => {
                    Followed::default()
                }
            },
            Effect::Forgotten => {
                let former = std::mem::take(self);
                Followed { gaps_changed: !former.gaps.is_empty(), late_changed: !former.late.is_empty(), closed: 0 }
            }
            Effect::Newer { gap: None } | Effect::Duplicate => Followed::default(),
        }
    }

    /// Notes an event that came late, and closes the gaps that it fills, with those before it or alone. A creation leads from
    /// nowhere and fills none.
    pub(crate) fn note(&mut self, late: &Head) -> Followed {
        let Some(edge) = late.parent.map(|parent| (parent, late.version)) else { return Followed::default() };
        if self.late.contains(&edge) {
            return Followed::default();
        }
        if self.late.len() == LATE_EVENTS_PER_USER_MAX {
            self.late.remove(0);
        }
        self.late.push(edge);
        let open = self.gaps.len();
        self.gaps.retain(|row| !gap::is_bridged(row.gap, &self.late));
        let closed = open - self.gaps.len();
        Followed { gaps_changed: closed > 0, late_changed: true, closed }
    }
}

impl Followed {
    /// Adds what became of it afterwards.
    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            gaps_changed: self.gaps_changed || next.gaps_changed,
            late_changed: self.late_changed || next.late_changed,
            closed: self.closed + next.closed,
        }
    }
}

/// A suspected gap is one if the state held and the state that the event was built on differ in a field that we know.
fn differing_fields(held: Option<&[u8]>, value: Option<&[u8]>) -> Vec<String> {
    let (Some(held), Some(value)) = (held, value) else { return Vec::new() };
    let (Ok(held), Ok(next)) = (wire::decode(held), wire::decode(value)) else { return Vec::new() };
    next.old.map(|old| gap::changed_fields(&held.new, &old)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use domain::gap::Gap;
    use domain::{EventId, EventType, UnixMillis, UserId};

    use super::*;

    fn version(number: usize) -> Version {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Version::from_bytes(bytes)
    }

    fn late(from: usize, to: usize) -> Head {
        let (user_id, parent) = (UserId::new(1).unwrap(), Some(version(from)));
        Head {
            user_id,
            kind: EventType::Changed,
            occurred_at: UnixMillis::from_millis(0),
            version: version(to),
            parent,
            event_id: EventId::derive(user_id, EventType::Changed, "", version(to), parent),
            received_at: UnixMillis::from_millis(0),
        }
    }

    #[test]
    fn late_events_close_every_gap_that_they_bridge() {
        let gap = |held, missing| GapRow {
            position: Position { partition: 0, offset: 9 },
            gap: Gap { held: version(held), missing: version(missing) },
            fields: vec!["email".to_owned()],
        };
        let mut lineage = Lineage { gaps: vec![gap(1, 3), gap(2, 3), gap(5, 6)], late: Vec::new() };
        assert_eq!(lineage.note(&late(1, 2)).closed, 0);
        assert_eq!(lineage.note(&late(1, 2)), Followed::default(), "seen before");
        let followed = lineage.note(&late(2, 3));
        assert_eq!(followed, Followed { gaps_changed: true, late_changed: true, closed: 2 });
        assert_eq!(lineage.gaps, [gap(5, 6)]);
    }

    #[test]
    fn the_newest_late_events_are_remembered() {
        let mut lineage = Lineage::default();
        for number in 0..=LATE_EVENTS_PER_USER_MAX {
            lineage.note(&late(number, number + 1));
        }
        assert_eq!(lineage.late.len(), LATE_EVENTS_PER_USER_MAX);
        assert_eq!(lineage.late.first(), Some(&(version(1), version(2))));
    }
}
