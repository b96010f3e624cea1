//! Gaps: missed deliveries, derived from the parents of events. The live table, a rebuild and `verify` use the same
//! rules.
//!
//! These cases are not gaps: the first event seen of a user is a change, the state held was imported, the vendor has
//! added a new member, or either event omits the field that differs. Of the events of one second only the first one
//! read is compared with the state before; the others lead to and from it.
//!
//! A gap is *awaited* while the vendor still retries the missing delivery, and *lost* afterwards. It ends when late
//! events fill it, when the user is forgotten, or when newer gaps displace it. Whatever is missing, the state of the
//! user is whole, because each event carries the whole user.

mod difference;
mod suspected;

use crate::roll::{Applied, Effect, Member, Reading, Roll};
use crate::topics::RETRIES_MAX_MS;
use crate::{Position, UnixMillis};

pub use difference::{Difference, changed_fields, difference};
pub use suspected::{Edge, Gap};

/// The most gaps kept per user, newest first. More gaps add no information.
pub const GAPS_PER_USER_MAX: usize = 16;
/// The most late events kept per user, newest first: several for each gap.
pub const LATE_PER_USER_MAX: usize = 64;

/// A gap with the event that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenGap {
    pub gap: Gap,
    /// The event whose parent was never seen.
    pub position: Position,
    /// When that event was received. The missing delivery was first tried before it.
    pub received_at: UnixMillis,
    /// The fields that differ between the known state and the missing state, in alphabetical order.
    pub fields: Vec<String>,
}

/// Whether the missing delivery of a gap can still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapState {
    /// The vendor still retries.
    Awaited,
    /// The vendor has given up.
    Lost,
}

impl GapState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Lost => "lost",
        }
    }
}

impl OpenGap {
    /// Returns the state of the gap at `now`.
    pub fn state(&self, now: UnixMillis) -> GapState {
        if now < self.awaited_until() { GapState::Awaited } else { GapState::Lost }
    }

    /// Returns the instant at which an awaited gap becomes a lost one.
    pub fn awaited_until(&self) -> UnixMillis {
        UnixMillis::from_millis(self.received_at.millis().saturating_add(RETRIES_MAX_MS))
    }
}

/// Returns the bound of lost gaps: those are lost at `now` whose events were received then or earlier.
pub fn lost_if_received_by(now: UnixMillis) -> UnixMillis {
    UnixMillis::from_millis(now.millis().saturating_sub(RETRIES_MAX_MS))
}

/// The lineage of a user: its open gaps and its late events.
///
/// Invariant: the late events do not bridge any open gap. A late event can arrive before the gap that it fills, so late
/// events are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// The open gaps, oldest first.
    pub gaps: Vec<OpenGap>,
    /// The late events, those seen last at the end.
    pub late: Vec<Edge>,
}

/// The effect of a record on a lineage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    pub gaps_changed: bool,
    pub late_changed: bool,
    /// The number of gaps closed by late events.
    pub closed: usize,
}

impl Lineage {
    pub fn is_empty(&self) -> bool {
        self.gaps.is_empty() && self.late.is_empty()
    }

    /// Returns whether a record says anything to somebody of whose lineage nothing is remembered; most do not. `state`
    /// is the state after it.
    pub fn is_news(state: &Roll, applied: &Applied, reading: &Reading<'_>) -> bool {
        match applied.effect {
            Effect::Newer { gap } => gap.is_some() || reading.says().members().len() > 1,
            Effect::Tied => true,
            // The states of a forgotten user are not to be remembered.
            Effect::Stale => !state.rank().is_forgotten(),
            Effect::Duplicate | Effect::Forgotten | Effect::Unreadable | Effect::Unknown => false,
        }
    }

    /// Follows what a record did, after which the user is in `state`. `differing` compares the states held before with
    /// the state that the winner was built on ([`difference`]); without a difference there is no gap.
    pub fn follow(
        &mut self,
        state: &Roll,
        applied: &Applied,
        reading: &Reading<'_>,
        differing: impl FnOnce() -> Option<Difference>,
    ) -> Followed {
        if applied.effect == Effect::Forgotten {
            return self.forget();
        }
        if !Self::is_news(state, applied, reading) {
            return Followed::default();
        }
        let (gap, late) = match applied.effect {
            Effect::Newer { gap } if reading.says().members().len() > 1 => (gap, reading.says().members()),
            // Events that build on one that has won alone name it.
            Effect::Newer { gap } => (gap, [].as_slice()),
            _ => (None, reading.says().members()),
        };
        let received_at = state.winner().map(|winner| winner.received_at);
        let shown = gap.zip(received_at).map(|(gap, received_at)| OpenGap {
            gap,
            position: reading.position,
            received_at,
            fields: Vec::new(),
        });
        let opened = shown.is_some_and(|shown| self.open(shown, differing));
        let noted = late.iter().filter_map(Member::edge).map(|edge| self.note(edge));
        noted.fold(Followed { gaps_changed: opened, ..Followed::default() }, Followed::then)
    }

    /// Adds a gap, unless late events bridge it or no field differs.
    fn open(&mut self, mut shown: OpenGap, differing: impl FnOnce() -> Option<Difference>) -> bool {
        if shown.gap.is_bridged(&self.late) {
            return false;
        }
        let Some(Difference { held, fields }) = differing() else { return false };
        (shown.gap.held, shown.fields) = (held, fields);
        if shown.gap.is_bridged(&self.late) {
            return false;
        }
        if self.gaps.len() == GAPS_PER_USER_MAX {
            self.gaps.remove(0);
        }
        self.gaps.push(shown);
        true
    }

    /// The states of a forgotten user must not be kept.
    fn forget(&mut self) -> Followed {
        let former = std::mem::take(self);
        Followed { gaps_changed: !former.gaps.is_empty(), late_changed: !former.late.is_empty(), closed: 0 }
    }

    /// Records an event that did not win, and closes the gaps that it fills, alone or together with earlier late
    /// events.
    pub fn note(&mut self, late: Edge) -> Followed {
        if self.late.contains(&late) {
            return Followed::default();
        }
        if self.late.len() == LATE_PER_USER_MAX {
            self.late.remove(0);
        }
        self.late.push(late);
        let open = self.gaps.len();
        self.gaps.retain(|open| !open.gap.is_bridged(&self.late));
        let closed = open - self.gaps.len();
        Followed { gaps_changed: closed > 0, late_changed: true, closed }
    }
}

impl Followed {
    /// Returns the combined effect of this step and of `next`.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self {
            gaps_changed: self.gaps_changed || next.gaps_changed,
            late_changed: self.late_changed || next.late_changed,
            closed: self.closed + next.closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    fn version(number: usize) -> Version {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Version::from_bytes(bytes)
    }

    #[test]
    fn a_gap_is_bridged_by_any_way_through_the_late_events() {
        let bridged = |pairs: &[(usize, usize)]| {
            let edges: Vec<Edge> = pairs.iter().map(|(from, to)| (version(*from), version(*to))).collect();
            Gap { held: version(1), missing: version(2) }.is_bridged(&edges)
        };
        assert!(bridged(&[(1, 2)]));
        assert!(bridged(&[(3, 2), (9, 2), (1, 3)]), "another event leads to the same state");
        assert!(bridged(&[(1, 4), (4, 1), (1, 4), (4, 2)]), "there and back again");
        for open in [&[][..], &[(3, 2)], &[(1, 3)], &[(1, 3), (4, 2)], &[(2, 1)], &[(1, 1)]] {
            assert!(!bridged(open), "{open:?}");
        }
    }

    fn gap(held: usize, missing: usize) -> OpenGap {
        OpenGap {
            position: Position { partition: 0, offset: 9 },
            received_at: UnixMillis::from_millis(0),
            gap: Gap { held: version(held), missing: version(missing) },
            fields: vec!["email".to_owned()],
        }
    }

    #[test]
    fn a_gap_is_awaited_while_the_vendor_retries_and_lost_from_then_on() {
        for received in [0, -7, 1_496_739_223_000] {
            let open = OpenGap { received_at: UnixMillis::from_millis(received), ..gap(1, 2) };
            let until = open.awaited_until().millis();
            assert_eq!(until - received, RETRIES_MAX_MS);
            for (now, state) in [(until - 1, GapState::Awaited), (until, GapState::Lost)] {
                let now = UnixMillis::from_millis(now);
                assert_eq!(open.state(now), state, "received at {received}");
                assert_eq!(
                    open.received_at <= lost_if_received_by(now),
                    state == GapState::Lost,
                    "the bound to count by"
                );
            }
        }
        assert_eq!([GapState::Awaited, GapState::Lost].map(GapState::as_str), ["awaited", "lost"]);
    }

    #[test]
    fn late_events_close_every_gap_that_they_bridge() {
        let mut lineage = Lineage { gaps: vec![gap(1, 3), gap(2, 3), gap(5, 6)], late: Vec::new() };
        assert_eq!(lineage.note((version(1), version(2))).closed, 0);
        assert_eq!(lineage.note((version(1), version(2))), Followed::default(), "seen before");
        let followed = lineage.note((version(2), version(3)));
        assert_eq!(followed, Followed { gaps_changed: true, late_changed: true, closed: 2 });
        assert_eq!(lineage.gaps, [gap(5, 6)]);
    }

    #[test]
    fn the_newest_late_events_are_remembered() {
        let mut lineage = Lineage::default();
        for number in 0..=LATE_PER_USER_MAX {
            lineage.note((version(number), version(number + 1)));
        }
        assert_eq!(lineage.late.len(), LATE_PER_USER_MAX);
        assert_eq!(lineage.late.first(), Some(&(version(1), version(2))));
    }
}
