//! Stage 4: whether the members are a user event; lenient in how a value is written, strict in what it is.
//!
//! The sender is a PHP system: an integer may come as a decimal string, a boolean as 0 or 1, a text that is all digits as a
//! number, a list as an object with numbers for keys. The identifier is `userId` in the vendor's samples and `userid` in its
//! table. Text values are open sets, and members that nobody knows are kept.

use std::collections::BTreeMap;

use domain::{Facts, FactsError, SAFE_INTEGER_MAX, UnixMillis, User, UserEvent, UserId};
use serde_json::{Map, Value};

use crate::Rejection;
use crate::transport::{Delivery, token, type_name};

/// The two spellings of the identifier.
const IDENTIFIERS: [&str; 2] = ["userId", "userid"];

/// Returns the event, received at `now`.
///
/// # Errors
/// [`Rejection::NotAnEvent`] with the first place that is at fault.
pub(crate) fn validate(delivery: Delivery, now: UnixMillis) -> Result<UserEvent, Rejection> {
    let password_changed = delivery.password_changed();
    let mut members = Members { path: String::new(), members: delivery.into_members() };
    let new = members.required("new")?;
    let new = user("/new", new)?;
    let old = members.take("old").map(|old| user("/old", old)).transpose()?;
    let timestamp = match members.required("timestamp")? {
        Value::String(timestamp) => timestamp,
        other => return Err(expected("/timestamp", "a string", &other)),
    };
    let facts = Facts { old, new, timestamp, received_at: now, password_changed, extra: members.rest() };
    UserEvent::new(facts).map_err(|error| match error {
        FactsError::Identity { .. } => not_an_event("/old/userId", "is another user than /new/userId"),
        FactsError::Timestamp(_) => not_an_event("/timestamp", "expected an ISO 8601 date and time with an offset"),
    })
}

fn user(path: &str, value: Value) -> Result<User, Rejection> {
    let Value::Object(members) = value else {
        return Err(expected(path, "an object", &value));
    };
    let mut members = Members { path: path.to_owned(), members };
    let user_id = members.user_id()?;
    Ok(User {
        user_id,
        contact_phone: members.text("contactPhone")?,
        email: members.text("email")?,
        extension: members.text("extension")?,
        hourly: members.integer("hourly")?,
        is_agent: members.boolean("isAgent")?,
        message_lists: members.texts("messageLists")?,
        mobile_phone: members.text("mobilePhone")?,
        mobile_project_id: members.integer("mobileProjectId")?,
        monthly: members.integer("monthly")?,
        name: members.text("name")?,
        outbound_phone: members.text("outboundPhone")?,
        priv_group: members.integer("privGroup")?,
        redistribution: members.integer("redistribution")?,
        register_transport: members.text("registerTransport")?,
        sample_rate: members.text("sampleRate")?,
        state: members.text("state")?,
        username: members.text("username")?,
        extra: members.rest(),
    })
}

/// The members of an object that have not been read yet, and the pointer of the object.
struct Members {
    path: String,
    members: Map<String, Value>,
}

impl Members {
    /// Takes a member; null is as good as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    fn required(&mut self, name: &str) -> Result<Value, Rejection> {
        let at = self.at(name);
        let value = self.members.remove(name).ok_or_else(|| not_an_event(&at, "is missing"))?;
        if value.is_null() { Err(not_an_event(&at, "is null")) } else { Ok(value) }
    }

    fn user_id(&mut self) -> Result<UserId, Rejection> {
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

    fn text(&mut self, name: &str) -> Result<Option<String>, Rejection> {
        self.take(name).map(|value| text(&self.at(name), value)).transpose()
    }

    fn integer(&mut self, name: &str) -> Result<Option<i64>, Rejection> {
        self.take(name).map(|value| integer(&self.at(name), &value)).transpose()
    }

    fn boolean(&mut self, name: &str) -> Result<Option<bool>, Rejection> {
        self.take(name).map(|value| boolean(&self.at(name), &value)).transpose()
    }

    /// PHP writes a list whose keys are not 0, 1, 2 … as an object with those keys.
    fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Rejection> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let at = self.at(name);
        let items: Vec<(String, Value)> = match value {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
            }
            Value::Object(members) if members.keys().all(|key| key.bytes().all(|byte| byte.is_ascii_digit())) => {
                let mut items: Vec<_> = members.into_iter().collect();
                items.sort_by_key(|(key, _)| (key.len(), key.clone()));
                items
            }
            other => return Err(expected(&at, "an array", &other)),
        };
        items.into_iter().map(|(key, item)| text(&format!("{at}/{key}"), item)).collect::<Result<_, _>>().map(Some)
    }

    /// Returns what nobody asked for: name to canonical JSON text (RFC 8785).
    fn rest(self) -> BTreeMap<String, String> {
        let canonical = |value: &Value| {
            serde_json_canonicalizer::to_string(value)
                .expect("a JSON value without non-finite numbers has a canonical form")
        };
        self.members.iter().map(|(name, value)| (name.clone(), canonical(value))).collect()
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{}", self.path, token(name))
    }
}

fn text(at: &str, value: Value) -> Result<String, Rejection> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        other => Err(expected(at, "a string", &other)),
    }
}

fn integer(at: &str, value: &Value) -> Result<i64, Rejection> {
    let number = match value {
        Value::Number(number) if number.is_f64() => return Err(not_an_event(at, "expected an integer")),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(not_an_event(at, "expected an integer, found a string that is none"));
            }
            text.parse().ok()
        }
        other => return Err(expected(at, "an integer", other)),
    };
    number
        .filter(|number| (-SAFE_INTEGER_MAX..=SAFE_INTEGER_MAX).contains(number))
        .ok_or_else(|| not_an_event(at, "is out of range: an integer has 53 bits at most"))
}

fn boolean(at: &str, value: &Value) -> Result<bool, Rejection> {
    match value {
        Value::Bool(boolean) => Ok(*boolean),
        Value::Number(number) if number.as_i64() == Some(0) => Ok(false),
        Value::Number(number) if number.as_i64() == Some(1) => Ok(true),
        Value::String(text) if text == "0" || text == "false" => Ok(false),
        Value::String(text) if text == "1" || text == "true" => Ok(true),
        Value::Number(_) | Value::String(_) => Err(not_an_event(at, "expected a boolean, or 0 or 1")),
        other => Err(expected(at, "a boolean", other)),
    }
}

fn expected(at: &str, what: &str, found: &Value) -> Rejection {
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
            r#"{"userId":"180","privGroup":4,"isAgent":"1","extension":"189","messageLists":{"2":"a","10":"b"},"email":null}"#,
            r#"{"userid":"180","userId":180,"privGroup":"4","isAgent":"true","extension":"189","messageLists":["a","b"]}"#,
        ];
        for new in table {
            let read = created(new).unwrap();
            assert_eq!((&read.new, read.event_id), (&plain.new, plain.event_id), "{new}");
        }
    }

    #[test]
    fn unknown_members_and_values_are_kept() {
        let event = read(
            r#"{"new":{"userId":1,"state":"on-leave","skills":[{"b":1,"a":2.50}]},"source":"test","timestamp":"2017-06-06T10:53:43Z"}"#,
        )
        .unwrap();
        assert_eq!(event.new.state.as_deref(), Some("on-leave"));
        assert_eq!(event.new.extra["skills"], r#"[{"a":2.5,"b":1}]"#);
        assert_eq!(event.extra["source"], r#""test""#);
    }

    #[test]
    fn what_is_no_event_is_refused_with_its_place() {
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
        /// However a value is written, it is read as the same event.
        #[test]
        fn spelling_does_not_matter(id in 0..=SAFE_INTEGER_MAX, wage in -1_000_000..1_000_000_i64, agent: bool, digits in 0..1_000_000_u32) {
            let plain = json!({"userId": id, "monthly": wage, "isAgent": agent, "extension": digits.to_string()});
            let spelled = json!({"userid": id.to_string(), "monthly": wage.to_string(), "isAgent": i32::from(agent), "extension": digits});
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
