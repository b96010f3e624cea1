//! The roll: the effect of one record on one user. This is the only definition. The keeper, the gate, `verify`,
//! `forget`, the live table and a rebuild all use it and add no rule of their own.
//!
//! The state of a key is a *join* of its records ([`Roll`]): the highest [`Rank`] seen and, if that
//! rank belongs to events, the *set* of the events of that rank, nearly always one. The **winner** is a function of the
//! set alone. Offset, partition, reading order and repetition have no influence. A live table therefore equals a table
//! rebuilt from the compacted log, provided that the last record of the key yields the whole state by itself: such a
//! key is **clean** ([`KeyState`]).
//!
//! For this purpose the record that ends a tied second carries the other events of that second in the header
//! [`SECOND`](crate::headers::SECOND) ([`second`]). A record without a tie has no such header.
//!
//! ```text
//! record ──read──▶ Reading ──Roll::apply──▶ state of the key, Applied { effect, … }
//! ```
//!
//! ```
//! # use domain::{wire, Facts, Position, UnixMillis, User, UserEvent, UserId};
//! # use domain::roll::{self, Effect, Roll};
//! # let facts = Facts { old: None, new: User::new(UserId::new(180)?), timestamp: "2017-06-06T10:53:43+02:00".into(),
//! #     received_at: UnixMillis::from_millis(1_496_739_223_000), password_changed: false, extra: Default::default(),
//! #     omitted: Vec::new() };
//! # let (event, now) = (UserEvent::new(facts)?, UnixMillis::from_millis(0));
//! let value = wire::encode(&event);
//! let record = |offset| {
//!     let position = Position { partition: 0, offset };
//!     roll::read(position, Some(b"180"), Some(&value), |_| None, now)
//! };
//! let (mut state, applied) = Roll::begin(&record(0)?);
//! assert_eq!(applied.effect, Effect::Newer { gap: None });
//! assert_eq!(state.apply(&record(1)?).effect, Effect::Duplicate);
//! assert_eq!(state.winner().unwrap().event_id, event.event_id);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod effect;

mod read;

mod ends;

mod key;

mod join;

pub mod second;

pub use effect::{Applied, Effect, Standing};
pub use ends::{Ends, Tombstone};
pub use join::{Member, Roll, SET_MAX};
pub use key::KeyState;
pub use read::{Reading, Unread, carrier_timestamp, dated, is_delivery, read};

use std::cmp::Ordering;

use crate::gap::Gap;
use crate::order::Rank;
use crate::{Head, UnixMillis};

impl Roll {
    /// Returns how an event with this head stands to the state.
    pub fn standing(&self, head: &Head) -> Standing {
        match Rank::of_event(head).cmp(&self.rank()) {
            Ordering::Greater => Standing::News,
            Ordering::Less if self.rank().is_forgotten() => Standing::Forgotten(self.position()),
            Ordering::Less => Standing::Older(self.position()),
            Ordering::Equal => {
                let same = self.members().iter().find(|member| member.event_id == head.event_id);
                same.map_or(Standing::News, |member| Standing::Known(member.at))
            }
        }
    }

    /// Returns how an event of a dead letter stands to the state, if its body was first received at `received_at`.
    ///
    /// A replay is a delivery with a time of its own, by which an event that was ahead heals. But a forgotten marker
    /// also covers what was received before it, so that no replay brings the user back.
    pub fn standing_of_letter(&self, head: &Head, received_at: UnixMillis) -> Standing {
        if self.rank().is_forgotten() && received_at <= self.rank().time() {
            return Standing::Forgotten(self.position());
        }
        self.standing(head)
    }

    /// Returns whether this state has a higher rank than `other`, which then adds nothing to it.
    pub fn supersedes(&self, other: &Self) -> bool {
        self.rank() > other.rank()
    }

    /// Returns whether the user is forgotten by a marker as of `at`, or was by one.
    pub fn is_forgotten_by(&self, at: UnixMillis) -> bool {
        Rank::of_forgotten(at) >= self.rank()
    }

    /// Returns the time of a marker that forgets the user at `now`: the later of `now` and the time of the newest
    /// record. An event ahead of its receipt does not count, because any marker ranks above it.
    pub fn marker_time(&self, now: UnixMillis) -> UnixMillis {
        if self.rank().is_ahead() { now } else { now.max(self.rank().time()) }
    }

    /// Returns the state that the first record of a key gives, and what the record did.
    pub fn begin(reading: &Reading<'_>) -> (Self, Applied) {
        let state = reading.says().clone();
        let applied = Applied { effect: state.newer(None), changed: true, stored: true, dropped: 0 };
        (state, applied)
    }

    /// Applies a further record of the key.
    pub fn apply(&mut self, reading: &Reading<'_>) -> Applied {
        let says = reading.says();
        match says.rank().cmp(&self.rank()) {
            Ordering::Less => Applied { effect: Effect::Stale, changed: false, stored: false, dropped: 0 },
            Ordering::Equal => self.tie(says),
            Ordering::Greater => {
                let before = std::mem::replace(self, says.clone());
                let effect = self.newer(Gap::between(&before, self));
                let changed = effect == Effect::Forgotten || self.has_other_winner(&before);
                Applied { effect, changed, stored: true, dropped: 0 }
            }
        }
    }

    /// Applies what a record of the same rank says.
    fn tie(&mut self, says: &Self) -> Applied {
        let before = self.clone();
        let joined = self.unite(says);
        let changed = self.has_other_winner(&before);
        let effect = if joined.has_grown { Effect::Tied } else { Effect::Duplicate };
        Applied { effect, changed, stored: joined.has_grown || joined.has_other_copies, dropped: joined.dropped }
    }

    fn has_other_winner(&self, other: &Self) -> bool {
        self.winner().map(|winner| winner.event_id) != other.winner().map(|winner| winner.event_id)
    }

    fn newer(&self, gap: Option<Gap>) -> Effect {
        if self.rank().is_forgotten() { Effect::Forgotten } else { Effect::Newer { gap } }
    }
}
