//! Stage 4: checks that the members are a user event. The spelling of a value may vary, its type may not.
//!
//! The sender is a PHP system. An integer may come as a decimal string or with a zero fraction, a boolean as 0 or 1, a
//! numeric text as a number, and a list as an object with numeric keys. The identifier is `userId` in the vendor's
//! samples and `userid` in its table. Text values are open sets, and unknown members are kept as sent.

use std::collections::BTreeMap;

use domain::json::{Json, Number};
use domain::{Facts, FactsError, FieldSource, SAFE_INTEGER_MAX, UnixMillis, User, UserEvent, UserId};

use crate::Rejection;
use crate::transport::{self, Delivery, token, type_name};

/// The two spellings of the identifier.
const IDENTIFIERS: [&str; 2] = ["userId", "userid"];

/// Returns the event received at `now`.
///
/// # Errors
/// [`Rejection::NotAnEvent`] with the place of the first fault.
pub(crate) fn validate(delivery: Delivery<'_>, now: UnixMillis) -> Result<UserEvent, Rejection> {
    let password_changed = delivery.password_changed();
    let mut members = Members { path: "", members: delivery.into_members() };
    let new = members.required("new")?;
    let new = user("/new", new)?;
    let old = members.take("old").map(|old| user("/old", old)).transpose()?;
    let timestamp = match members.required("timestamp")? {
        Json::Text(timestamp) => timestamp.into_string(),
        other => return Err(expected("/timestamp", "a string", &other)),
    };
    let extra = members.extra()?;
    let facts = Facts { old, new, timestamp, received_at: now, password_changed, extra, omitted: Vec::new() };
    UserEvent::new(facts).map_err(|error| match error {
        FactsError::Identity { .. } => not_an_event("/old/userId", "is another user than /new/userId"),
        FactsError::Timestamp(error) => not_an_event("/timestamp", &format!("is {error}")),
    })
}

/// Returns the number of the new user's amounts that have a fraction. No other field leaves a member of its name in
/// `extra`.
pub(crate) fn fractional_amounts(event: &UserEvent) -> usize {
    event.new.extra.keys().filter(|name| User::is_field(name)).count()
}

fn user(path: &'static str, value: Json<'_>) -> Result<User, Rejection> {
    match value {
        Json::Object(members) => User::from_fields(&mut Members { path, members }),
        other => Err(expected(path, "an object", &other)),
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

    fn required(&mut self, name: &str) -> Result<Json<'p>, Rejection> {
        let found = self.find(name).is_some();
        self.take(name).ok_or_else(|| not_an_event(&self.at(name), if found { "is null" } else { "is missing" }))
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
            let at = self.at(name);
            let number = integer(&at, &value)?;
            let read = UserId::new(number).map_err(|_| not_an_event(&at, "is out of range"))?;
            if id.replace(read).is_some_and(|other| other != read) {
                return Err(not_an_event(&at, "differs from userId"));
            }
        }
        id.ok_or_else(|| not_an_event(&self.at(IDENTIFIERS[0]), "is missing"))
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>, Rejection> {
        self.take(name)
            .map(|value| text(value).map_err(|value| expected(&self.at(name), "a string", &value)))
            .transpose()
    }

    fn integer(&mut self, name: &'static str) -> Result<Option<i64>, Rejection> {
        self.take(name).map(|value| integer(&self.at(name), &value)).transpose()
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
        self.take(name).map(|value| boolean(&self.at(name), &value)).transpose()
    }

    /// PHP writes a list whose keys are not 0, 1, 2 … as an object with those keys.
    fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Rejection> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let items: Vec<(String, Json<'_>)> = match value {
            Json::Array(items) => {
                items.into_iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
            }
            Json::Object(members) if members.iter().all(|(key, _)| is_digits(key.as_str())) => {
                let mut items: Vec<_> = members.into_iter().map(|(key, item)| (key.into_string(), item)).collect();
                items.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
                items
            }
            other => return Err(expected(&self.at(name), "an array", &other)),
        };
        let item = |(key, item)| {
            short_text(item).map_err(|item| expected(&format!("{}/{key}", self.at(name)), "a string", &item))
        };
        items.into_iter().map(item).collect::<Result<_, _>>().map(Some)
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

fn integer(at: &str, value: &Json<'_>) -> Result<i64, Rejection> {
    let number = match value {
        Json::Number(number) if !number.is_integer() => return Err(not_an_event(at, "expected an integer")),
        Json::Number(number) => number.integer().and_then(|integer| integer.try_into().ok()),
        Json::Text(text) => {
            let text = text.as_str();
            if !is_digits(text.strip_prefix('-').unwrap_or(text)) {
                return Err(not_an_event(at, "expected an integer, found a string that is not an integer"));
            }
            text.parse().ok()
        }
        other => return Err(expected(at, "an integer", other)),
    };
    number
        .filter(|number| (-SAFE_INTEGER_MAX..=SAFE_INTEGER_MAX).contains(number))
        .ok_or_else(|| not_an_event(at, "is out of range: an integer has 53 bits at most"))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn boolean(at: &str, value: &Json<'_>) -> Result<bool, Rejection> {
    match value {
        Json::Boolean(boolean) => Ok(*boolean),
        Json::Number(number) if number.integer() == Some(0) => Ok(false),
        Json::Number(number) if number.integer() == Some(1) => Ok(true),
        Json::Text(text) if ["0", "false"].contains(&text.as_str()) => Ok(false),
        Json::Text(text) if ["1", "true"].contains(&text.as_str()) => Ok(true),
        Json::Number(_) | Json::Text(_) => Err(not_an_event(at, "expected a boolean, or 0 or 1")),
        other => Err(expected(at, "a boolean", other)),
    }
}

fn expected(at: &str, what: &str, found: &Json<'_>) -> Rejection {
    not_an_event(at, &format!("expected {what}, found {}", type_name(found)))
}

fn not_an_event(pointer: &str, reason: &str) -> Rejection {
    Rejection::NotAnEvent { pointer: pointer.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Plaintext, parse};
    use domain::EventType;
    use proptest::prelude::*;
    use serde_json::json;

    const NOW: UnixMillis = UnixMillis::from_millis(1_496_739_300_000);

    fn read(body: &str) -> Result<UserEvent, Rejection> {
        parse(&Plaintext::for_tests(body)).and_then(|delivery| validate(delivery, NOW))
    }

    fn created(new: &str) -> Result<UserEvent, Rejection> {
        read(&format!(r#"{{"old":null,"new":{new},"timestamp":"2017-06-06T10:53:43+02:00"}}"#))
    }

    #[test]
    fn the_vendors_samples_are_events() {
        let created = read(include_str!("../../../../schemas/golden/v1/user-created.json")).unwrap();
        assert_eq!((created.kind, created.user_id.get()), (EventType::Created, 180));
        let changed = read(include_str!("../../../../schemas/golden/v1/user-changed.json")).unwrap();
        assert_eq!(changed.kind, EventType::Changed);
        assert_eq!((changed.new.redistribution, changed.new.contact_phone.as_deref()), (Some(1), Some("")));
        assert!(changed.new.extra.is_empty() && changed.extra.is_empty());
        assert_eq!(changed.received_at, NOW);
    }

    #[test]
    fn values_are_read_as_php_writes_them() {
        let plain =
            created(r#"{"userId":180,"privGroup":4,"isAgent":true,"extension":"189","messageLists":["a","b"]}"#)
                .unwrap();
        let table = [
            r#"{"userid":180,"privGroup":"4","isAgent":1,"extension":189,"messageLists":{"0":"a","1":"b"}}"#,
            r#"{"userId":"180","privGroup":4,"isAgent":"1","extension":"189","messageLists":{"2":"a","10":"b"}}"#,
            r#"{"userid":"180","userId":180,"privGroup":"4","isAgent":"true","extension":"189","messageLists":["a","b"],
                "email":null}"#,
        ];
        for new in table {
            let read = created(new).unwrap();
            assert_eq!((&read.new, read.event_id), (&plain.new, plain.event_id), "{new}");
        }
    }

    #[test]
    fn unknown_members_and_values_are_kept() {
        let event = read(
            r#"{"new":{"userId":1,"state":"on-leave","skills":[{"b":1,"a":2.50}]},"source":"test",
                "timestamp":"2017-06-06T10:53:43Z"}"#,
        )
        .unwrap();
        assert_eq!(event.new.state.as_deref(), Some("on-leave"));
        assert_eq!(event.new.extra["skills"], r#"[{"b":1,"a":2.50}]"#);
        assert_eq!(event.extra["source"], r#""test""#);
    }

    #[test]
    fn amounts_with_a_fraction_are_counted() {
        let count = |new| fractional_amounts(&created(new).unwrap());
        assert_eq!(count(r#"{"userId":1,"hourly":1.0,"monthly":2e3,"x":1.5}"#), 0);
        assert_eq!(count(r#"{"userId":1,"hourly":1.5,"monthly":1e-9}"#), 2);
    }

    #[test]
    fn a_body_that_is_not_an_event_is_refused_with_the_place() {
        let user = json!({"userId": 1});
        let at = "2017-06-06T10:53:43Z";
        let new =
            |member: &str, value: serde_json::Value| json!({"new": {"userId": 1, member: value}, "timestamp": at});
        let table = [
            (json!({}), "/new"),
            (json!({"new": null, "timestamp": at}), "/new"),
            (json!({"new": [], "timestamp": at}), "/new"),
            (json!({"new": {}, "timestamp": at}), "/new/userId"),
            (json!({"new": {"userId": null}, "timestamp": at}), "/new/userId"),
            (json!({"new": {"userId": "x"}, "timestamp": at}), "/new/userId"),
            (json!({"new": {"userid": -1}, "timestamp": at}), "/new/userid"),
            (json!({"new": {"userId": 1.5}, "timestamp": at}), "/new/userId"),
            (json!({"new": {"userId": 9_007_199_254_740_992_i64}, "timestamp": at}), "/new/userId"),
            (json!({"new": {"userId": "99999999999999999999"}, "timestamp": at}), "/new/userId"),
            (json!({"new": {"userId": 1, "userid": 2}, "timestamp": at}), "/new/userid"),
            (json!({"new": user, "old": {"userId": 2}, "timestamp": at}), "/old/userId"),
            (json!({"new": user, "old": "x", "timestamp": at}), "/old"),
            (json!({"new": user}), "/timestamp"),
            (json!({"new": user, "timestamp": 1_496_739_223}), "/timestamp"),
            (json!({"new": user, "timestamp": "2017-06-06T10:53:43"}), "/timestamp"),
            (json!({"new": user, "timestamp": "yesterday"}), "/timestamp"),
            (new("name", json!({})), "/new/name"),
            (new("name", json!(true)), "/new/name"),
            (new("hourly", json!("")), "/new/hourly"),
            (new("hourly", json!("1e3")), "/new/hourly"),
            (new("hourly", json!(1e300)), "/new/hourly"),
            (new("isAgent", json!(2)), "/new/isAgent"),
            (new("isAgent", json!([])), "/new/isAgent"),
            (new("messageLists", json!("technical")), "/new/messageLists"),
            (new("messageLists", json!(["a", {}])), "/new/messageLists/1"),
            (new("messageLists", json!({"x": "a"})), "/new/messageLists"),
        ];
        for (body, place) in table {
            match read(&body.to_string()) {
                Err(Rejection::NotAnEvent { pointer, reason }) => {
                    assert_eq!(pointer, place, "{body}");
                    assert!(!reason.is_empty() && !reason.contains("hunter2"));
                }
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    proptest! {
        /// Every spelling of a value gives the same event.
        #[test]
        fn spelling_does_not_matter(
            id in 0..=SAFE_INTEGER_MAX,
            wage in -1_000_000..1_000_000_i64,
            agent: bool,
            digits in 0..1_000_000_u32,
        ) {
            let plain = json!({"userId": id, "monthly": wage, "isAgent": agent, "extension": digits.to_string()});
            let (id, wage, agent) = (id.to_string(), wage.to_string(), i32::from(agent));
            let spelled = json!({"userid": id, "monthly": wage, "isAgent": agent, "extension": digits});
            let (plain, spelled) = (created(&plain.to_string()).unwrap(), created(&spelled.to_string()).unwrap());
            prop_assert_eq!(plain, spelled);
        }

        #[test]
        fn arbitrary_text_is_an_error_or_an_event(body in "[\\{\\}\\[\\]:,\"a-z0-9 ]{0,60}") {
            if let Ok(event) = read(&body) {
                prop_assert_eq!(event.received_at, NOW);
            }
        }
    }
}
