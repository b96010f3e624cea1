//! Stage 3: checks that the clear text is a JSON object, and removes the password.

use domain::json::{Json, Text};

use super::decrypt::Plaintext;
use super::encoding::{foreign, without_mark};
use super::json::{self, type_name};
use super::password::{self, Seen, blank_text, is_password_name};
use crate::Rejection;

/// The deepest nesting of a body. The vendor's bodies nest three levels; unknown members may nest further.
const DEPTH_MAX: usize = 32;
/// The most bytes by which all blanked texts of a body may grow together. Beyond it, such a text is blanked as a whole.
/// This bounds the size of an event by that of its body.
const BLANKED_GROWTH_MAX: usize = 128;

/// A webhook's members, without any password.
#[derive(Debug)]
pub(crate) struct Delivery<'p> {
    members: Members<'p>,
    password_changed: bool,
}

/// The members of an object, as they were sent.
pub(crate) type Members<'p> = Vec<(Text<'p>, Json<'p>)>;

impl<'p> Delivery<'p> {
    /// Returns whether the new user has a newly entered password.
    pub(crate) fn password_changed(&self) -> bool {
        self.password_changed
    }

    pub(crate) fn into_members(self) -> Members<'p> {
        self.members
    }
}

/// Returns the members of the webhook.
///
/// # Errors
/// [`Rejection::NotAnEvent`] when the text is not a JSON object, has a duplicate key, or nests too deep.
pub(crate) fn parse<'p>(plaintext: &'p Plaintext<'_>) -> Result<Delivery<'p>, Rejection> {
    let text = without_mark(plaintext.bytes());
    let value = json::read(text, DEPTH_MAX).map_err(|fault| match foreign(text) {
        Some(encoding) => {
            let reason = format!("is JSON in {encoding}, and JSON must be UTF-8 (RFC 8259)");
            Rejection::not_an_event(String::new(), reason)
        }
        None => Rejection::not_an_event(fault.pointer, fault.reason),
    })?;
    let Json::Object(mut members) = value else {
        let reason = format!("expected an object, found {}", type_name(&value));
        return Err(Rejection::not_an_event(String::new(), reason));
    };
    let password = member(&members, "new").and_then(|new| match new {
        Json::Object(new) => member(new, "password"),
        _ => None,
    });
    let password_changed = password.is_some_and(|password| *password != Json::Null);
    Blanking { growth_left: BLANKED_GROWTH_MAX }.drop_passwords(&mut members);
    Ok(Delivery { members, password_changed })
}

fn member<'m, 'p>(members: &'m Members<'p>, name: &str) -> Option<&'m Json<'p>> {
    members.iter().find(|(known, _)| known.as_str() == name).map(|(_, value)| value)
}

/// Returns whether an object is a pair of the word and its value.
fn is_pair(members: &Members<'_>) -> bool {
    let mut seen = Seen::default();
    for (name, value) in members {
        seen.name(name.as_str());
        if let Json::Text(text) = value {
            seen.value(text.as_str());
        }
    }
    seen.is_pair()
}

struct Blanking {
    growth_left: usize,
}

impl Blanking {
    /// Removes every member with the name of a password, at any depth, also from unknown objects. In texts that are
    /// JSON themselves the password is blanked. If blanking makes the names of members equal, the first member stays.
    fn drop_passwords(&mut self, members: &mut Members<'_>) {
        members.retain(|(name, _)| !is_password_name(name.as_str()));
        let mut blanked = false;
        for (name, value) in &mut *members {
            blanked |= self.blank(name);
            self.drop_nested(value);
        }
        if blanked {
            let mut names = std::collections::BTreeSet::new();
            members.retain(|(name, _)| names.insert(name.as_str().to_owned()));
        }
    }

    fn drop_nested(&mut self, value: &mut Json<'_>) {
        match value {
            Json::Object(members) if is_pair(members) => {
                *value = Json::Text(Text::new(password::BLANK_TEXT.to_owned()))
            }
            Json::Object(members) => self.drop_passwords(members),
            Json::Array(items) => items.iter_mut().for_each(|item| self.drop_nested(item)),
            Json::Text(text) => {
                self.blank(text);
            }
            Json::Null | Json::Boolean(_) | Json::Number(_) => {}
        }
    }

    /// Blanks the passwords in a text; returns whether there were any.
    fn blank(&mut self, text: &mut Text<'_>) -> bool {
        let Some(blanked) = blank_text(text.as_str()) else { return false };
        let blanked = Text::new(blanked);
        let growth = blanked.token_len().saturating_sub(text.token_len());
        *text = match self.growth_left.checked_sub(growth) {
            Some(left) => {
                self.growth_left = left;
                blanked
            }
            None => Text::new(password::BLANK_TEXT.to_owned()),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Result<Delivery<'static>, Rejection> {
        parse(Box::leak(Box::new(Plaintext::received(body.to_owned().leak().as_bytes()))))
    }

    fn written(delivery: Delivery<'_>) -> String {
        let mut text = String::new();
        Json::Object(delivery.into_members()).write(&mut text);
        text
    }

    #[test]
    fn names_that_are_one_once_they_are_blanked_are_one_member() {
        let body = r#"{"new":{"{\"password\":\"hunter2\"}":1,"{\"password\":\"hunter3\"}":2,"a":3}}"#;
        assert_eq!(written(parsed(body).unwrap()), r#"{"new":{"{\"password\":\"[redacted]\"}":1,"a":3}}"#);
    }

    #[test]
    fn texts_that_grow_too_much_are_blanked_as_a_whole() {
        let text = r#""{\"password\":1}""#;
        let body = format!(r#"{{"log":[{}]}}"#, [text; 50].join(","));
        let written = written(parsed(&body).unwrap());
        assert!(written.len() <= body.len() + BLANKED_GROWTH_MAX, "{written}");
        assert!(
            written.starts_with(r#"{"log":["{\"password\":\"[redacted]\"}","#)
                && written.ends_with(r#","[redacted]"]}"#)
        );
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
        assert_eq!(written(delivery), r#"{"new":{"deep":[{}]},"old":{}}"#);
        let pair = parsed(r#"{"new":{"userId":1,"name":"password"},"form":[{"name":"password","value":"x"}]}"#);
        let expected = r#"{"new":{"userId":1,"name":"password"},"form":["[redacted]"]}"#;
        assert_eq!(written(pair.unwrap()), expected);
        let nested =
            parsed(r#"{"new":{},"log":["{\"password\":\"hunter2\"}"],"{\"password\":\"hunter2\"}":1}"#).unwrap();
        let expected = r#"{"new":{},"log":["{\"password\":\"[redacted]\"}"],"{\"password\":\"[redacted]\"}":1}"#;
        assert_eq!(written(nested), expected);
        assert!(!parsed(r#"{"new":{"password":null}}"#).unwrap().password_changed());
        assert!(!parsed(r#"{"old":{"password":"x"},"new":{}}"#).unwrap().password_changed());
    }
}
