//! The members of a user that an answer shows: those that the principal may see and the request asks for.
//!
//! | scope | members |
//! | --- | --- |
//! | none | `userId` |
//! | `users:read` | all that the next two do not name |
//! | `users:contact` | `contactPhone`, `email`, `mobilePhone`, `outboundPhone` |
//! | `users:pay` | `hourly`, `monthly`, and every member outside the vendor's table (`extra`) |
//!
//! A member that is asked for and may not be seen is absent, and named in `_meta.redacted`.

use axum::extract::{FromRequestParts, Query};
use domain::{Field, User};
use http::request::Parts;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::guard::held;
use super::params::UserQuery;
use super::refusal::Refusal;
use crate::scopes::{Scope, Scopes};

const READ: Option<Scope> = Some(Scope::UsersRead);
const CONTACT: Option<Scope> = Some(Scope::UsersContact);
const PAY: Option<Scope> = Some(Scope::UsersPay);

/// The members with the scope that shows each: first the identifier, then the others in alphabetical order. `extra`
/// stands for all members outside the vendor's table.
const MEMBERS: [(&str, Option<Scope>); 19] = [
    ("userId", None),
    ("contactPhone", CONTACT),
    ("email", CONTACT),
    ("extension", READ),
    ("extra", PAY),
    ("hourly", PAY),
    ("isAgent", READ),
    ("messageLists", READ),
    ("mobilePhone", CONTACT),
    ("mobileProjectId", READ),
    ("monthly", PAY),
    ("name", READ),
    ("outboundPhone", CONTACT),
    ("privGroup", READ),
    ("redistribution", READ),
    ("registerTransport", READ),
    ("sampleRate", READ),
    ("state", READ),
    ("username", READ),
];
const USER_ID: usize = 0;
/// The place of `extra`, which is none of the fields of [`User::fields`].
const EXTRA: usize = 4;

/// The members that an answer shows, and those that it hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The members that the principal may see: a bit for each of [`MEMBERS`].
    visible: u32,
    /// The members that the request asks for.
    asked: u32,
}

/// The documentation of the parameter `fields`.
pub(super) struct FieldNames;

impl PartialSchema for FieldNames {
    fn schema() -> RefOr<Schema> {
        let names = MEMBERS.iter().map(|(name, _)| *name);
        let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        ArrayBuilder::new().items(name).min_items(Some(1)).into()
    }
}

impl ToSchema for FieldNames {}

/// For the routes that take no other parameter but `fields`, `at_least` and `wait_ms`.
impl<S: Sync> FromRequestParts<S> for Shown {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let scopes = held(&parts.extensions);
        match parts.uri.query() {
            None => Ok(Self::of(scopes)),
            Some(_) => Query::<UserQuery>::try_from_uri(&parts.uri)?.shown(scopes),
        }
    }
}

impl Shown {
    /// Returns what is shown of all members.
    pub(super) fn of(scopes: Scopes) -> Self {
        let is_visible = |scope: Option<Scope>| scope.is_none_or(|scope| scopes.contains(scope));
        let visible = bits(|(_, scope)| is_visible(*scope));
        Self { visible, asked: u32::MAX }
    }

    /// Returns what is shown of the members that `fields` names, parted by commas; of all without it.
    pub(super) fn asked(scopes: Scopes, fields: Option<&str>) -> Result<Self, Refusal> {
        let Some(fields) = fields else { return Ok(Self::of(scopes)) };
        let mut asked = 1 << USER_ID;
        for name in fields.split(',').map(str::trim) {
            let member = MEMBERS.iter().position(|(member, _)| *member == name);
            let unknown = || Refusal::Parameter(format!("fields: expected names of fields, found {name:?}"));
            asked |= 1 << member.ok_or_else(unknown)?;
        }
        Ok(Self { asked, ..Self::of(scopes) })
    }

    /// Returns a number: answers of the same one show the same.
    pub(super) fn number(self) -> u64 {
        u64::from(self.visible & bits(|_| true)) << 32 | u64::from(self.asked & bits(|_| true))
    }

    /// Returns the fields of the vendor's table that are shown.
    pub(super) fn fields<S>(self, user: &User<S>) -> impl Iterator<Item = (&'static str, Field<'_, S>)> {
        let places = (0..EXTRA).chain(EXTRA + 1..);
        user.fields().into_iter().zip(places).filter(move |(_, place)| self.has(*place)).map(|(field, _)| field)
    }

    /// Returns whether the members outside the vendor's table are shown.
    pub(super) fn has_extra(self) -> bool {
        self.has(EXTRA)
    }

    /// Returns whether the principal may hear of the member, asked for or not.
    pub(super) fn may_name(self, name: &str) -> bool {
        self.visible & 1 << place_of(name) != 0
    }

    /// Returns whether the member is shown; any name that is none of the vendor's table is of `extra`.
    pub(super) fn shows(self, name: &str) -> bool {
        self.may_name(name) && self.asked & 1 << place_of(name) != 0
    }

    /// Returns the members that are asked for and hidden, in alphabetical order.
    pub(super) fn redacted(self) -> impl Iterator<Item = &'static str> + Clone {
        let hidden = self.asked & !self.visible;
        MEMBERS.iter().enumerate().filter(move |(place, _)| hidden & 1 << place != 0).map(|(_, (name, _))| *name)
    }

    /// Returns the set of the members that are shown, as a number; `None` for all.
    pub(super) fn subset(self) -> Option<u32> {
        let all = bits(|_| true);
        let shown = self.visible & self.asked & all;
        (shown != all).then_some(shown)
    }

    fn has(self, place: usize) -> bool {
        self.visible & self.asked & 1 << place != 0
    }
}

/// Returns the place of the member in [`MEMBERS`], or that of `extra`.
fn place_of(name: &str) -> usize {
    MEMBERS.iter().position(|(member, _)| *member == name).unwrap_or(EXTRA)
}

/// Returns the set of the members that `is_in` names.
fn bits(is_in: impl Fn(&(&str, Option<Scope>)) -> bool) -> u32 {
    MEMBERS.iter().enumerate().filter(|(_, member)| is_in(member)).fold(0, |bits, (place, _)| bits | 1 << place)
}

#[cfg(test)]
mod tests {
    use domain::UserId;

    use super::*;

    #[test]
    fn every_field_of_the_vendors_table_has_its_scope() {
        let user = User::new(UserId::MIN);
        let mut members: Vec<&str> = MEMBERS.iter().map(|(name, _)| *name).collect();
        assert_eq!(members.remove(EXTRA), "extra");
        assert_eq!(members, user.fields().map(|(name, _)| name), "in the order of the domain");
        assert_eq!(members.remove(USER_ID), "userId");
        assert!(members.is_sorted());
        assert!(Shown::of(Scopes::ALL).fields(&user).map(|(name, _)| name).eq(user.fields().map(|(name, _)| name)));
    }

    #[test]
    fn what_is_hidden_is_named_if_it_is_asked_for() {
        let read: Scopes = [Scope::UsersRead].into_iter().collect();
        let redacted = |fields| Shown::asked(read, fields).unwrap().redacted().collect::<Vec<_>>();
        let contact_and_pay = "contactPhone email extra hourly mobilePhone monthly outboundPhone";
        assert_eq!(redacted(None).join(" "), contact_and_pay);
        assert_eq!(redacted(Some("name, monthly,extra")), ["extra", "monthly"]);
        assert!(redacted(Some("name")).is_empty());
        assert_eq!(Shown::of(Scopes::ALL).redacted().count(), 0);
        assert_eq!(Shown::of(Scopes::NONE).redacted().count(), MEMBERS.len() - 1);
    }

    #[test]
    fn fields_are_names_of_members() {
        let user = User::new(UserId::MIN);
        let shown = Shown::asked(Scopes::ALL, Some("name,extra")).unwrap();
        assert!(shown.fields(&user).map(|(name, _)| name).eq(["userId", "name"]) && shown.has_extra());
        for fields in ["", "name,", "Name", "skills", "password", "_meta"] {
            assert!(Shown::asked(Scopes::ALL, Some(fields)).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn a_gap_names_members_that_may_be_seen_though_they_are_not_asked_for() {
        let scopes: Scopes = [Scope::UsersRead].into_iter().collect();
        let shown = Shown::asked(scopes, Some("state")).unwrap();
        assert!(shown.may_name("name") && !shown.may_name("email"));
        assert!(!shown.may_name("skills") && Shown::of(Scopes::ALL).may_name("skills"), "a member of extra");
    }
}
