//! Reads through the whole of an event of version 1 without keeping it, by hand: a record counts only if all of it can
//! be read. Unexpected bytes are left to the library.

use std::collections::BTreeMap;

use super::current::{boolean, items};
use super::head::{self, long, sized};
use crate::{FieldSource, Head, User, UserId};

/// Returns the head of the event in `datum`, or `None` when the library must report the fault, if there is one.
pub(super) fn head(datum: &[u8]) -> Option<Head> {
    let mut rest = Skimmed(datum);
    let head = head::take(&mut rest.0)?;
    text(&mut rest.0)?; // timestamp
    boolean(&mut rest.0)?; // passwordChanged
    User::from_fields(&mut rest).ok()?; // new
    match long(&mut rest.0)? {
        0 => {}
        1 => drop(User::from_fields(&mut rest).ok()?), // old
        _ => return None,
    }
    items(&mut rest.0, member)?; // extra
    items(&mut rest.0, text)?; // omitted
    rest.0.is_empty().then_some(head)
}

/// The unread rest of a datum whose fields are read and let go.
struct Skimmed<'b>(&'b [u8]);

/// The bytes are not as expected. The library reports the fault.
struct Unfit;

impl FieldSource<()> for Skimmed<'_> {
    type Error = Unfit;

    fn user_id(&mut self, _: &'static str) -> Result<UserId, Unfit> {
        long(&mut self.0).and_then(|id| UserId::new(id).ok()).ok_or(Unfit)
    }

    fn text(&mut self, _: &'static str) -> Result<Option<()>, Unfit> {
        self.optional(text)
    }

    fn texts(&mut self, _: &'static str) -> Result<Option<Vec<()>>, Unfit> {
        self.optional(|bytes| items(bytes, text))
    }

    fn boolean(&mut self, _: &'static str) -> Result<Option<bool>, Unfit> {
        self.optional(boolean)
    }

    fn integer(&mut self, _: &'static str) -> Result<Option<i64>, Unfit> {
        self.optional(long)
    }

    fn extra(&mut self) -> Result<BTreeMap<(), ()>, Unfit> {
        items(&mut self.0, member).map(|_| BTreeMap::new()).ok_or(Unfit)
    }
}

impl<'b> Skimmed<'b> {
    /// Reads a union of null and another type.
    fn optional<T>(&mut self, read: impl Fn(&mut &'b [u8]) -> Option<T>) -> Result<Option<T>, Unfit> {
        match long(&mut self.0) {
            Some(0) => Ok(None),
            Some(1) => read(&mut self.0).map(Some).ok_or(Unfit),
            _ => Err(Unfit),
        }
    }
}

#[inline]
fn text(bytes: &mut &[u8]) -> Option<()> {
    let text = sized(bytes)?;
    (text.is_ascii() || std::str::from_utf8(text).is_ok()).then_some(())
}

fn member(bytes: &mut &[u8]) -> Option<()> {
    text(bytes)?;
    text(bytes)
}
