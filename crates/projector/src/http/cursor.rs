//! Where the next page of a list begins: `<topic id>/<query>/<userId>`, and in the order of names `/<name>` behind it.
//!
//! The query is a checksum of what was asked: with the cursor of another list, users would be missed and nobody would
//! notice. The name is the one that the user had, in hexadecimal digits, so that a user who is renamed or forgotten
//! between two pages moves nobody else.

use std::fmt;
use std::str::FromStr;

use domain::{TopicId, UserId};

use crate::store::{Order, Place, UserFilter};

/// Where the next page of a list begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) topic: TopicId,
    pub(super) query: Query,
    pub(super) place: Place,
}

/// What a list was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Query(u32);

impl Query {
    pub(super) fn of(filter: &UserFilter) -> Self {
        let UserFilter { state, is_agent, priv_groups, contains, email, order, .. } = filter;
        let asked = (state, is_agent, priv_groups, contains, email, *order == Order::Name);
        Self(crc32fast::hash(&serde_json::to_vec(&asked).expect("texts and numbers are JSON")))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, query: Query(query), place: Place { user_id, sort_name } } = self;
        write!(f, "{topic}/{query:08x}/{user_id}")?;
        sort_name.as_ref().map_or(Ok(()), |name| write!(f, "/{}", hex::encode(name)))
    }
}

/// A text that is no cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let mut parts = text.splitn(4, '/');
        let mut part = || parts.next().ok_or(NoCursor);
        let topic = part()?.parse().map_err(|_| NoCursor)?;
        let query = part()?;
        let is_checksum = query.len() == 8 && query.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let query = u32::from_str_radix(query, 16).ok().filter(|_| is_checksum).ok_or(NoCursor)?;
        let user_id: UserId = part()?.parse().map_err(|_| NoCursor)?;
        let name = parts.next().map(|name| hex::decode(name).ok().and_then(|name| String::from_utf8(name).ok()));
        let sort_name = name.map(|name| name.ok_or(NoCursor)).transpose()?;
        Ok(Self { topic, query: Query(query), place: Place { user_id, sort_name } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_its_text() {
        let topic = "AAAAAAAAAAAAAAAAAAAAAA";
        for (text, sort_name) in [("/0000002a/7", None), ("/0000002a/7/", Some("")), ("/0000002a/7/c3b8", Some("ø"))] {
            let text = format!("{topic}{text}");
            let cursor: Cursor = text.parse().unwrap();
            assert_eq!(
                cursor.place,
                Place { user_id: UserId::new(7).unwrap(), sort_name: sort_name.map(str::to_owned) }
            );
            assert_eq!((cursor.query, cursor.to_string()), (Query(42), text));
        }
        for text in ["", "7", "x/0000002a/7", "/0000002a/7"] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
        for rest in ["7", "2a/7", "+000002a/7", "0000002A/7", "0000002a/x", "0000002a/7/c3", "0000002a/7/x", "0000002a"]
        {
            assert!(format!("{topic}/{rest}").parse::<Cursor>().is_err(), "{rest:?}");
        }
    }

    #[test]
    fn each_query_has_cursors_of_its_own() {
        let text = |text: &str| Some(text.to_owned());
        let filters = [
            UserFilter::default(),
            UserFilter { state: text("a"), ..UserFilter::default() },
            UserFilter { contains: text("a"), ..UserFilter::default() },
            UserFilter { email: text("a"), ..UserFilter::default() },
            UserFilter { is_agent: Some(false), ..UserFilter::default() },
            UserFilter { priv_groups: vec![1], ..UserFilter::default() },
            UserFilter { priv_groups: vec![1, 2], ..UserFilter::default() },
            UserFilter { order: Order::Name, ..UserFilter::default() },
        ];
        for (number, filter) in filters.iter().enumerate() {
            let same = filters.iter().map(Query::of).position(|query| query == Query::of(filter));
            assert_eq!(same, Some(number));
        }
    }
}
