//! Reads the state after an event of version 1, by hand and borrowed, for the same reason and with the same test as the
//! head. Unexpected bytes are left to the library.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::head::{self, long, text};
use crate::{EventId, FieldSource, UnixMillis, User, UserId};

/// The current state for readers: the user after the event, and the time of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current<'b> {
    pub occurred_at: UnixMillis,
    pub event_id: EventId,
    pub received_at: UnixMillis,
    pub user: User<Cow<'b, str>>,
}

/// Returns the state in `datum`, or `None` when the library must report the fault.
pub(super) fn read(datum: &[u8]) -> Option<Current<'_>> {
    let mut datum = Datum(datum);
    let head = head::take(&mut datum.0)?;
    text(&mut datum.0)?; // timestamp
    boolean(&mut datum.0)?; // passwordChanged
    let user = User::from_fields(&mut datum).ok()?;
    Some(Current { occurred_at: head.occurred_at, event_id: head.event_id, received_at: head.received_at, user })
}

/// The unread rest of a datum. A user's fields are read in order, without names: Avro binary has none.
struct Datum<'b>(&'b [u8]);

/// The bytes are not as expected. The library reports the fault.
struct Unfit;

impl<'b> FieldSource<Cow<'b, str>> for Datum<'b> {
    type Error = Unfit;

    fn user_id(&mut self, _: &'static str) -> Result<UserId, Unfit> {
        long(&mut self.0).and_then(|id| UserId::new(id).ok()).ok_or(Unfit)
    }

    fn text(&mut self, _: &'static str) -> Result<Option<Cow<'b, str>>, Unfit> {
        self.optional(|bytes| text(bytes).map(Cow::Borrowed))
    }

    fn texts(&mut self, _: &'static str) -> Result<Option<Vec<Cow<'b, str>>>, Unfit> {
        self.optional(|bytes| items(bytes, |bytes| text(bytes).map(Cow::Borrowed)))
    }

    fn boolean(&mut self, _: &'static str) -> Result<Option<bool>, Unfit> {
        self.optional(boolean)
    }

    fn integer(&mut self, _: &'static str) -> Result<Option<i64>, Unfit> {
        self.optional(long)
    }

    fn extra(&mut self) -> Result<BTreeMap<Cow<'b, str>, Cow<'b, str>>, Unfit> {
        let member = |bytes: &mut &'b [u8]| Some((text(bytes)?.into(), text(bytes)?.into()));
        items(&mut self.0, member).map(|members| members.into_iter().collect()).ok_or(Unfit)
    }
}

impl<'b> Datum<'b> {
    /// Reads a union of null and another type.
    fn optional<T>(&mut self, read: impl Fn(&mut &'b [u8]) -> Option<T>) -> Result<Option<T>, Unfit> {
        match long(&mut self.0) {
            Some(0) => Ok(None),
            Some(1) => read(&mut self.0).map(Some).ok_or(Unfit),
            _ => Err(Unfit),
        }
    }
}

pub(super) fn boolean(bytes: &mut &[u8]) -> Option<bool> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Reads an array or a map: blocks of items, each preceded by its count, the last one empty. A negative count is
/// followed by the block's length in bytes. Rollcall never writes that form, so it is left to the library.
pub(super) fn items<'b, T>(bytes: &mut &'b [u8], read: impl Fn(&mut &'b [u8]) -> Option<T>) -> Option<Vec<T>> {
    let mut items = Vec::new();
    loop {
        match long(bytes)? {
            0 => return Some(items),
            count if count > 0 => {
                for _ in 0..count {
                    items.push(read(bytes)?);
                }
            }
            _ => return None,
        }
    }
}
