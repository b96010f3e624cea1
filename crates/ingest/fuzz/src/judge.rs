//! The properties of every outcome.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::json::Json;
use domain::{Letter, UnixMillis, User, UserEvent, headers, wire};
use ingest::transport::{BodyPolicy, Policy, RawRequest, SenderPolicy, authenticate, blank_passwords};
use ingest::{Rejection, dead_letter, pipeline};
use serde_json::Value;

use super::sender::PASSWORD_START;

/// The time of arrival of every request.
pub(crate) const NOW: UnixMillis = UnixMillis::from_millis(1_496_739_300_000);

/// A refused request, with its dead letter.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) rejection: Rejection,
    pub(crate) dead_letter: Option<Box<Letter>>,
}

/// Replaces a password in a kept body.
const BLANK: &str = "[redacted]";

/// Returns whether `text` is JSON of any kind.
pub(crate) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// Checks the outcome of a request.
pub(crate) fn outcome(outcome: &Result<UserEvent, Refused>, policy: &BodyPolicy) {
    match outcome {
        Ok(event) => accepted(event),
        Err(refused) => rejected(refused, policy),
    }
}

/// Panics when the sender's password is in any byte that would be written, sent or logged.
pub(crate) fn holds_no_password(outcome: &Result<UserEvent, Refused>) {
    let mut written = vec![format!("{outcome:?}").into_bytes()];
    match outcome {
        Ok(event) => {
            written.push(wire::encode(event));
            written.extend(headers::for_event(event, None).into_iter().map(|(_, value)| value.into_bytes()));
        }
        Err(refused) => {
            written.push(refused.rejection.to_string().into_bytes());
            written.push(format!("{:?}", refused.rejection.problem(false)).into_bytes());
            if let Some(letter) = &refused.dead_letter {
                written.push(letter.body.clone());
                written.extend(letter.headers().into_iter().map(|(_, value)| value));
            }
        }
    }
    let start = PASSWORD_START.as_bytes();
    let found = written.iter().find(|bytes| bytes.windows(start.len()).any(|window| window == start));
    assert!(found.is_none(), "a password came out: {}", String::from_utf8_lossy(found.expect("it was found")));
}

/// Writes an event, reads it, and reads it again as the sender might have written it. The event must stay the same.
fn accepted(event: &UserEvent) {
    assert_eq!(event.received_at, NOW);
    let bytes = wire::encode(event);
    assert_eq!(&wire::decode(&bytes).expect("what was encoded can be decoded"), event);

    let old = event.old.as_ref().map_or_else(|| "null".to_owned(), sent);
    let given = [("new", sent(&event.new)), ("old", old), ("timestamp", json(&event.timestamp))];
    let given = given.map(|(name, text)| (name.to_owned(), text));
    let body = object(given.into_iter().chain(event.extra.clone()));
    let value = Json::read(body.as_bytes(), usize::from(u8::MAX)).expect("an event is JSON");
    assert!(!has_password(&value), "an event has a password");
    let again = accept_again(&body).expect("an event that was accepted is accepted again");
    assert_eq!(again, UserEvent { password_changed: false, ..event.clone() });
}

/// A refusal must have the status of its kind. The kept body must be stable and must not show a password.
fn rejected(refused: &Refused, policy: &BodyPolicy) {
    let Refused { rejection, dead_letter } = refused;
    assert!(rejection.status().is_client_error(), "the pipeline refuses what the sender did");
    assert_eq!(rejection.is_kept(), dead_letter.is_some());
    let Some(letter) = dead_letter else { return };

    let headers: BTreeMap<String, Vec<u8>> = letter.headers().into_iter().collect();
    let kept = Letter::from_record(&letter.body, |name| headers.get(name).map(Vec::as_slice), NOW);
    assert!(kept == **letter, "a dead letter is read as another one");
    let place: Vec<&str> = letter.pointer.split('/').collect();
    let within = place.iter().rev().skip(1).any(|name| name.eq_ignore_ascii_case("password"));
    assert!(!within, "a pointer leads into a password: {}", letter.pointer);

    // Blanking works on JSON tokens, so a body that is JSON except for its UTF-8 or its depth is blanked and not cut.
    match serde_json::from_str::<Value>(&String::from_utf8_lossy(&letter.body)) {
        Ok(body) => assert!(passwords(&body).iter().all(|value| *value == BLANK), "a password is kept"),
        Err(_) if policy.keys.is_empty() && !is_json(&letter.body) => {
            let lower = letter.body.to_ascii_lowercase();
            assert!(!lower.windows(8).any(|word| word == b"password"), "what may be a password is kept");
        }
        Err(_) => {}
    }
    // A replay may pass, or be refused for another reason: the fault may have been in a part that is blanked, or in an
    // iv that is too long to be kept.
    if let Err(again) = pipeline::accept_again(&kept, policy, NOW) {
        assert!(again.is_kept(), "a replay that is refused leaves the letter");
    }
    assert_eq!(blank_passwords(&letter.body), letter.body, "blanking twice is not blanking once");
}

/// Runs all stages of the service on a request.
pub(crate) fn accept(head: &RawRequest, body: &[u8], policy: &Policy) -> Result<UserEvent, Refused> {
    let sender = authenticate(head, &policy.sender);
    let sender = sender.map_err(|rejection| Refused { rejection, dead_letter: None })?;
    let request = sender.sent(Bytes::copy_from_slice(body));
    pipeline::accept(&request, &policy.body, NOW).map_err(|rejection| {
        let dead_letter = dead_letter::of(&request, &rejection, NOW).map(Box::new);
        Refused { rejection, dead_letter }
    })
}

fn accept_again(body: &str) -> Result<UserEvent, Refused> {
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    let head = RawRequest { query: String::new(), peer, forwarded_for: Vec::new() };
    accept(&head, body.as_bytes(), &Policy { sender: SenderPolicy::default(), body: BodyPolicy::default() })
}

/// Returns the user's object as the sender might have written it, with every digit.
fn sent(user: &User) -> String {
    let known = user.fields().into_iter().filter(|(name, _)| !user.extra.contains_key(*name));
    object(known.map(|(name, field)| (name.to_owned(), json(&field))).chain(user.extra.clone()))
}

fn object(members: impl Iterator<Item = (String, String)>) -> String {
    let members: Vec<String> = members.map(|(name, text)| format!("{}:{text}", json(&name))).collect();
    format!("{{{}}}", members.join(","))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts and fields are JSON")
}

/// Returns whether `value` contains a member of that name at any depth.
fn has_password(value: &Json<'_>) -> bool {
    match value {
        Json::Object(members) => {
            members.iter().any(|(name, value)| name.as_str().eq_ignore_ascii_case("password") || has_password(value))
        }
        Json::Array(items) => items.iter().any(has_password),
        Json::Null | Json::Boolean(_) | Json::Number(_) | Json::Text(_) => false,
    }
}

/// Returns the values of all members with the name of a password.
fn passwords(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match name.eq_ignore_ascii_case("password") {
                true => vec![value],
                false => passwords(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(passwords).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}
