//! The state of a key: a join of its records.

use std::cmp::Ordering;

use crate::order::Rank;
use crate::{EventId, EventType, Head, Position, UnixMillis, UserId, Version};

/// The most events kept of one second, those with the greatest event ids. This many fit one record.
pub const SET_MAX: usize = 8;

/// One copy of an event: the values that decide about it, and its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub kind: EventType,
    pub version: Version,
    pub parent: Option<Version>,
    pub event_id: EventId,
    pub received_at: UnixMillis,
    /// XXH3 of the bytes after the framing. Copies of one event can differ in bytes that the event id does not cover.
    pub(super) bytes: u64,
    /// The newest record that carries this copy, as its value or in its header. Not part of the state.
    pub at: Position,
}

impl Member {
    /// Returns the head of the event. `user_id` and `state` are those that the member belongs to.
    pub fn head(&self, user_id: UserId, state: &Roll) -> Head {
        let Self { kind, version, parent, event_id, received_at, .. } = *self;
        Head { user_id, kind, occurred_at: state.rank.time(), version, parent, event_id, received_at }
    }

    /// Returns whether `other` is the same copy of the same event, at any position.
    #[inline]
    pub fn is_copy_of(&self, other: &Self) -> bool {
        self.event_id == other.event_id && self.copy_order() == other.copy_order()
    }

    /// Returns a text that names this copy of this event: two copies have the same only if they are the same.
    pub fn copy_name(&self) -> String {
        format!("{}/{}/{:016x}", self.event_id, self.received_at.millis(), self.bytes)
    }

    /// Of two copies of one event, the lesser one counts.
    fn copy_order(&self) -> (UnixMillis, u64) {
        (self.received_at, self.bytes)
    }
}

/// The state of a key after some of its records: the highest rank, and the marker or the events of that rank.
///
/// The join of two states is commutative, associative and idempotent, so neither reading order nor repetition matters.
#[derive(Clone, Debug)]
pub struct Roll {
    rank: Rank,
    held: Held,
}

/// The content of the highest rank.
#[derive(Clone, Debug)]
enum Held {
    /// A forgotten marker at this position.
    Marker(Position),
    /// One event: nearly always.
    One(Member),
    /// The events of a tied second, by event id.
    Several(Vec<Member>),
}

/// What a join with a state of the same rank has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Joined {
    /// There are events that were not in the set.
    pub(super) has_grown: bool,
    /// Another copy of an event in the set counts now.
    pub(super) has_other_copies: bool,
    /// The number of events that did not fit the set.
    pub(super) dropped: usize,
}

impl Roll {
    pub(super) fn event(rank: Rank, member: Member) -> Self {
        Self { rank, held: Held::One(member) }
    }

    /// Returns the state of a user who was forgotten as of `at`, by the marker at `position`.
    pub fn forgotten(at: UnixMillis, position: Position) -> Self {
        Self { rank: Rank::of_forgotten(at), held: Held::Marker(position) }
    }

    #[inline]
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Returns the events of the set, ordered by event id. Empty when the user is forgotten.
    #[inline]
    pub fn members(&self) -> &[Member] {
        match &self.held {
            Held::Marker(_) => &[],
            Held::One(member) => std::slice::from_ref(member),
            Held::Several(members) => members,
        }
    }

    /// Returns the winning event, or `None` when the user is forgotten.
    #[inline]
    pub fn winner(&self) -> Option<&Member> {
        match &self.held {
            Held::Marker(_) => None,
            Held::One(member) => Some(member),
            Held::Several(members) => Some(winner(members)),
        }
    }

    /// Returns the position of the winner or of the marker.
    #[inline]
    pub fn position(&self) -> Position {
        match &self.held {
            Held::Marker(position) => *position,
            Held::One(_) | Held::Several(_) => self.winner().expect("there is an event").at,
        }
    }

    /// Returns whether both states are equal: rank, set, and the copy that counts of each event.
    pub fn is_same(&self, other: &Self) -> bool {
        let (own, others) = (self.members(), other.members());
        self.rank == other.rank
            && own.len() == others.len()
            && own.iter().zip(others).all(|(own, other)| own.is_copy_of(other))
    }

    /// Joins with the state that other records of the key give: the higher rank, or else the union of the sets with the
    /// lesser copy of each event.
    pub fn join(&mut self, other: &Self) {
        match other.rank.cmp(&self.rank) {
            Ordering::Less => {}
            Ordering::Equal => {
                self.unite(other);
            }
            Ordering::Greater => *self = other.clone(),
        }
    }

    /// Joins with a state of the same rank.
    pub(super) fn unite(&mut self, other: &Self) -> Joined {
        match (&mut self.held, &other.held) {
            (Held::Marker(at), Held::Marker(position)) => {
                *at = *position;
                Joined::default()
            }
            (Held::One(own), Held::One(member)) if own.event_id == member.event_id => {
                Joined { has_other_copies: take_copy(own, member), ..Joined::default() }
            }
            (_, _) => {
                let mut members = self.members().to_vec();
                let joined = unite(&mut members, other.members());
                self.held = match members.as_slice() {
                    [member] => Held::One(*member),
                    _ => Held::Several(members),
                };
                joined
            }
        }
    }
}

/// Replaces `own` with `other`, a copy of the same event, if `other` counts. Returns whether the copy changed.
fn take_copy(own: &mut Member, other: &Member) -> bool {
    match other.copy_order().cmp(&own.copy_order()) {
        Ordering::Less => {
            *own = *other;
            true
        }
        Ordering::Equal => {
            own.at = other.at;
            false
        }
        Ordering::Greater => false,
    }
}

fn unite(members: &mut Vec<Member>, others: &[Member]) -> Joined {
    let mut joined = Joined::default();
    for other in others {
        match members.binary_search_by_key(&other.event_id, |member| member.event_id) {
            Ok(index) => joined.has_other_copies |= take_copy(&mut members[index], other),
            Err(index) => {
                members.insert(index, *other);
                // The event with the least id is dropped; it may be the new one.
                let dropped = (members.len() > SET_MAX).then(|| members.remove(0));
                joined.dropped += usize::from(dropped.is_some());
                joined.has_grown |= dropped.is_none_or(|dropped| dropped.event_id != other.event_id);
            }
        }
    }
    joined
}

/// Returns the winner of a set. It is a function of the set alone. Events that are built on each other in a circle form
/// a group; a group nearly always has one event. Candidates are the groups that no event outside them is built on.
/// Among the events of these groups the latest received wins, then the greatest event id.
fn winner(members: &[Member]) -> &Member {
    let builds_on = |next: usize, base: usize| next != base && members[next].parent == Some(members[base].version);
    let count = members.len();
    // Bit b of reached[n]: event b is reachable from event n along "is built on".
    let mut reached = [0_u8; SET_MAX];
    for (next, row) in reached.iter_mut().enumerate().take(count) {
        *row = (0..count).filter(|base| builds_on(next, *base)).fold(0, |row, base| row | 1 << base);
    }
    for through in 0..count {
        for next in 0..count {
            if reached[next] & 1 << through != 0 {
                reached[next] |= reached[through];
            }
        }
    }
    let leads_to = |next: usize, base: usize| reached[next] & 1 << base != 0;
    let is_last = |index: usize| (0..count).all(|next| !leads_to(next, index) || leads_to(index, next));
    let last = (0..count).filter(|index| is_last(*index)).map(|index| &members[index]);
    last.max_by_key(|member| (member.received_at, member.event_id))
        .expect("a set is never empty, and following what builds on an event ends in a group that is last")
}
