//! The users of an imported list: those who were there before the webhook.
//!
//! A user passes the stages of a webhook's body, the rule of the gate, and the dead letters. Its event has the type
//! `imported` and the time of the list: any webhook ranks above it, a tombstone too, and the same list gives the same
//! events again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use domain::roll::Standing;
use domain::{EventId, Letter, UnixMillis, UserEvent, UserId, letter};
use upkeep::Table;

use crate::transport::{BodyPolicy, blank_passwords};
use crate::{Rejection, pipeline, users};

/// A list of users, read user by user.
#[derive(Debug)]
pub struct List<'l> {
    pub as_of: UnixMillis,
    pub policy: &'l BodyPolicy,
    pub body_bytes_max: usize,
    /// The state of every user when the import began.
    pub table: &'l Table,
    /// The events of the list so far.
    pub seen: HashMap<UserId, EventId>,
}

/// A user of the list.
#[derive(Debug)]
pub enum Listed {
    /// An event, and how it stands to its user.
    Event(Box<UserEvent>, Standing),
    /// The list has had the same user before, with the same fields.
    Repeated(UserId),
    /// The list has had the user before, with other fields: it does not say which is right.
    Ambiguous(UserId),
    /// The body is no user; the letter is what is kept of it.
    Refused(Rejection, Option<Box<Letter>>),
}

impl List<'_> {
    /// Reads `user`, a JSON object, at `now`.
    pub fn read(&mut self, user: &[u8], now: UnixMillis) -> Listed {
        if user.len() > self.body_bytes_max {
            return Listed::Refused(Rejection::BodyTooLarge, None);
        }
        let event = match pipeline::accept_listed(user, self.as_of, self.policy, now) {
            Ok(event) => event,
            Err(rejection) => {
                let letter = self.letter(user, &rejection, now);
                return Listed::Refused(rejection, Some(Box::new(letter)));
            }
        };
        match self.seen.entry(event.user_id) {
            Entry::Occupied(seen) if *seen.get() == event.event_id => return Listed::Repeated(event.user_id),
            Entry::Occupied(_) => return Listed::Ambiguous(event.user_id),
            Entry::Vacant(place) => place.insert(event.event_id),
        };
        let key = self.table.key(event.user_id);
        let standing = key.map_or(Standing::News, |key| key.roll.standing(&event.head()));
        Listed::Event(Box::new(event), standing)
    }

    fn letter(&self, user: &[u8], rejection: &Rejection, now: UnixMillis) -> Letter {
        Letter {
            body: blank_passwords(user),
            iv: None,
            rejection: rejection.label().to_owned(),
            reason: letter::cut(rejection.to_string()),
            pointer: rejection.pointer().to_owned(),
            received_at: now,
            as_of: Some(self.as_of),
            record: None,
        }
    }
}

/// Returns the members of the event's user that are a field's name in another case: `Email`. They are kept as members
/// outside the vendor's table, and the fields are null.
pub fn miscased(event: &UserEvent) -> impl Iterator<Item = &str> {
    users::miscased(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::from_millis(1_700_000_000_000);
    const AS_OF: UnixMillis = UnixMillis::from_millis(1_600_000_000_000);

    fn check(rows: &[&str], expected: &[&str]) {
        let (policy, table) = (BodyPolicy::default(), Table::default());
        let mut list = List { as_of: AS_OF, policy: &policy, body_bytes_max: 100, table: &table, seen: HashMap::new() };
        let read: Vec<String> = rows
            .iter()
            .map(|row| match list.read(row.as_bytes(), NOW) {
                Listed::Event(event, Standing::News) => format!("event of {}", event.user_id),
                Listed::Event(_, other) => panic!("{other:?}"),
                Listed::Repeated(user) => format!("repeated {user}"),
                Listed::Ambiguous(user) => format!("ambiguous {user}"),
                Listed::Refused(rejection, letter) => {
                    let kept = letter.map(|letter| String::from_utf8(letter.body).unwrap()).unwrap_or_default();
                    format!("{} {} {kept}", rejection.label(), rejection.pointer())
                }
            })
            .collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_list_has_each_user_once() {
        check(
            &[r#"{"userId":1}"#, r#"{"userid":"1"}"#, r#"{"userId":1,"name":"A"}"#, r#"{"userId":2}"#],
            &["event of 1", "repeated 1", "ambiguous 1", "event of 2"],
        );
    }

    #[test]
    fn what_is_refused_is_kept_without_its_password() {
        let long = format!(r#"{{"userId":1,"name":"{}"}}"#, "a".repeat(100));
        check(
            &[r#"{"userId":1,"isAgent":"x","password":"hunter2"}"#, "[]", r#"{"USERID":1}"#, &long],
            &[
                r#"not_an_event /isAgent {"userId":1,"isAgent":"x","password":"[redacted]"}"#,
                "not_an_event  []",
                r#"not_an_event /USERID {"USERID":1}"#,
                "body_too_large  ",
            ],
        );
    }

    #[test]
    fn a_password_is_in_no_event() {
        let policy = BodyPolicy::default();
        let event = pipeline::accept_listed(br#"{"userId":1,"password":"hunter2"}"#, AS_OF, &policy, NOW).unwrap();
        assert!(!format!("{event:?}").contains("hunter2") && !event.password_changed);
    }
}
