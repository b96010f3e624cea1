//! Stage 3: whether the clear text is a JSON object; the password ends here.

use serde_json::{Map, Value};

use super::decrypt::Plaintext;
use super::json::{self, type_name};
use super::password::{blank_text, is_password_name};
use crate::Rejection;

/// How deep a body may nest: the vendor's nests three levels; unknown members may bring some of their own.
const DEPTH_MAX: usize = 32;

/// A webhook's members, without any password.
#[derive(Debug)]
pub(crate) struct Delivery {
    members: Map<String, Value>,
    password_changed: bool,
}

impl Delivery {
    /// Whether the new user came with a newly entered password.
    pub(crate) fn password_changed(&self) -> bool {
        self.password_changed
    }

    pub(crate) fn into_members(self) -> Map<String, Value> {
        self.members
    }
}

/// Returns the members of the webhook.
///
/// # Errors
/// [`Rejection::NotAnEvent`] when the text is no JSON object, has a key twice, or nests too deep.
pub(crate) fn parse(plaintext: &Plaintext) -> Result<Delivery, Rejection> {
    let value = json::read(plaintext.bytes(), DEPTH_MAX)
        .map_err(|fault| Rejection::NotAnEvent { pointer: fault.pointer, reason: fault.reason })?;
    let Value::Object(mut members) = value else {
        let reason = format!("expected an object, found {}", type_name(&value));
        return Err(Rejection::NotAnEvent { pointer: String::new(), reason });
    };
    let password = members.get("new").and_then(|new| new.get("password"));
    let password_changed = password.is_some_and(|password| !password.is_null());
    drop_passwords(&mut members);
    Ok(Delivery { members, password_changed })
}

/// Drops every member that is named a password, however deep: an unknown object that holds one is no better place for
/// it. In texts that are JSON themselves it is blanked.
fn drop_passwords(members: &mut Map<String, Value>) {
    members.retain(|name, _| !is_password_name(name));
    let telling: Vec<(String, String)> =
        members.keys().filter_map(|name| Some((name.clone(), blank_text(name)?))).collect();
    for (name, blanked) in telling {
        if let Some(value) = members.remove(&name) {
            members.insert(blanked, value);
        }
    }
    members.values_mut().for_each(drop_nested);
}

fn drop_nested(value: &mut Value) {
    match value {
        Value::Object(members) => drop_passwords(members),
        Value::Array(items) => items.iter_mut().for_each(drop_nested),
        Value::String(text) => {
            if let Some(blanked) = blank_text(text) {
                *text = blanked;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Result<Delivery, Rejection> {
        parse(&Plaintext::for_tests(body))
    }

    #[test]
    fn only_objects_are_deliveries() {
        for (body, reason) in [
            ("[]", "expected an object, found an array"),
            ("7", "expected an object, found a number"),
            ("null", "expected an object, found null"),
            (r#""{}""#, "expected an object, found a string"),
        ] {
            let expected = Rejection::NotAnEvent { pointer: String::new(), reason: reason.to_owned() };
            assert_eq!(parsed(body).unwrap_err(), expected, "{body}");
        }
        assert!(matches!(parsed(r#"{"a":1,"a":1}"#), Err(Rejection::NotAnEvent { pointer, .. }) if pointer == "/a"));
    }

    #[test]
    fn the_password_becomes_a_flag() {
        let delivery =
            parsed(r#"{"new":{"password":"hunter2","deep":[{"Password":1}]},"old":{"PASSWORD":"x"}}"#).unwrap();
        assert!(delivery.password_changed());
        assert_eq!(Value::Object(delivery.into_members()).to_string(), r#"{"new":{"deep":[{}]},"old":{}}"#);
        let nested =
            parsed(r#"{"new":{},"log":["{\"password\":\"hunter2\"}"],"{\"password\":\"hunter2\"}":1}"#).unwrap();
        let expected = r#"{"log":["{\"password\":\"[redacted]\"}"],"new":{},"{\"password\":\"[redacted]\"}":1}"#;
        assert_eq!(Value::Object(nested.into_members()).to_string(), expected);
        assert!(!parsed(r#"{"new":{"password":null}}"#).unwrap().password_changed());
        assert!(!parsed(r#"{"old":{"password":"x"},"new":{}}"#).unwrap().password_changed());
    }
}
