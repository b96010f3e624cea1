//! The fields of a user that an event changed, with their values.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Field, User, UserEvent};

/// The canonical form of a field that a user does not have.
const NULL: &str = "null";
/// The field that never changes.
const USER_ID: &str = "userId";

/// A field of a user before and after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange<'u> {
    /// The vendor's name.
    pub name: &'u str,
    /// `None` when there was no user, or no such member outside the vendor's table.
    pub before: Option<FieldValue<'u>>,
    /// `None` when there is no such member outside the vendor's table any more.
    pub after: Option<FieldValue<'u>>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue<'u> {
    Field(Field<'u, String>),
    /// The JSON text of a member outside the vendor's table, as sent.
    Member(&'u str),
}

impl UserEvent {
    /// Returns the fields that differ between the states before and after the event, both as the sender has them, in
    /// alphabetical order. Without a state before, it returns the fields that are not null.
    pub fn changes(&self) -> Vec<FieldChange<'_>> {
        changes(self.old.as_ref(), self, &[])
    }

    /// Returns the fields that differ between the state after `held` and the state after this event, in alphabetical
    /// order. Fields that either event omits are skipped.
    pub fn changes_since<'u>(&'u self, held: &'u UserEvent) -> Vec<FieldChange<'u>> {
        changes(Some(&held.new), self, &held.omitted)
    }
}

fn changes<'u>(before: Option<&'u User>, event: &'u UserEvent, omitted: &[String]) -> Vec<FieldChange<'u>> {
    let (known, new) = (before.map(User::canonical_members).unwrap_or_default(), event.new.canonical_members());
    let is_omitted =
        |name: &str| omitted.iter().chain(&event.omitted).any(|omitted| omitted.eq_ignore_ascii_case(name));
    let is_same = |name: &str| canonical(&known, name) == canonical(&new, name);
    let names: BTreeSet<&str> = known.keys().chain(new.keys()).copied().collect();
    let differing = names.into_iter().filter(|name| *name != USER_ID && !is_omitted(name) && !is_same(name));
    let change =
        |name| FieldChange { name, before: before.and_then(|user| value(user, name)), after: value(&event.new, name) };
    // Readers do not see an amount that is not an integer, though the digest does.
    differing.map(change).filter(|change| change.before != change.after).collect()
}

fn canonical<'m>(members: &'m BTreeMap<&str, String>, name: &str) -> &'m str {
    members.get(name).map_or(NULL, String::as_str)
}

fn value<'u>(user: &'u User, name: &str) -> Option<FieldValue<'u>> {
    let field = user.fields().into_iter().find(|(field, _)| *field == name);
    let field = field.map(|(_, field)| FieldValue::Field(field));
    field.or_else(|| user.extra.get(name).map(|text| FieldValue::Member(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Facts, UnixMillis, UserId};

    fn user(name: &str) -> User {
        User { name: Some(name.into()), ..User::new(UserId::new(180).unwrap()) }
    }

    fn with_extra(name: &str, member: &str, text: &str) -> User {
        User { extra: [(member.to_owned(), text.to_owned())].into(), ..user(name) }
    }

    fn event(old: Option<User>, new: User, omitted: &[&str]) -> UserEvent {
        UserEvent::new(Facts {
            old,
            new,
            timestamp: "2017-06-06T10:53:43Z".into(),
            received_at: UnixMillis::from_millis(0),
            password_changed: false,
            extra: Default::default(),
            omitted: omitted.iter().map(|name| (*name).to_owned()).collect(),
        })
        .unwrap()
    }

    fn names<'u>(changes: &[FieldChange<'u>]) -> Vec<&'u str> {
        changes.iter().map(|change| change.name).collect()
    }

    #[test]
    fn a_change_has_the_values_before_and_after() {
        let event = event(Some(with_extra("a", "skills", "[1]")), with_extra("b", "skills", "[1.50]"), &[]);
        let changes = event.changes();
        assert_eq!(names(&changes), ["name", "skills"]);
        let text = |text: &'static str| text.to_owned();
        let (a, b) = (text("a"), text("b"));
        assert_eq!(changes[0].before, Some(FieldValue::Field(Field::Text(Some(&a)))));
        assert_eq!(changes[0].after, Some(FieldValue::Field(Field::Text(Some(&b)))));
        assert_eq!(changes[1].before, Some(FieldValue::Member("[1]")));
        assert_eq!(changes[1].after, Some(FieldValue::Member("[1.50]")), "digits as sent");
    }

    #[test]
    fn a_created_user_has_the_fields_that_are_not_null() {
        let event = event(None, User { is_agent: Some(false), ..with_extra("a", "skills", "null") }, &[]);
        let changes = event.changes();
        assert_eq!(names(&changes), ["isAgent", "name"]);
        assert!(changes.iter().all(|change| change.before.is_none()));
    }

    #[test]
    fn members_that_come_go_or_are_spelled_otherwise() {
        let gone = event(Some(with_extra("a", "skills", "1")), user("a"), &[]);
        assert_eq!(gone.changes()[0].after, None);
        let come = event(Some(user("a")), with_extra("a", "skills", "1"), &[]);
        assert!(matches!(come.changes().as_slice(), [FieldChange { before: None, after: Some(_), .. }]));
        let same = event(Some(with_extra("a", "skills", "[1, 2.0]")), with_extra("a", "skills", "[1,2]"), &[]);
        assert!(same.changes().is_empty());
        let amount = event(Some(with_extra("a", "hourly", "1.5")), with_extra("a", "hourly", "2.5"), &[]);
        assert!(amount.changes().is_empty(), "readers see null in both");
    }

    #[test]
    fn the_state_held_may_be_another_than_the_one_that_the_sender_built_on() {
        let (held, next) = (event(None, user("a"), &[]), event(Some(user("b")), user("c"), &[]));
        let changes = next.changes_since(&held);
        let a = "a".to_owned();
        assert_eq!(changes[0].before, Some(FieldValue::Field(Field::Text(Some(&a)))));
    }

    #[test]
    fn a_field_that_either_event_omits_has_not_changed() {
        let paid = User { hourly: Some(7), ..user("a") };
        let (with, without) = (event(None, paid.clone(), &[]), event(Some(user("a")), user("a"), &["hourly"]));
        assert!(without.changes_since(&with).is_empty());
        assert!(with.changes_since(&without).is_empty());
    }
}
