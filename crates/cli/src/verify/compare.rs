//! Compares the expected users with the log's newest records, and with a projector's answers.

use std::collections::BTreeMap;

use domain::{User, UserId, wire};
use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::{Map, Value};
use upkeep::verify::{Found, Winner};

use crate::expect::{Expected, ExpectedState};
use crate::fetch::ProjectorClient;

/// The number of concurrent queries to a projector.
pub(super) const QUESTIONS: usize = 16;

/// Makes the expected users as their newest events were written: without the fields that those omit. The identifier of
/// an event depends on the fields, so that of the expected event is not known then.
pub(super) fn leave_out_omitted(expected: &mut BTreeMap<UserId, Expected>, winners: &BTreeMap<UserId, Winner>) {
    for Expected { user_id, state } in expected.values_mut() {
        let ExpectedState::Present { event_id, user, .. } = state else { continue };
        let winner = winners.get(user_id).and_then(|winner| winner.event.as_ref());
        let Some(event) = winner.and_then(|(_, value)| wire::decode(value).ok()) else { continue };
        if event.omitted.is_empty() {
            continue;
        }
        *event_id = event.event_id;
        let is_omitted = |name: &str| event.omitted.iter().any(|omitted| omitted.eq_ignore_ascii_case(name));
        user.retain(|name, _| User::is_field(name) || !is_omitted(name));
        user.iter_mut().filter(|(name, _)| is_omitted(name)).for_each(|(_, value)| *value = Value::Null);
    }
}

/// Compares the newest record of each expected user. Other users are ignored.
pub(super) fn with_log(
    expected: &BTreeMap<UserId, Expected>,
    winners: &BTreeMap<UserId, Winner>,
    found: &mut Found<String>,
) {
    for expected in expected.values() {
        note("log", expected.user_id, log_difference(&expected.state, winners.get(&expected.user_id)), found);
    }
}

/// Queries the projector for each expected user.
pub(super) async fn with_projector(
    expected: &BTreeMap<UserId, Expected>,
    projector: &ProjectorClient,
    found: &mut Found<String>,
) -> anyhow::Result<()> {
    let questions = expected.values().map(async |expected| {
        let (status, user) = projector.get(&format!("/users/{}", expected.user_id)).await?;
        anyhow::Ok((expected.user_id, answer_difference(&expected.state, status, user)))
    });
    let mut answers = futures_util::stream::iter(questions).buffer_unordered(QUESTIONS);
    while let Some(answer) = answers.next().await {
        let (user_id, difference) = answer?;
        note("projector", user_id, difference, found);
    }
    Ok(())
}

fn note(place: &str, user_id: UserId, difference: Option<String>, found: &mut Found<String>) {
    if let Some(difference) = difference {
        found.push(format!("{place}: user {user_id} {difference}"));
    }
}

fn log_difference(expected: &ExpectedState, winner: Option<&Winner>) -> Option<String> {
    match (expected, winner.map(|winner| winner.event.as_ref())) {
        (_, None) => Some("is missing".to_owned()),
        (ExpectedState::Forgotten, Some(None)) => None,
        (ExpectedState::Forgotten, Some(Some(_))) => Some("is there, and was to be forgotten".to_owned()),
        (ExpectedState::Present { .. }, Some(None)) => Some("is forgotten".to_owned()),
        (ExpectedState::Present { event_id, user, .. }, Some(Some((found, value)))) => {
            if found != event_id {
                return Some(format!("is in the state of event {found}, not {event_id}"));
            }
            match wire::decode(value) {
                Ok(event) => fields_difference(user, &event.new.to_json()),
                Err(error) => Some(format!("cannot be read: {error}")),
            }
        }
    }
}

fn answer_difference(expected: &ExpectedState, status: StatusCode, answer: Value) -> Option<String> {
    match (expected, status, answer) {
        (ExpectedState::Forgotten, StatusCode::GONE | StatusCode::NOT_FOUND, _) => None,
        (ExpectedState::Present { event_id, user, .. }, StatusCode::OK, Value::Object(mut answer)) => {
            let meta = answer.remove("_meta").unwrap_or_default();
            if meta["eventId"] != event_id.to_string() {
                return Some(format!("is in the state of event {}, not {event_id}", meta["eventId"]));
            }
            fields_difference(user, &answer)
        }
        (_, status, _) => Some(format!("is answered {status}")),
    }
}

/// Returns which fields of two users differ.
pub(super) fn fields_difference(expected: &Map<String, Value>, found: &Map<String, Value>) -> Option<String> {
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let differ: Vec<&str> =
        names.into_iter().filter(|name| expected.get(*name) != found.get(*name)).map(String::as_str).collect();
    (!differ.is_empty()).then(|| format!("differs in {}", differ.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::roll::Roll;
    use domain::{Facts, UnixMillis, UserEvent};
    use serde_json::json;

    fn present() -> ExpectedState {
        let Value::Object(user) = json!({"userId": 1, "name": "a"}) else { unreachable!() };
        let event_id = "7f3c1a52-0000-8000-8000-000000000000".parse().unwrap();
        ExpectedState::Present { event_id, occurred_at: UnixMillis::from_millis(0), user }
    }

    #[test]
    fn answers_are_compared_by_event_and_by_field() {
        let meta = json!({"eventId": "7f3c1a52-0000-8000-8000-000000000000", "position": "0:1"});
        let same = json!({"userId": 1, "name": "a", "_meta": meta});
        assert_eq!(answer_difference(&present(), StatusCode::OK, same), None);
        let other = json!({"userId": 1, "name": "b", "extra": 1, "_meta": meta});
        let difference = answer_difference(&present(), StatusCode::OK, other);
        assert_eq!(difference.as_deref(), Some("differs in extra, name"));
        let stale = json!({"userId": 1, "name": "a", "_meta": {"eventId": "x"}});
        assert!(answer_difference(&present(), StatusCode::OK, stale).is_some());
        assert!(answer_difference(&present(), StatusCode::GONE, json!({})).is_some());
        assert_eq!(answer_difference(&ExpectedState::Forgotten, StatusCode::GONE, json!({})), None);
        assert!(answer_difference(&ExpectedState::Forgotten, StatusCode::OK, json!({})).is_some());
    }

    #[test]
    fn fields_that_the_log_omits_are_not_expected() {
        let [sent, written] = [&[][..], &["hourly"]].map(|omitted: &[&str]| {
            let mut new = User { hourly: Some(7), ..User::new(UserId::new(1).unwrap()) };
            new.extra.insert("HOURLY".to_owned(), "8".to_owned());
            new.omit(omitted);
            let omitted = omitted.iter().map(|name| (*name).to_owned()).collect();
            let facts = Facts {
                old: None,
                new,
                timestamp: "2017-06-06T10:53:43Z".to_owned(),
                received_at: UnixMillis::from_millis(0),
                password_changed: false,
                extra: BTreeMap::new(),
                omitted,
            };
            UserEvent::new(facts).unwrap()
        });
        let roll = Roll::of_value("0:1".parse().unwrap(), &wire::encode(&written)).unwrap();
        let winner = Winner { roll, event: Some((written.event_id, wire::encode(&written))) };
        let winners = BTreeMap::from([(sent.user_id, winner)]);
        let mut expected = BTreeMap::from([(sent.user_id, Expected::from(&sent))]);
        let differs = |expected: &BTreeMap<_, _>| {
            let mut found = Found::default();
            with_log(expected, &winners, &mut found);
            found.count
        };
        assert_eq!(differs(&expected), 1);
        leave_out_omitted(&mut expected, &winners);
        assert_eq!(differs(&expected), 0);
    }

    #[test]
    fn the_log_is_compared_by_its_winner() {
        assert_eq!(log_difference(&present(), None).as_deref(), Some("is missing"));
        let roll = Roll::forgotten(UnixMillis::from_millis(0), "0:1".parse().unwrap());
        let marker = Winner { roll, event: None };
        assert_eq!(log_difference(&ExpectedState::Forgotten, Some(&marker)), None);
        assert_eq!(log_difference(&present(), Some(&marker)).as_deref(), Some("is forgotten"));
    }
}
