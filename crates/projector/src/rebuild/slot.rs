//! One key of a rebuild: its state, and where the bytes of its events are.

use std::collections::BTreeMap;

use domain::gap::Lineage;
use domain::roll::{Applied, Member, Reading, Roll};
use domain::{EventId, UserId};

use super::slab::{Slab, Span};
use crate::store::differing;

/// What a record says, with its value where it is now.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'r> {
    pub(super) reading: &'r Reading<'r>,
    /// The value, if it is elsewhere than the reading says.
    pub(super) moved: Option<&'r [u8]>,
}

impl<'r> Arrived<'r> {
    fn payload(&self, member: &Member) -> Option<&'r [u8]> {
        self.reading.payload(member).map(|value| self.moved.unwrap_or(value))
    }
}

/// One key.
#[derive(Debug)]
pub(super) struct KeySlot {
    pub(super) user_id: UserId,
    pub(super) roll: Roll,
    events: Events,
    /// Hardly any user has gaps or late events, and every user pays for this field.
    pub(super) lineage: Option<Box<Lineage>>,
}

/// Where the bytes of the events of a state are.
#[derive(Debug, Default)]
enum Events {
    /// The user is forgotten.
    #[default]
    None,
    /// Nearly always.
    One(Span),
    /// Those of a tied second.
    Several(Box<Spans>),
}

type Spans = BTreeMap<EventId, Span>;

impl KeySlot {
    /// Begins a key with its first record.
    pub(super) fn begin(arrived: Arrived<'_>, values: &mut Slab) -> Self {
        let (roll, applied) = Roll::begin(arrived.reading);
        let mut slot = Self { user_id: arrived.reading.user_id, roll, events: Events::None, lineage: None };
        slot.follow(&applied, arrived, None, values);
        slot.take_events(arrived, None, values);
        slot
    }

    /// Applies what a further record says.
    pub(super) fn apply(&mut self, arrived: Arrived<'_>, values: &mut Slab) {
        let held = self.roll.winner().map(|winner| winner.event_id);
        let applied = self.roll.apply(arrived.reading);
        self.follow(&applied, arrived, held, values);
        self.take_events(arrived, held, values);
    }

    /// Follows the lineage, from `held`, the former winner. Most records say nothing new about it, and cost nothing
    /// here.
    fn follow(&mut self, applied: &Applied, arrived: Arrived<'_>, held: Option<EventId>, values: &Slab) {
        if self.lineage.is_none() && !Lineage::is_news(&self.roll, applied, arrived.reading) {
            return;
        }
        let mut lineage = self.lineage.take().unwrap_or_default();
        lineage.follow(&self.roll, applied, arrived.reading, || {
            // The bytes are still those from before the record; one event is the former winner.
            let event = |id: EventId| self.events.span(id).map(|span| values.get(span));
            let next = self.roll.winner();
            let others = self.events.ids().filter(|id| Some(*id) != held);
            let held = held.into_iter().chain(others).filter_map(event);
            differing(held, next.and_then(|next| arrived.payload(next).or(event(next.event_id))))
        });
        self.lineage = (!lineage.is_empty()).then_some(lineage);
    }

    /// Takes the bytes of what the record carries, and lets go of those that are no longer of the state.
    fn take_events(&mut self, arrived: Arrived<'_>, held: Option<EventId>, values: &mut Slab) {
        let at = arrived.reading.position;
        let taken = |member: &Member| if member.at == at { arrived.payload(member) } else { None };
        match (self.roll.members(), &mut self.events) {
            ([member], Events::One(span)) => {
                if let Some(value) = taken(member) {
                    *span = values.replace(*span, value);
                }
            }
            (members, events) => {
                let mut before = std::mem::take(events).by_event(held);
                let mut now = Spans::new();
                for member in members {
                    let span = match (before.remove(&member.event_id), taken(member)) {
                        (Some(span), Some(value)) => values.replace(span, value),
                        (None, Some(value)) => values.put(value),
                        (Some(span), None) => span,
                        (None, None) => unreachable!("an event is of this record, or was there before"),
                    };
                    now.insert(member.event_id, span);
                }
                before.into_values().for_each(|span| values.remove(span));
                *events = Events::of(now);
            }
        }
    }

    /// Joins with the state that records on other partitions gave: the topic was given more of them. The bytes of an
    /// event are taken from where the copy that counts is.
    pub(super) fn join(&mut self, values: &mut Slab, other: &Self, other_values: &Slab) {
        let mut roll = self.roll.clone();
        roll.join(&other.roll);
        let first = self.roll.members().first().map(|member| member.event_id);
        let mut before = std::mem::take(&mut self.events).by_event(first);
        let mut now = Spans::new();
        for member in roll.members() {
            let is_same = |own: &Member| own.event_id == member.event_id && own.at == member.at;
            let span = if self.roll.members().iter().any(is_same) {
                before.remove(&member.event_id)
            } else {
                other.events.span(member.event_id).map(|span| values.put(other_values.get(span)))
            };
            now.extend(span.map(|span| (member.event_id, span)));
        }
        before.into_values().for_each(|span| values.remove(span));
        self.events = Events::of(now);
        if other.roll.supersedes(&self.roll) {
            self.lineage.clone_from(&other.lineage);
        }
        self.roll = roll;
    }

    /// Returns where the bytes of the event that wins are; `None` when the user is forgotten.
    pub(super) fn winner(&self) -> Option<Span> {
        match &self.events {
            Events::None => None,
            Events::One(span) => Some(*span),
            Events::Several(spans) => spans.get(&self.roll.winner()?.event_id).copied(),
        }
    }

    /// Returns where the bytes of an event of the state are.
    pub(super) fn span(&self, member: &Member) -> Option<Span> {
        self.events.span(member.event_id)
    }

    /// Lets go of all bytes.
    pub(super) fn clear(self, values: &mut Slab) {
        let first = self.roll.members().first().map(|member| member.event_id);
        self.events.by_event(first).into_values().for_each(|span| values.remove(span));
    }
}

impl Events {
    fn of(spans: Spans) -> Self {
        match spans.values().collect::<Vec<_>>()[..] {
            [] => Self::None,
            [span] => Self::One(*span),
            _ => Self::Several(Box::new(spans)),
        }
    }

    /// Returns the bytes by event; a single one is that of `one`.
    fn by_event(self, one: Option<EventId>) -> Spans {
        match self {
            Self::None => Spans::new(),
            Self::One(span) => one.map(|id| (id, span)).into_iter().collect(),
            Self::Several(spans) => *spans,
        }
    }

    /// Returns the events of a tied second.
    fn ids(&self) -> impl Iterator<Item = EventId> + '_ {
        let several = match self {
            Self::None | Self::One(_) => None,
            Self::Several(spans) => Some(spans.keys().copied()),
        };
        several.into_iter().flatten()
    }

    /// Returns where the bytes of an event are; a single one is the one asked for.
    fn span(&self, id: EventId) -> Option<Span> {
        match self {
            Self::None => None,
            Self::One(span) => Some(*span),
            Self::Several(spans) => spans.get(&id).copied(),
        }
    }
}
