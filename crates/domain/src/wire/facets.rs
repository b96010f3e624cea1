//! The fields of version 1 that a table of users is searched by, read by hand and borrowed, for the same reason and with the
//! same guard as the head: what is not as it must be is left to the library.

use std::borrow::Cow;

use super::head::{fixed, long};
use crate::wire::Current;

/// What a table of users is searched by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facets<'b> {
    pub username: Option<Cow<'b, str>>,
    pub name: Option<Cow<'b, str>>,
    pub email: Option<Cow<'b, str>>,
    pub extension: Option<Cow<'b, str>>,
    pub state: Option<Cow<'b, str>>,
    pub is_agent: Option<bool>,
    pub priv_group: Option<i64>,
}

/// Returns the facets of the state in `datum`; `None` when the library must say what is wrong with it.
pub(super) fn read(datum: &[u8]) -> Option<Facets<'_>> {
    let bytes = &mut { datum };
    for _user_id_type_occurred_at in 0..3 {
        long(bytes)?;
    }
    fixed(bytes)?; // version
    optional(bytes, fixed)?; // parent
    text(bytes)?; // eventId
    long(bytes)?; // receivedAt
    text(bytes)?; // timestamp
    boolean(bytes)?; // passwordChanged
    long(bytes)?; // new: userId
    optional(bytes, text)?; // contactPhone
    let (email, extension) = (optional(bytes, text)?, optional(bytes, text)?);
    optional(bytes, long)?; // hourly
    let is_agent = optional(bytes, boolean)?;
    optional(bytes, texts)?; // messageLists
    optional(bytes, text)?; // mobilePhone
    for _mobile_project_id_monthly in 0..2 {
        optional(bytes, long)?;
    }
    let name = optional(bytes, text)?;
    optional(bytes, text)?; // outboundPhone
    let priv_group = optional(bytes, long)?;
    optional(bytes, long)?; // redistribution
    for _register_transport_sample_rate in 0..2 {
        optional(bytes, text)?;
    }
    let (state, username) = (optional(bytes, text)?, optional(bytes, text)?);
    Some(Facets {
        username: username.map(Cow::Borrowed),
        name: name.map(Cow::Borrowed),
        email: email.map(Cow::Borrowed),
        extension: extension.map(Cow::Borrowed),
        state: state.map(Cow::Borrowed),
        is_agent,
        priv_group,
    })
}

impl From<Current> for Facets<'_> {
    fn from(current: Current) -> Self {
        let user = current.user;
        Self {
            username: user.username.map(Cow::Owned),
            name: user.name.map(Cow::Owned),
            email: user.email.map(Cow::Owned),
            extension: user.extension.map(Cow::Owned),
            state: user.state.map(Cow::Owned),
            is_agent: user.is_agent,
            priv_group: user.priv_group,
        }
    }
}

/// Reads a union of null and something.
fn optional<'b, T>(bytes: &mut &'b [u8], read: impl Fn(&mut &'b [u8]) -> Option<T>) -> Option<Option<T>> {
    match long(bytes)? {
        0 => Some(None),
        1 => read(bytes).map(Some),
        _ => None,
    }
}

fn text<'b>(bytes: &mut &'b [u8]) -> Option<&'b str> {
    let length = usize::try_from(long(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
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

/// Passes over an array of strings: blocks of items, each with their number before it, the last one empty. A negative number
/// has the block's length behind it, which no writer of ours uses: the library sees to it.
fn texts(bytes: &mut &[u8]) -> Option<()> {
    loop {
        match long(bytes)? {
            0 => return Some(()),
            count if count > 0 => {
                for _ in 0..count {
                    text(bytes)?;
                }
            }
            _ => return None,
        }
    }
}
