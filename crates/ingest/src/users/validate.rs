//! Stage 4: checks that the members are a user event. The spelling of a value may vary, its type may not.
//!
//! The sender is a PHP system:
//!
//! | field | also taken |
//! | --- | --- |
//! | an integer | a decimal string, any number without a fraction: `"4"`, `4.0`, `1e3` |
//! | `redistribution`, a flag | `true` is 1, `false` is 0 |
//! | a boolean | `0`, `1`, `1.0`, `"0"`, `"1"`, `"false"`, `"true"` |
//! | a text | a number: an integer becomes its digits, any other number the text as sent |
//! | a list of texts | an object: the list of its values |
//! | null, of any optional field but a text | PHP's nothing: `""`, `false` (but of a boolean or flag), `[]`, `{}` (but of a list) |
//! | null, of a text or of `old` | `[]`, `{}` |
//!
//! The identifier is `userId` in the vendor's samples and `userid` in its table. Names are case-sensitive: a required
//! name in another case is refused, any other is an unknown member. Text values are open sets, and unknown members are
//! kept as sent.

use std::collections::BTreeMap;
use std::fmt::Display;

use domain::json::{Json, Number};
use domain::{Facts, FactsError, FieldSource, SAFE_INTEGER_MAX, UnixMillis, User, UserEvent, UserId};

use crate::Rejection;
use crate::transport::{self, Delivery, token, type_name};

/// The two spellings of the identifier.
const IDENTIFIERS: [&str; 2] = ["userId", "userid"];
/// The members of a delivery, the required ones first. In another case they would change its meaning.
const MEMBERS: [&str; 3] = ["new", "timestamp", "old"];
/// The integer that is a flag.
const FLAG: &str = "redistribution";

/// Returns the event received at `now`, without the fields in `omit`.
///
/// # Errors
/// [`Rejection::NotAnEvent`] with the place of the first fault.
pub(crate) fn validate(delivery: Delivery<'_>, omit: &[String], now: UnixMillis) -> Result<UserEvent, Rejection> {
    let password_changed = delivery.password_changed();
    let mut members = Members { path: "", members: delivery.into_members() };
    members.refuse_other_cases(&MEMBERS)?;
    let new = members.required("new")?;
    let mut new = user("/new", new)?;
    let mut old = members.take("old").filter(|old| !is_empty(old)).map(|old| user("/old", old)).transpose()?;
    std::iter::once(&mut new).chain(&mut old).for_each(|user| user.omit(omit));
    let timestamp = match members.required("timestamp")? {
        Json::Text(timestamp) => timestamp.into_string(),
        other => return Err(not_an_event("/timestamp", &expected("a string", &other))),
    };
    let extra = members.extra()?;
    let facts = Facts { old, new, timestamp, received_at: now, password_changed, extra, omitted: omit.to_vec() };
    UserEvent::new(facts).map_err(|error| match error {
        FactsError::Identity { .. } => not_an_event("/old/userId", "is another user than /new/userId"),
        FactsError::Timestamp(error) => not_an_event("/timestamp", &format!("is {error}")),
    })
}

/// Returns the event of a user on a list as of `as_of`, read at `now`, without the fields in `omit`.
///
/// # Errors
/// [`Rejection::NotAnEvent`] with the place of the first fault.
pub(crate) fn validate_listed(
    listed: Delivery<'_>,
    as_of: UnixMillis,
    omit: &[String],
    now: UnixMillis,
) -> Result<UserEvent, Rejection> {
    let mut user = user("", Json::Object(listed.into_members()))?;
    user.omit(omit);
    Ok(UserEvent::imported(user, as_of, now, omit.to_vec()))
}

/// Returns the number of the new user's amounts that have a fraction. No other field leaves a member of its name in
/// `extra`.
pub(crate) fn fractional_amounts(event: &UserEvent) -> usize {
    event.new.extra.keys().filter(|name| User::is_field(name)).count()
}

/// Returns the names in the users of an event that are a field's name in another case: `Email`. Their values are in
/// `extra`, and the fields are null.
pub(crate) fn miscased(event: &UserEvent) -> impl Iterator<Item = &str> {
    let users = std::iter::once(&event.new).chain(&event.old);
    let names = users.flat_map(|user| user.extra.keys()).map(String::as_str);
    names.filter(|name| User::is_field_in_another_case(name))
}

fn user(path: &'static str, value: Json<'_>) -> Result<User, Rejection> {
    match value {
        Json::Object(members) => {
            let mut members = Members { path, members };
            if IDENTIFIERS.iter().all(|name| members.find(name).is_none()) {
                members.refuse_other_cases(&IDENTIFIERS[..1])?;
            }
            User::from_fields(&mut members)
        }
        other => Err(not_an_event(path, &expected("an object", &other))),
    }
}

/// The members of an object that have not been read yet, and the object's pointer.
struct Members<'p> {
    path: &'static str,
    members: transport::Members<'p>,
}

impl<'p> Members<'p> {
    fn find(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|(known, _)| known.as_str() == name)
    }

    /// Removes and returns a member. Null counts as absent.
    fn take(&mut self, name: &str) -> Option<Json<'p>> {
        let (_, value) = self.members.swap_remove(self.find(name)?);
        (value != Json::Null).then_some(value)
    }

    /// # Errors
    /// When members have one of `names` in another case: each is named, in the order of `names`.
    fn refuse_other_cases(&self, names: &[&str]) -> Result<(), Rejection> {
        let members = self.members.iter().map(|(found, _)| found.as_str());
        let in_another_case = |name: &str, found: &&str| found.eq_ignore_ascii_case(name) && *found != name;
        let all: Vec<(&str, &str)> = names
            .iter()
            .flat_map(|name| members.clone().filter(|found| in_another_case(name, found)).map(|found| (found, *name)))
            .collect();
        let Some((first, _)) = all.first() else { return Ok(()) };
        let reasons: Vec<String> = all.iter().map(|(found, name)| format!("`{found}`: expected `{name}`")).collect();
        Err(self.refused(first, &reasons.join(", ")))
    }

    fn required(&mut self, name: &str) -> Result<Json<'p>, Rejection> {
        let found = self.find(name).is_some();
        self.take(name).ok_or_else(|| self.refused(name, if found { "is null" } else { "is missing" }))
    }

    fn refused(&self, name: &str, reason: &str) -> Rejection {
        not_an_event(&self.at(name), reason)
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{}", self.path, token(name))
    }
}

impl FieldSource<String> for Members<'_> {
    type Error = Rejection;

    fn user_id(&mut self, _: &'static str) -> Result<UserId, Rejection> {
        let mut id = None;
        for name in IDENTIFIERS {
            let Some(value) = self.take(name) else { continue };
            let read = integer(&value)
                .and_then(|number| UserId::new(number).map_err(|_| "is out of range".to_owned()))
                .map_err(|reason| self.refused(name, &reason))?;
            if id.replace(read).is_some_and(|other| other != read) {
                return Err(self.refused(name, "differs from userId"));
            }
        }
        id.ok_or_else(|| self.refused(IDENTIFIERS[0], "is missing"))
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>, Rejection> {
        self.take(name)
            .filter(|value| !is_empty(value))
            .map(|value| text(value).map_err(|value| self.refused(name, &expected("a string", &value))))
            .transpose()
    }

    fn integer(&mut self, name: &'static str) -> Result<Option<i64>, Rejection> {
        match self.take(name) {
            Some(Json::Boolean(flag)) if name == FLAG => Ok(Some(flag.into())),
            Some(value) if !is_nothing(&value) => {
                integer(&value).map(Some).map_err(|reason| self.refused(name, &reason))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// A number with a fraction is not taken, so that it becomes an extra member.
    fn amount(&mut self, name: &'static str) -> Result<Option<i64>, Rejection> {
        let number = self.find(name).map(|at| &self.members[at].1);
        match number {
            Some(Json::Number(number)) if !number.is_integer() => Ok(None),
            _ => self.integer(name),
        }
    }

    fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, Rejection> {
        match self.take(name) {
            Some(Json::Boolean(boolean)) => Ok(Some(boolean)),
            Some(value) if !is_nothing(&value) => {
                boolean(&value).map(Some).map_err(|reason| self.refused(name, &reason))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// PHP writes a list whose keys are not 0, 1, 2 … as an object with those keys. Digits are sorted by their value.
    fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Rejection> {
        let value = self.take(name);
        let item = |key: &dyn Display, item| {
            let at = || format!("{}/{}", self.at(name), token(&key.to_string()));
            short_text(item).map_err(|item| not_an_event(&at(), &expected("a string", &item)))
        };
        match value {
            Some(Json::Array(items)) => {
                items.into_iter().enumerate().map(|(index, value)| item(&index, value)).collect::<Result<_, _>>()
            }
            Some(Json::Object(mut members)) => {
                if members.iter().all(|(key, _)| is_digits(key.as_str())) {
                    members.sort_by(|(a, _), (b, _)| {
                        let (a, b) = (a.as_str(), b.as_str());
                        (a.len(), a).cmp(&(b.len(), b))
                    });
                }
                members.into_iter().map(|(key, value)| item(&key.as_str(), value)).collect()
            }
            Some(value) if !is_nothing(&value) => return Err(self.refused(name, &expected("an array", &value))),
            Some(_) | None => return Ok(None),
        }
        .map(Some)
    }

    /// Returns the members that were not read: name to JSON text, as sent.
    fn extra(&mut self) -> Result<BTreeMap<String, String>, Rejection> {
        let written = |value: &Json<'_>| {
            let mut text = String::new();
            value.write(&mut text);
            text
        };
        let members = std::mem::take(&mut self.members);
        Ok(members.into_iter().map(|(name, value)| (name.into_string(), written(&value))).collect())
    }
}

/// Returns whether the value is an array or an object without content.
fn is_empty(value: &Json<'_>) -> bool {
    match value {
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        Json::Null | Json::Boolean(_) | Json::Number(_) | Json::Text(_) => false,
    }
}

/// Returns whether the value is what PHP has for nothing.
fn is_nothing(value: &Json<'_>) -> bool {
    is_empty(value) || *value == Json::Boolean(false) || matches!(value, Json::Text(text) if text.as_str().is_empty())
}

/// Returns the text of a value. A 64-bit integer becomes its digits, any other number the text that was sent.
fn text(value: Json<'_>) -> Result<String, Json<'_>> {
    match value {
        Json::Text(text) => Ok(text.into_string()),
        Json::Number(number) => Ok(digits(number).unwrap_or_else(|| number.as_str().to_owned())),
        other => Err(other),
    }
}

/// Like [`text`], but keeps the spelling of a number whose digits are longer (`1e18`), because a list can have any
/// number of them.
fn short_text(value: Json<'_>) -> Result<String, Json<'_>> {
    match value {
        Json::Number(number) => {
            let sent = number.as_str();
            Ok(digits(number).filter(|digits| digits.len() <= sent.len()).unwrap_or_else(|| sent.to_owned()))
        }
        other => text(other),
    }
}

fn digits(number: Number<'_>) -> Option<String> {
    let range = i128::from(i64::MIN)..=i128::from(u64::MAX);
    number.integer().filter(|integer| range.contains(integer)).map(|integer| integer.to_string())
}

/// # Errors
/// The reason why the value is no integer.
fn integer(value: &Json<'_>) -> Result<i64, String> {
    let number = match value {
        Json::Number(number) if !number.is_integer() => return Err("expected an integer".to_owned()),
        Json::Number(number) => number.integer().and_then(|integer| integer.try_into().ok()),
        Json::Text(text) => {
            let text = text.as_str();
            if !is_digits(text.strip_prefix('-').unwrap_or(text)) {
                return Err("expected an integer, found a string that is not an integer".to_owned());
            }
            text.parse().ok()
        }
        other => return Err(expected("an integer", other)),
    };
    number
        .filter(|number| (-SAFE_INTEGER_MAX..=SAFE_INTEGER_MAX).contains(number))
        .ok_or_else(|| "is out of range: an integer has 53 bits at most".to_owned())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// # Errors
/// The reason why the value is no boolean.
fn boolean(value: &Json<'_>) -> Result<bool, String> {
    match value {
        Json::Number(number) if number.integer() == Some(0) => Ok(false),
        Json::Number(number) if number.integer() == Some(1) => Ok(true),
        Json::Text(text) if ["0", "false"].contains(&text.as_str()) => Ok(false),
        Json::Text(text) if ["1", "true"].contains(&text.as_str()) => Ok(true),
        Json::Number(_) | Json::Text(_) => Err("expected a boolean, or 0 or 1".to_owned()),
        other => Err(expected("a boolean", other)),
    }
}

/// Returns the reason why a value is refused.
fn expected(what: &str, found: &Json<'_>) -> String {
    format!("expected {what}, found {}", type_name(found))
}

fn not_an_event(pointer: &str, reason: &str) -> Rejection {
    Rejection::not_an_event(pointer.to_owned(), reason.to_owned())
}

#[cfg(test)]
mod tests;
