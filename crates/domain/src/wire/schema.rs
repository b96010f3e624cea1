//! The released schemas, parsed once.

use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::Value;

/// The text of `schemas/user-event.v1.avsc`.
pub const SCHEMA_V1: &str = include_str!("../../../../schemas/user-event.v1.avsc");

/// The released schemas: version 1, then each further one.
pub const SCHEMAS: [&str; 1] = [SCHEMA_V1];

/// The full name of the record in every version.
pub const NAME: &str = "live.vcc.UserEvent";

/// The number of fields of version 1 that form a [`crate::Head`].
const HEAD_FIELDS: usize = 7;
/// The number of fields of version 1 before `old`.
const CURRENT_FIELDS: usize = 10;

/// CRC-64-AVRO of version 1, little-endian, over the Parsing Canonical Form of Java's `SchemaNormalization` and of
/// fastavro. The form of apache-avro differs: it keeps `{"type":"long"}` where a logical type stood; Java writes
/// `"long"`.
const FINGERPRINT_V1: [u8; 8] = [0x56, 0xdc, 0x9b, 0x86, 0x3c, 0xf0, 0xd7, 0x79];

/// A released schema with its writer and its readers.
pub(super) struct Released {
    /// The fingerprint in a value.
    pub(super) fingerprint: [u8; 8],
    pub(super) schema: &'static Schema,
    pub(super) reader: GenericDatumReader<'static>,
    pub(super) writer: GenericDatumWriter<'static>,
    /// Reads the first fields only. Avro binary has no framing, so a prefix of the fields is a prefix of the bytes.
    pub(super) head_reader: GenericDatumReader<'static>,
    /// Reads the fields before `old` only.
    pub(super) current_reader: GenericDatumReader<'static>,
}

pub(super) fn v1() -> &'static Released {
    static V1: LazyLock<Released> = LazyLock::new(|| {
        let schema: &'static Schema = leak(SCHEMA_V1);
        let head: &'static Schema = leak(&first_fields(SCHEMA_V1, HEAD_FIELDS));
        let current: &'static Schema = leak(&first_fields(SCHEMA_V1, CURRENT_FIELDS));
        Released {
            fingerprint: FINGERPRINT_V1,
            schema,
            reader: reader(schema),
            writer: GenericDatumWriter::builder(schema)
                .human_readable(false)
                .build()
                .expect("a released schema resolves"),
            head_reader: reader(head),
            current_reader: reader(current),
        }
    });
    &V1
}

fn reader(schema: &'static Schema) -> GenericDatumReader<'static> {
    GenericDatumReader::builder(schema).human_readable(false).build().expect("a released schema resolves")
}

/// Leaks a released schema, so that readers and writers can borrow from it until the process ends.
fn leak(text: &str) -> &'static Schema {
    Box::leak(Box::new(Schema::parse_str(text).expect("a released schema is valid Avro")))
}

/// Returns CRC-64-AVRO of a schema as Java and fastavro compute it, or `None` if it is no schema.
pub(super) fn fingerprint(mut schema: Value) -> Option<[u8; 8]> {
    without_logical_types(&mut schema);
    Schema::parse(&schema).ok()?.fingerprint::<Rabin>().bytes.try_into().ok()
}

/// Removes logical types, which the canonical form does not have. Otherwise the library would keep their braces.
fn without_logical_types(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.remove("logicalType");
            members.values_mut().for_each(without_logical_types);
        }
        Value::Array(items) => items.iter_mut().for_each(without_logical_types),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn first_fields(schema: &str, count: usize) -> String {
    let mut schema: Value = serde_json::from_str(schema).expect("a released schema is JSON");
    let fields = schema["fields"].as_array_mut().expect("a released schema is a record");
    fields.truncate(count);
    schema.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_canonical_form() {
        let mut schema: Value = serde_json::from_str(SCHEMA_V1).unwrap();
        assert_eq!(fingerprint(schema.clone()), Some(FINGERPRINT_V1));
        without_logical_types(&mut schema);
        let canonical = Schema::parse(&schema).unwrap().canonical_form();
        assert!(canonical.contains(r#"{"name":"occurredAt","type":"long"}"#));
    }
}
