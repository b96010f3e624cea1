//! The state that an event of version 1 made, read by hand and borrowed, for the same reason and with the same guard as the head:
//! what is not as it must be is left to the library.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::head;
use super::head::long;
use crate::wire::Current;
use crate::{UnixMillis, User, UserId};

/// Returns the state in `datum`; `None` when the library must say what is wrong with it.
pub(super) fn read(datum: &[u8]) -> Option<Current<'_>> {
    let bytes = &mut { datum };
    let head = head::take(bytes)?;
    text(bytes)?; // timestamp
    boolean(bytes)?; // passwordChanged
    let user = User {
        user_id: UserId::new(long(bytes)?).ok()?,
        contact_phone: optional(bytes, text)?,
        email: optional(bytes, text)?,
        extension: optional(bytes, text)?,
        hourly: optional(bytes, long)?,
        is_agent: optional(bytes, boolean)?,
        message_lists: optional(bytes, texts)?,
        mobile_phone: optional(bytes, text)?,
        mobile_project_id: optional(bytes, long)?,
        monthly: optional(bytes, long)?,
        name: optional(bytes, text)?,
        outbound_phone: optional(bytes, text)?,
        priv_group: optional(bytes, long)?,
        redistribution: optional(bytes, long)?,
        register_transport: optional(bytes, text)?,
        sample_rate: optional(bytes, text)?,
        state: optional(bytes, text)?,
        username: optional(bytes, text)?,
        extra: members(bytes)?,
    };
    Some(Current { occurred_at: head.occurred_at, event_id: head.event_id, received_at: head.received_at, user })
}

/// Reads a union of null and something.
fn optional<'b, T>(bytes: &mut &'b [u8], read: impl Fn(&mut &'b [u8]) -> Option<T>) -> Option<Option<T>> {
    match long(bytes)? {
        0 => Some(None),
        1 => read(bytes).map(Some),
        _ => None,
    }
}

fn text<'b>(bytes: &mut &'b [u8]) -> Option<Cow<'b, str>> {
    let length = usize::try_from(long(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok().map(Cow::Borrowed)
}

fn boolean(bytes: &mut &[u8]) -> Option<bool> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn texts<'b>(bytes: &mut &'b [u8]) -> Option<Vec<Cow<'b, str>>> {
    items(bytes, text)
}

fn members<'b>(bytes: &mut &'b [u8]) -> Option<BTreeMap<Cow<'b, str>, Cow<'b, str>>> {
    let members = items(bytes, |bytes| Some((text(bytes)?, text(bytes)?)))?;
    Some(members.into_iter().collect())
}

/// Reads an array or a map: blocks of items, each with their number before it, the last one empty. A negative number has the
/// block's length behind it, which no writer of ours uses: the library sees to it.
fn items<'b, T>(bytes: &mut &'b [u8], read: impl Fn(&mut &'b [u8]) -> Option<T>) -> Option<Vec<T>> {
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
