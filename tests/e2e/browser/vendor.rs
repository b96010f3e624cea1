//! Webhooks about people, a change at a time, as the vendor sends them.

use std::collections::BTreeMap;

use domain::UnixMillis;
use hyper::StatusCode;
use kafka::ClientOptions;
use kafka::publish::{Limits, Outgoing, Publisher};
use serde_json::{Value, json};
use testkit::Answer;

use crate::support::system::Ingest;

/// When the first change happens: the tests have no use for the present.
const BEGIN_S: i64 = 1_700_000_000;
/// Later than every change.
const FORGOTTEN_S: i64 = 1_710_000_000;

/// The vendor, with the people as they are there.
pub(super) struct Vendor<'s> {
    ingest: &'s Ingest,
    people: BTreeMap<i64, Value>,
    second: i64,
}

impl<'s> Vendor<'s> {
    pub(super) fn of(ingest: &'s Ingest) -> Self {
        Self { ingest, people: BTreeMap::new(), second: BEGIN_S }
    }

    /// Creates a person, or changes some fields of one, and returns the answer to the webhook.
    pub(super) async fn says(&mut self, id: i64, fields: Value) -> Answer {
        let body = self.body(id, &fields);
        let answer = self.ingest.post(body).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer
    }

    /// Returns the body of that webhook.
    pub(super) fn body(&mut self, id: i64, fields: &Value) -> String {
        let old = self.people.get(&id).cloned();
        let mut new = old.clone().unwrap_or_else(|| person(id));
        for (field, value) in fields.as_object().expect("fields") {
            new[field] = value.clone();
        }
        self.people.insert(id, new.clone());
        self.second += 1;
        let timestamp = UnixMillis::from_millis(self.second * 1000).to_string();
        json!({ "old": old, "new": new, "timestamp": timestamp }).to_string()
    }

    /// Leaves out a change: the next one is built on a state that nobody has been told of.
    pub(super) fn keeps_to_itself(&mut self, id: i64, fields: &Value) {
        self.body(id, fields);
    }
}

/// Returns a person as the vendor has it before anything was changed.
fn person(id: i64) -> Value {
    json!({
        "userId": id, "extension": (id % 1000).to_string(), "name": format!("Person {id}"),
        "email": format!("p{id}@example.com"), "username": format!("p{id}"), "isAgent": true, "privGroup": id % 7,
        "redistribution": 0, "monthly": 1000, "hourly": 0, "state": "active", "registerTransport": "sip-tcp",
        "sampleRate": "global", "outboundPhone": "361", "contactPhone": "362", "messageLists": [],
        "mobileProjectId": null, "mobilePhone": null,
    })
}

/// Appends the marker of a person who was forgotten.
pub(super) async fn forget(options: &ClientOptions, topic: &str, id: i64) {
    let publisher = Publisher::open(options, Limits::default()).expect("the options are usable");
    let (user_id, at) = (id.to_string().parse().expect("an identifier"), UnixMillis::from_millis(FORGOTTEN_S * 1000));
    publisher.publish(Outgoing::forgotten(user_id, topic, at, at)).await.expect("the marker is stored");
}
