//! A user of the call centre, as described by the vendor.

mod omit;
mod version;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::UserId;

/// The number of fields in the vendor's table.
const FIELDS: usize = 18;

/// A user with the fields of the vendor's table ("User Object"). All fields are optional except the identifier. There
/// is no password.
///
/// The serde form follows `schemas/user-event.v1.avsc`, in its field order. [`User::to_json`] returns the form for
/// readers. A new field must be added here, in [`User::from_fields`], in [`User::fields`] and in the schema, at the
/// same place in each.
///
/// `S` is the type of texts. Readers that only inspect a user use borrowed texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "S: Deserialize<'de> + Ord"))]
pub struct User<S = String> {
    pub user_id: UserId,
    pub contact_phone: Option<S>,
    pub email: Option<S>,
    pub extension: Option<S>,
    /// Hourly salary, in the customer's currency.
    pub hourly: Option<i64>,
    pub is_agent: Option<bool>,
    pub message_lists: Option<Vec<S>>,
    pub mobile_phone: Option<S>,
    pub mobile_project_id: Option<i64>,
    /// Monthly wage, in the customer's currency.
    pub monthly: Option<i64>,
    pub name: Option<S>,
    pub outbound_phone: Option<S>,
    pub priv_group: Option<i64>,
    /// 1 when shared callback distribution is enabled, else 0.
    pub redistribution: Option<i64>,
    pub register_transport: Option<S>,
    pub sample_rate: Option<S>,
    pub state: Option<S>,
    pub username: Option<S>,
    /// Members outside the table, and amounts that are not integers: name to JSON text, with numbers as sent.
    pub extra: BTreeMap<S, S>,
}

/// A source of a user's fields. The fields are requested in the order of the schema, `extra` last.
pub trait FieldSource<S> {
    type Error;

    fn user_id(&mut self, name: &'static str) -> Result<UserId, Self::Error>;
    fn text(&mut self, name: &'static str) -> Result<Option<S>, Self::Error>;
    fn texts(&mut self, name: &'static str) -> Result<Option<Vec<S>>, Self::Error>;
    fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Self::Error>;
    fn integer(&mut self, name: &'static str) -> Result<Option<i64>, Self::Error>;
    fn extra(&mut self) -> Result<BTreeMap<S, S>, Self::Error>;

    /// Reads an amount of money: an integer in the vendor's table, but some senders write a fraction.
    fn amount(&mut self, name: &'static str) -> Result<Option<i64>, Self::Error> {
        self.integer(name)
    }
}

/// The value of a field. Its serde form is the one for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Field<'u, S> {
    Text(Option<&'u S>),
    Texts(Option<&'u [S]>),
    Boolean(Option<bool>),
    Integer(Option<i64>),
}

impl<S> User<S> {
    /// Reads a user from `source`.
    ///
    /// # Errors
    /// The first error of the source.
    pub fn from_fields<F: FieldSource<S>>(source: &mut F) -> Result<Self, F::Error> {
        Ok(Self {
            user_id: source.user_id("userId")?,
            contact_phone: source.text("contactPhone")?,
            email: source.text("email")?,
            extension: source.text("extension")?,
            hourly: source.amount("hourly")?,
            is_agent: source.boolean("isAgent")?,
            message_lists: source.texts("messageLists")?,
            mobile_phone: source.text("mobilePhone")?,
            mobile_project_id: source.integer("mobileProjectId")?,
            monthly: source.amount("monthly")?,
            name: source.text("name")?,
            outbound_phone: source.text("outboundPhone")?,
            priv_group: source.integer("privGroup")?,
            redistribution: source.integer("redistribution")?,
            register_transport: source.text("registerTransport")?,
            sample_rate: source.text("sampleRate")?,
            state: source.text("state")?,
            username: source.text("username")?,
            extra: source.extra()?,
        })
    }

    /// Returns the fields of the vendor's table with their names, in the order of the schema, without `extra`.
    pub fn fields(&self) -> [(&'static str, Field<'_, S>); FIELDS] {
        [
            ("userId", Field::Integer(Some(self.user_id.get()))),
            ("contactPhone", Field::Text(self.contact_phone.as_ref())),
            ("email", Field::Text(self.email.as_ref())),
            ("extension", Field::Text(self.extension.as_ref())),
            ("hourly", Field::Integer(self.hourly)),
            ("isAgent", Field::Boolean(self.is_agent)),
            ("messageLists", Field::Texts(self.message_lists.as_deref())),
            ("mobilePhone", Field::Text(self.mobile_phone.as_ref())),
            ("mobileProjectId", Field::Integer(self.mobile_project_id)),
            ("monthly", Field::Integer(self.monthly)),
            ("name", Field::Text(self.name.as_ref())),
            ("outboundPhone", Field::Text(self.outbound_phone.as_ref())),
            ("privGroup", Field::Integer(self.priv_group)),
            ("redistribution", Field::Integer(self.redistribution)),
            ("registerTransport", Field::Text(self.register_transport.as_ref())),
            ("sampleRate", Field::Text(self.sample_rate.as_ref())),
            ("state", Field::Text(self.state.as_ref())),
            ("username", Field::Text(self.username.as_ref())),
        ]
    }
}

impl User {
    /// Returns a user with an identifier and no other field.
    ///
    /// ```
    /// use domain::{User, UserId};
    ///
    /// let user = User::new(UserId::new(180)?);
    /// assert_eq!((user.user_id.get(), user.name), (180, None));
    /// # Ok::<(), domain::UserIdError>(())
    /// ```
    pub fn new(user_id: UserId) -> Self {
        let Ok(user) = Self::from_fields(&mut Unknown(user_id));
        user
    }

    /// Returns whether `name` is a field of the table. Readers see the field, never a member of `extra` with the same
    /// name.
    ///
    /// ```
    /// assert!(domain::User::is_field("hourly") && !domain::User::is_field("skills"));
    /// ```
    pub fn is_field(name: &str) -> bool {
        Self::names().binary_search(&name).is_ok()
    }

    /// Returns whether the vendor's table has a field of that name in another case.
    ///
    /// ```
    /// assert!(domain::User::is_field_in_another_case("Email") && !domain::User::is_field_in_another_case("email"));
    /// ```
    pub fn is_field_in_another_case(name: &str) -> bool {
        !Self::is_field(name) && Self::names().iter().any(|field| field.eq_ignore_ascii_case(name))
    }

    /// Returns the names of the vendor's table in alphabetical order.
    fn names() -> &'static [&'static str; FIELDS] {
        static NAMES: LazyLock<[&'static str; FIELDS]> = LazyLock::new(|| {
            let mut names = User::new(UserId::MIN).fields().map(|(name, _)| name);
            names.sort_unstable();
            names
        });
        &NAMES
    }

    /// Returns the user as a JSON object with the vendor's names: the fields, null where unknown, then the extra
    /// members.
    ///
    /// A member of `extra` with the name of a field is left out. A member whose text is not JSON (written by another
    /// program), or whose number does not fit a double, appears as a string. Numbers are those of [`Value`]; `extra`
    /// itself keeps their digits.
    pub fn to_json(&self) -> Map<String, Value> {
        let json = |value| serde_json::to_value(value).expect("texts, numbers and lists of texts are JSON");
        let mut object: Map<String, Value> =
            self.fields().map(|(name, field)| (name.to_owned(), json(field))).into_iter().collect();
        for (name, text) in &self.extra {
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
            object.entry(name.as_str()).or_insert(value);
        }
        object
    }
}

/// A source with the identifier only.
struct Unknown(UserId);

impl FieldSource<String> for Unknown {
    type Error = Infallible;

    fn user_id(&mut self, _: &'static str) -> Result<UserId, Infallible> {
        Ok(self.0)
    }

    fn text(&mut self, _: &'static str) -> Result<Option<String>, Infallible> {
        Ok(None)
    }

    fn texts(&mut self, _: &'static str) -> Result<Option<Vec<String>>, Infallible> {
        Ok(None)
    }

    fn boolean(&mut self, _: &'static str) -> Result<Option<bool>, Infallible> {
        Ok(None)
    }

    fn integer(&mut self, _: &'static str) -> Result<Option<i64>, Infallible> {
        Ok(None)
    }

    fn extra(&mut self) -> Result<BTreeMap<String, String>, Infallible> {
        Ok(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn rachel() -> User {
        let mut user = User::new(UserId::new(180).unwrap());
        user.name = Some("Rachel Smith".into());
        user.extra.insert("skills".into(), r#"["hu",{"b":1,"a":2}]"#.into());
        user
    }

    pub(super) fn with_extra(name: &str, text: &str) -> User {
        let mut user = rachel();
        user.extra.insert(name.into(), text.into());
        user
    }

    #[test]
    fn json_has_every_vendor_field_and_the_extra_members() {
        let json = rachel().to_json();
        assert_eq!(json.len(), 18 + 1);
        assert_eq!(json["userId"], 180);
        assert_eq!(json["contactPhone"], Value::Null);
        assert_eq!(json["skills"][1]["a"], 2);
        assert!(!json.contains_key("extra"));
    }

    #[test]
    fn the_fields_are_those_of_the_serde_form() {
        let mut user = rachel();
        user.message_lists = Some(vec!["technical".into()]);
        user.is_agent = Some(true);
        let Value::Object(mut serde_form) = serde_json::to_value(&user).unwrap() else { panic!("an object") };
        serde_form.remove("extra");
        user.extra.clear();
        assert_eq!(user.to_json(), serde_form);
    }

    #[test]
    fn a_known_name_in_extra_never_hides_the_field() {
        let user = with_extra("name", "\"Mallory\"");
        assert_eq!(user.to_json()["name"], "Rachel Smith");
        assert_eq!(user.version(), rachel().version());
    }
}
