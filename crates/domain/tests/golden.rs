//! Golden files: bytes of each released schema version, and the values that they must always decode to.
//!
//! `schemas/golden/v1/*.json` are the vendor's two sample bodies, and `*.avro` their events. Until version 1 is
//! released, `cargo test -p rollcall-domain --test golden -- --ignored` writes deleted files again.

#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::collections::BTreeMap;

use domain::{Facts, UnixMillis, User, UserEvent, wire};
use serde_json::Value;

const RECEIVED_AT: UnixMillis = UnixMillis::from_millis(1_496_739_300_250);

struct Golden {
    body: &'static str,
    avro: &'static str,
    version: &'static str,
    parent: Option<&'static str>,
    event_id: &'static str,
    occurred_at: &'static str,
}

const CREATED: Golden = Golden {
    body: include_str!("../../../schemas/golden/v1/user-created.json"),
    avro: concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/golden/v1/user-created.avro"),
    version: "8324a03338d96e81e140d408fa373f2a",
    parent: None,
    event_id: "10c2f568-62cf-87b8-b054-1184ec463815",
    occurred_at: "2017-06-06T08:53:43Z",
};

const CHANGED: Golden = Golden {
    body: include_str!("../../../schemas/golden/v1/user-changed.json"),
    avro: concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/golden/v1/user-changed.avro"),
    version: "3a06761c4c8df21122a5299022af633f",
    parent: Some("6028b2249f69c2096a6b86bb4472e12d"),
    event_id: "f47ee80c-383b-8fa0-be37-e410a128a164",
    occurred_at: "2017-06-06T08:44:18Z",
};

#[test]
fn v1_created() {
    check(&CREATED);
}

#[test]
fn v1_changed() {
    check(&CHANGED);
}

#[test]
#[ignore = "writes files: those that are missing"]
fn missing_files_are_written() {
    for golden in [&CREATED, &CHANGED] {
        if !std::fs::exists(golden.avro).unwrap() {
            std::fs::write(golden.avro, wire::encode(&event(golden.body))).unwrap();
        }
    }
}

#[track_caller]
fn check(golden: &Golden) {
    let event = event(golden.body);
    let avro = std::fs::read(golden.avro).unwrap();
    assert_eq!(event.version.to_string(), golden.version);
    assert_eq!(event.parent.map(|parent| parent.to_string()).as_deref(), golden.parent);
    assert_eq!(event.event_id.to_string(), golden.event_id);
    assert_eq!(event.occurred_at.to_string(), golden.occurred_at);

    assert_eq!(wire::decode(&avro).unwrap(), event, "the committed bytes decode to the value");
    assert_eq!(wire::decode_head(&avro).unwrap(), event.head());
    assert_eq!(hex::encode(wire::encode(&event)), hex::encode(&avro), "encoding the value gives the committed bytes");
}

/// The version is a digest of the vendor's own object: the canonical form of the sample has the same digest.
#[test]
fn version_of_a_sample_is_the_digest_of_the_object_as_the_vendor_wrote_it() {
    use sha2::{Digest, Sha256};
    for golden in [&CREATED, &CHANGED] {
        let body: Value = serde_json::from_str(golden.body).unwrap();
        let canonical = serde_json_canonicalizer::to_vec(&body["new"]).unwrap();
        assert_eq!(hex::encode(&Sha256::digest(canonical)[..16]), golden.version);
    }
}

fn event(body: &str) -> UserEvent {
    let body: Value = serde_json::from_str(body).unwrap();
    let user = |value: &Value| -> Option<User> {
        let mut object = value.as_object()?.clone();
        object.insert("extra".into(), Value::Object(Default::default()));
        Some(serde_json::from_value(Value::Object(object)).unwrap())
    };
    UserEvent::new(Facts {
        old: user(&body["old"]),
        new: user(&body["new"]).unwrap(),
        timestamp: body["timestamp"].as_str().unwrap().to_owned(),
        received_at: RECEIVED_AT,
        password_changed: false,
        extra: BTreeMap::new(),
        omitted: Vec::new(),
    })
    .unwrap()
}
