//! The documents that are made from the schema, the headers and the contract of the topics: AsyncAPI of the users
//! topic, and a JSON Schema of the webhook. The committed files are what is made now.
//!
//! `cargo test -p rollcall-domain --test documents -- --ignored` writes them again.

#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use domain::headers;
use domain::topics::{Names, Spec};
use domain::wire::{NAME, SCHEMAS};
use serde_json::{Map, Value, json};

const ASYNCAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/asyncapi.json");
const WEBHOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/webhook.schema.json");

fn schema() -> Value {
    serde_json::from_str(SCHEMAS.last().unwrap()).unwrap()
}

/// Returns the fields of the record `User`.
fn user_fields() -> Vec<Value> {
    let schema = schema();
    let fields = schema["fields"].as_array().unwrap();
    let new = fields.iter().find(|field| field["name"] == "new").unwrap();
    new["type"]["fields"].as_array().unwrap().clone()
}

/// Returns the JSON type of an Avro type that a webhook's user has.
fn json_type(avro: &Value) -> Value {
    match avro {
        Value::Array(union) => {
            let one = json_type(union.iter().find(|branch| *branch != "null").unwrap());
            json!({ "anyOf": [one, { "type": "null" }] })
        }
        Value::Object(array) if array["type"] == "array" => {
            json!({ "type": "array", "items": json_type(&array["items"]) })
        }
        Value::String(name) => match name.as_str() {
            "long" => json!({ "type": "integer" }),
            other => json!({ "type": other }),
        },
        other => panic!("a user has no field of type {other}"),
    }
}

fn webhook() -> Value {
    let mut properties = Map::new();
    for field in user_fields().iter().filter(|field| field["name"] != "extra") {
        let mut property = json_type(&field["type"]);
        property["description"] = field["doc"].clone();
        properties.insert(field["name"].as_str().unwrap().to_owned(), property);
    }
    let password = "A newly entered password. It is dropped when the body is parsed and recorded nowhere.";
    properties.insert("password".to_owned(), json!({ "type": ["string", "null"], "description": password }));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "VCC Live: User Created, User Changed",
        "description": "The body of a webhook, decrypted. Other members are kept as they are. Rollcall also reads what \
            PHP writes for these types, such as an integer as text: crates/ingest/tests/cases.",
        "type": "object",
        "required": ["timestamp", "new"],
        "properties": {
            "timestamp": { "type": "string", "format": "date-time", "description": "When it happened, ISO 8601." },
            "old": { "anyOf": [{ "$ref": "#/$defs/User" }, { "type": "null" }],
                "description": "The user before the change; null when the user was created." },
            "new": { "$ref": "#/$defs/User", "description": "The user after it." },
        },
        "$defs": { "User": { "type": "object", "required": ["userId"], "properties": properties } },
    })
}

fn asyncapi() -> Value {
    let names = Names::default();
    let channel = |spec: &Spec, message: &str| {
        let settings: Map<String, Value> =
            spec.settings.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "address": spec.topic,
            "messages": { message: { "$ref": format!("#/components/messages/{message}") } },
            "bindings": { "kafka": {
                "topic": spec.topic,
                "partitions": spec.partitions,
                "replicas": spec.replication,
                "topicConfiguration": settings,
                "bindingVersion": "0.5.0",
            } },
        })
    };
    let specs = Spec::contract(&names, domain::topics::PARTITIONS_DEFAULT, domain::topics::REPLICAS_FOR_PRODUCTION);
    let [users, late, _] = specs.try_into().expect("three topics");
    let text = |constant: &str| json!({ "type": "string", "const": constant });
    let types = [headers::TYPE_CREATED, headers::TYPE_CHANGED, headers::TYPE_IMPORTED, headers::TYPE_FORGOTTEN];
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Rollcall: users of a VCC Live call centre",
            "version": SCHEMAS.len().to_string(),
            "description": "The contract in words is in schemas/README.md. A null value forgets the user.",
        },
        "defaultContentType": headers::AVRO,
        "channels": { "users": channel(&users, "userEvent"), "late": channel(&late, "userEvent") },
        "operations": {
            "receiveUsers": { "action": "receive", "channel": { "$ref": "#/channels/users" } },
        },
        "components": { "messages": { "userEvent": {
            "name": NAME,
            "contentType": headers::AVRO,
            "headers": { "type": "object", "properties": {
                headers::CE_SPECVERSION: text("1.0"),
                headers::CE_ID: { "type": "string" },
                headers::CE_TYPE: { "type": "string", "enum": types },
                headers::CE_SOURCE: text(headers::SOURCE),
                headers::CE_TIME: { "type": "string", "format": "date-time" },
                headers::CONTENT_TYPE: text(headers::AVRO),
                headers::TRACEPARENT: { "type": "string" },
                headers::REASSERTED: { "type": "string", "pattern": "^[0-9]+$" },
                headers::SECOND: { "type": "string", "format": "binary" },
            } },
            "payload": { "schemaFormat": "application/vnd.apache.avro+json;version=1.12.0", "schema": schema() },
            "bindings": { "kafka": {
                "key": { "type": "string", "pattern": "^(0|[1-9][0-9]*)$" },
                "schemaIdLocation": "payload",
                "schemaIdPayloadEncoding": "confluent",
                "schemaLookupStrategy": "TopicIdStrategy",
                "bindingVersion": "0.5.0",
            } },
        } } },
    })
}

fn written(document: &Value) -> String {
    format!("{document:#}\n")
}

#[test]
fn the_committed_documents_are_those_that_are_made() {
    for (path, document) in [(ASYNCAPI, asyncapi()), (WEBHOOK, webhook())] {
        assert_eq!(std::fs::read_to_string(path).unwrap(), written(&document), "{path}: write it again");
    }
}

#[test]
#[ignore = "writes the files"]
fn documents_are_written() {
    for (path, document) in [(ASYNCAPI, asyncapi()), (WEBHOOK, webhook())] {
        std::fs::write(path, written(&document)).unwrap();
    }
}

#[test]
fn the_vendor_s_samples_have_the_documented_members() {
    let schema = webhook();
    let user = &schema["$defs"]["User"]["properties"];
    for sample in [
        include_str!("../../../schemas/golden/v1/user-created.json"),
        include_str!("../../../schemas/golden/v1/user-changed.json"),
    ] {
        let body: Value = serde_json::from_str(sample).unwrap();
        for member in body.as_object().unwrap().keys() {
            assert!(schema["properties"].get(member).is_some(), "{member}");
        }
        for (member, value) in [&body["new"], &body["old"]].into_iter().filter_map(Value::as_object).flatten() {
            let documented = user.get(member).unwrap_or_else(|| panic!("{member} is not documented"));
            assert!(fits(value, documented), "{member}: {value} is not {documented}");
        }
    }
}

fn fits(value: &Value, schema: &Value) -> bool {
    if let Some(branches) = schema["anyOf"].as_array() {
        return branches.iter().any(|branch| fits(value, branch));
    }
    let is = |name: &Value| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        other => panic!("no member has the type {other}"),
    };
    schema["type"].as_array().map_or_else(|| is(&schema["type"]), |types| types.iter().any(is))
}
