//! The effect of a record on the state of its key.

use crate::Position;
use crate::gap::Gap;

/// The effect of a record on the state of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Its rank is higher than all before. A `gap` is suspected from digests alone; [`crate::gap::changed_fields`]
    /// confirms it.
    Newer { gap: Option<Gap> },
    /// Its rank equals that of the state, and it adds an event to the set. The winner may have changed.
    Tied,
    /// It adds no event. It may replace the copy of an event that counts.
    Duplicate,
    /// It has a lower rank.
    Stale,
    /// It is a forgotten marker of a higher rank than all before.
    Forgotten,
    /// Its bytes are broken. The state stays, and the key is dirty.
    Unreadable,
    /// This build does not know its framing, schema or event type. The state stays, and may be outdated.
    Unknown,
}

/// The result of applying a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    pub effect: Effect,
    /// The winner is another event, or the user was forgotten. Subscribers of changes must receive it.
    pub changed: bool,
    /// The state differs: its rank, its set, or the copy of an event that counts.
    pub stored: bool,
    /// The number of events that did not fit the set of [`SET_MAX`](super::SET_MAX).
    pub dropped: usize,
}

/// How an event that is not on the log stands to the state of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It would change the state: a higher rank, or a tie with an event that is not in the set.
    News,
    /// It is in the set; the newest record that carries the copy that counts is there.
    Known(Position),
    /// It has a lower rank than the state, at that position. Ranks do not fall: it will never win.
    Older(Position),
    /// It has a lower rank than the marker that forgot the user, at that position.
    Forgotten(Position),
}
