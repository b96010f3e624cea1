//! The value of a record on the state topic: the current user alone, flat and with plain types, so that tools need
//! configuration only. `schemas/user-state.v1.avsc` has the fields.

use std::borrow::Cow;
use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::Map;
use serde_json::value::RawValue;

use super::Current;
use super::framing::open_registered;
use crate::Field;
use crate::headers::{AVRO, JSON};

/// The text of `schemas/user-state.v1.avsc`.
pub const STATE_SCHEMA: &str = include_str!("../../../../schemas/user-state.v1.avsc");

/// The format of the values on the state topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flat {
    /// A JSON object; `occurredAt` is RFC 3339 text.
    #[default]
    Json,
    /// Avro in Confluent's framing, with this id of [`STATE_SCHEMA`].
    Registered(u32),
}

impl Flat {
    /// Returns the media type of the values.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Registered(_) => AVRO,
        }
    }

    /// Returns the value of a state.
    pub fn encode(self, state: &Current<'_>) -> Vec<u8> {
        match self {
            Self::Json => json(state),
            Self::Registered(id) => {
                let mut bytes = Vec::new();
                open_registered(&mut bytes, id);
                let written = writer().write_value(&mut bytes, avro(state));
                written.expect("the record has the schema's fields, and a Vec takes every byte");
                bytes
            }
        }
    }
}

/// The writer of Avro values. It borrows the schema, which lives as long as the process.
fn writer() -> &'static GenericDatumWriter<'static> {
    static SCHEMA: LazyLock<Schema> =
        LazyLock::new(|| Schema::parse_str(STATE_SCHEMA).expect("a released schema is valid Avro"));
    static WRITER: LazyLock<GenericDatumWriter<'static>> =
        LazyLock::new(|| GenericDatumWriter::builder(&SCHEMA).build().expect("a released schema resolves"));
    &WRITER
}

fn json(state: &Current<'_>) -> Vec<u8> {
    let mut members = Map::new();
    for (name, field) in state.user.fields() {
        members.insert(name.to_owned(), serde_json::to_value(field).expect("a field is JSON"));
    }
    members.insert("extra".to_owned(), extra(state).into());
    members.insert("occurredAt".to_owned(), state.occurred_at.to_string().into());
    members.insert("eventId".to_owned(), state.event_id.to_string().into());
    serde_json::to_vec(&members).expect("a map is JSON")
}

fn avro(state: &Current<'_>) -> Value {
    let optional = |value: Option<Value>| match value {
        Some(value) => Value::Union(1, Box::new(value)),
        None => Value::Union(0, Box::new(Value::Null)),
    };
    let text = |text: &str| Value::String(text.to_owned());
    let field = |field: Field<'_, Cow<'_, str>>| match field {
        Field::Text(value) => optional(value.map(|value| text(value))),
        Field::Texts(items) => optional(items.map(|items| Value::Array(items.iter().map(|item| text(item)).collect()))),
        Field::Boolean(value) => optional(value.map(Value::Boolean)),
        Field::Integer(value) => optional(value.map(Value::Long)),
    };
    let fields = state.user.fields().map(|(name, value)| (name.to_owned(), field(value)));
    let id = ("userId".to_owned(), Value::Long(state.user.user_id.get()));
    let rest = [
        ("extra", Value::String(extra(state))),
        ("occurredAt", Value::TimestampMillis(state.occurred_at.millis())),
        ("eventId", Value::String(state.event_id.to_string())),
    ];
    let rest = rest.map(|(name, value)| (name.to_owned(), value));
    Value::Record(std::iter::once(id).chain(fields.into_iter().skip(1)).chain(rest).collect())
}

/// Returns the members outside the vendor's table as the text of a JSON object, each as sent.
fn extra(state: &Current<'_>) -> String {
    let members = state.user.extra.iter().map(|(name, text)| {
        let json = serde_json::from_str::<&RawValue>(text).map(RawValue::get);
        let name = serde_json::to_string(name).expect("a text is JSON");
        match json {
            Ok(json) => format!("{name}:{json}"),
            Err(_) => format!("{name}:{}", serde_json::to_string(text).expect("a text is JSON")),
        }
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use apache_avro::reader::datum::GenericDatumReader;

    use super::*;
    use crate::{User, UserId};

    fn state() -> Current<'static> {
        let golden = include_bytes!("../../../../schemas/golden/v1/user-changed.avro");
        let mut state = super::super::decode_current(golden).unwrap();
        state.user.extra.insert("rate".into(), "1.10".into());
        state.user.message_lists = Some(vec!["technical".into()]);
        state
    }

    #[test]
    fn the_schema_has_the_fields_of_a_user() {
        let schema: serde_json::Value = serde_json::from_str(STATE_SCHEMA).unwrap();
        let names = schema["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap());
        let user = User::new(UserId::new(1).unwrap());
        let fields = user.fields().map(|(name, _)| name).into_iter();
        assert!(names.eq(fields.chain(["extra", "occurredAt", "eventId"])));
    }

    #[test]
    fn both_formats_say_the_same() {
        let state = state();
        let json: serde_json::Value = serde_json::from_slice(&Flat::Json.encode(&state)).unwrap();
        assert_eq!(json["extra"], r#"{"rate":1.10}"#);
        assert_eq!((&json["userId"], &json["messageLists"][0]), (&180.into(), &"technical".into()));
        assert_eq!(json["occurredAt"], state.occurred_at.to_string());

        let avro = Flat::Registered(7).encode(&state);
        assert_eq!(avro[..5], [0, 0, 0, 0, 7]);
        let schema = Schema::parse_str(STATE_SCHEMA).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let Value::Record(fields) = reader.read_value(&mut &avro[5..]).unwrap() else { panic!("a record") };
        for (name, value) in fields {
            let value = match value {
                Value::TimestampMillis(millis) => crate::UnixMillis::from_millis(millis).to_string().into(),
                value => serde_json::Value::try_from(value).unwrap(),
            };
            assert_eq!(value, json[&name], "{name}");
        }
    }
}
