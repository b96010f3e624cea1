//! The difference between the states held of a user and the state that the next event was built on.

use crate::{UserEvent, Version};

/// The difference that makes a suspected gap a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The version of the state held, as the writer of the next event would have written it.
    pub held: Version,
    /// The names of the fields that differ, in alphabetical order; not empty.
    pub fields: Vec<String>,
}

/// Compares the states after the events in `held`, the former winner first, with the state that `next` was built on.
/// Returns `None` when one of them is that state: no delivery was missed. Of several events of one second, the sender
/// can have continued from another than the winner.
pub fn difference<'e>(held: impl IntoIterator<Item = &'e UserEvent>, next: &UserEvent) -> Option<Difference> {
    let mut winner = None;
    for held in held {
        let fields = changed_fields(held, next);
        if fields.is_empty() {
            return None;
        }
        winner.get_or_insert_with(|| Difference { held: as_written_by(next, held), fields });
    }
    winner
}

/// Returns the names of the fields that differ between the state after `held` and the state before `next`, in
/// alphabetical order. Returns none when `next` has no parent state.
///
/// Two kinds of fields are skipped: members outside the vendor's table that only the state before `next` has, because
/// the vendor has newly added them; and fields that either event omits. An empty result means that there is no gap.
pub fn changed_fields(held: &UserEvent, next: &UserEvent) -> Vec<String> {
    let Some(old) = &next.old else { return Vec::new() };
    let (known, old) = (held.new.canonical_members(), old.canonical_members());
    let omitted = || held.omitted.iter().chain(&next.omitted);
    let is_omitted = |name: &str| omitted().any(|omitted| omitted.eq_ignore_ascii_case(name));
    let differing = known.into_iter().filter(|(name, value)| !is_omitted(name) && old.get(name) != Some(value));
    differing.map(|(name, _)| name.to_owned()).collect()
}

/// Returns the version of the state after `held`, as the writer of `next` would have written it: without the fields
/// that it omits, and with those that `held` omits as they were before `next`.
///
/// So late events that were written like `next` lead from this version to the missing state, also where the omitted
/// fields were changed between the two events.
fn as_written_by(next: &UserEvent, held: &UserEvent) -> Version {
    let Some(old) = next.old.as_ref().filter(|_| held.omitted != next.omitted) else { return held.version };
    let mut user = held.new.clone();
    for name in &held.omitted {
        user.take_field(name, old);
    }
    user.omit(&next.omitted);
    user.version()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Facts, UnixMillis, User, UserId};

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

    fn user() -> User {
        User::new(UserId::new(1).unwrap())
    }

    #[test]
    fn fields_that_differ_are_named_and_newly_added_ones_are_not() {
        let differing = |held: &User, old: &User| {
            changed_fields(&event(None, held.clone(), &[]), &event(Some(old.clone()), user(), &[]))
        };
        let (held, mut old) = (user(), user());
        assert!(differing(&held, &old).is_empty());
        old.extra.insert("skills".into(), "[]".into());
        assert!(differing(&held, &old).is_empty());
        old.state = Some("inactive".into());
        old.email = Some("a@b.example".into());
        assert_eq!(differing(&held, &old), ["email", "state"]);
        assert_eq!(differing(&old, &held), ["email", "skills", "state"], "a member that went away counts");
    }

    #[test]
    fn a_field_omitted_in_either_event_does_not_differ_however_it_is_spelled() {
        let full = User { hourly: Some(7), ..user() };
        let mut spelled = user();
        spelled.extra.insert("Hourly".into(), "7.5".into());
        for known in [full, spelled] {
            let with = event(None, known.clone(), &[]);
            assert_eq!(changed_fields(&with, &event(Some(user()), user(), &[])).len(), 1, "omitted by nobody");
            assert!(changed_fields(&with, &event(Some(user()), user(), &["hourly"])).is_empty(), "switched on");
            let without = event(None, user(), &["hourly"]);
            assert!(changed_fields(&without, &event(Some(known), user(), &[])).is_empty(), "switched off");
        }
    }

    #[test]
    fn a_sender_may_go_on_from_another_event_of_a_second() {
        let [a, b] = ["a", "b"].map(|name| User { name: Some(name.into()), hourly: Some(7), ..user() });
        let [won, lost] = [&a, &b].map(|user| event(None, user.clone(), &[]));
        let mut old = b.clone();
        old.omit(&["hourly"]);
        let next = event(Some(old), user(), &["hourly"]);
        assert_eq!(difference([&won], &next).unwrap().fields, ["name"]);
        assert_eq!(difference([&won, &lost], &next), None);
    }

    /// A late delivery between the two events is written as the second one, and leads from the state held all the same.
    #[test]
    fn late_events_lead_from_a_state_that_was_written_before_a_switch() {
        let [a, b] = ["a", "b"].map(|name| User { name: Some(name.into()), hourly: Some(7), ..user() });
        let written = |user: &User, omitted: &[&str]| {
            let mut user = user.clone();
            user.omit(omitted);
            user
        };
        for (before, after) in [(&[][..], &["hourly"][..]), (&["hourly"], &[]), (&["hourly"], &["monthly"]), (&[], &[])]
        {
            let held = event(None, written(&a, before), before);
            let late = event(Some(written(&a, after)), written(&b, after), after);
            let next = event(Some(late.new.clone()), written(&a, after), after);
            let found = difference([&held], &next).unwrap();
            assert_eq!(Some(found.held), late.parent, "{before:?} {after:?}");
            assert_eq!(found.fields, ["name"]);
        }
    }
}
