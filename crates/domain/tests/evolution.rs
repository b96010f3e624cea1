//! Versions of the schema: what may change between two, and what a reader of one makes of records of the other.
//!
//! Version 2 here is made as a release would make it: optional fields, and a further type of event.

#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::borrow::Cow;
use std::path::Path;
use std::sync::LazyLock;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use domain::headers::SECOND;
use domain::roll::{self, Roll, Unread, second};
use domain::wire::{self, DecodeError, Framing, Ids, Listed, MARKER, SCHEMAS, STATE_SCHEMA, Translated};
use domain::{Facts, Position, UnixMillis, User, UserEvent, UserId};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

const SCHEMAS_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas");
/// The length of marker and fingerprint.
const FRAME_LEN: usize = MARKER.len() + 8;
const V1: u32 = 41;
const V2: u32 = 42;
const AT: Position = Position { partition: 0, offset: 7 };
/// The Kafka timestamp of every record: none is the delivery itself.
const NOW: UnixMillis = UnixMillis::from_millis(1_700_000_000_000);

static VERSION_1: LazyLock<Schema> = LazyLock::new(|| parsed(SCHEMAS[0]));
static VERSION_2: LazyLock<Schema> = LazyLock::new(version_2);
static IDS: LazyLock<Ids> = LazyLock::new(|| {
    let mut ids = Ids::NONE;
    assert_eq!(ids.list(V1, SCHEMAS[0]), Listed::Released(1));
    assert_eq!(ids.list(V2, &serde_json::to_string(&*VERSION_2).unwrap()), Listed::Resolved);
    ids
});

/// Returns the schema with a further optional field of the event, and one of the user.
fn version_2() -> Schema {
    let mut schema: serde_json::Value = serde_json::from_str(SCHEMAS[0]).unwrap();
    let field = |name: &str| serde_json::json!({"name": name, "type": ["null", "string"], "default": null});
    let fields = schema["fields"].as_array_mut().unwrap();
    let new = fields.iter_mut().find(|field| field["name"] == "new").unwrap();
    new["type"]["fields"].as_array_mut().unwrap().insert(5, field("department"));
    fields.push(field("campaign"));
    Schema::parse(&schema).unwrap()
}

fn parsed(schema: &str) -> Schema {
    Schema::parse_str(schema).unwrap()
}

fn event(from: Option<&str>, to: &str, received: i64) -> UserEvent {
    let user = |name: &str| User { name: Some(name.to_owned()), ..User::new(UserId::new(180).unwrap()) };
    let facts = Facts {
        old: from.map(user),
        new: user(to),
        timestamp: "2017-06-06T10:53:43+02:00".to_owned(),
        received_at: UnixMillis::from_millis(1_496_739_300_000 + received),
        password_changed: false,
        extra: Default::default(),
        omitted: Vec::new(),
    };
    UserEvent::new(facts).unwrap()
}

/// Returns the event as a writer of version 2 frames it, with both further fields, and of another type if one is given.
fn written_by_version_2(event: &UserEvent, kind: Option<&str>) -> Vec<u8> {
    let bytes = wire::encode(event);
    let reader =
        GenericDatumReader::builder(&VERSION_1).reader_schema(&VERSION_2).human_readable(false).build().unwrap();
    let mut value = reader.read_value(&mut &bytes[FRAME_LEN..]).unwrap();
    set(&mut value, "campaign", optional("spring"));
    set(field(&mut value, "new"), "department", optional("sales"));
    if let Some(kind) = kind {
        set(&mut value, "type", Value::String(kind.to_owned()));
    }
    let datum = GenericDatumWriter::builder(&VERSION_2).build().unwrap().write_value_to_vec(value).unwrap();
    [&[0], V2.to_be_bytes().as_slice(), &datum].concat()
}

fn optional(text: &str) -> Value {
    Value::Union(1, Box::new(Value::String(text.to_owned())))
}

fn field<'v>(value: &'v mut Value, name: &str) -> &'v mut Value {
    let Value::Record(fields) = value else { panic!("{value:?} is a record") };
    &mut fields.iter_mut().find(|(own, _)| own == name).unwrap().1
}

fn set(value: &mut Value, name: &str, to: Value) {
    *field(value, name) = to;
}

/// Returns the state that a record gives by itself.
fn state(value: &[u8], second: Option<&[u8]>) -> Result<Roll, Unread> {
    let record = Translated::new(&IDS, Some(value));
    let header = |name: &str| record.header(name, |name| second.filter(|_| name == SECOND));
    roll::read(AT, Some(b"180"), record.value(), header, NOW).map(|reading| reading.says().clone())
}

#[test]
fn a_reader_of_version_1_reads_what_version_2_wrote() {
    let event = event(Some("a"), "b", 0);
    let value = written_by_version_2(&event, None);
    let translated = IDS.translate(&value);
    assert_eq!(wire::decode(&translated).unwrap(), event, "without the fields that version 1 does not have");
    assert!(state(&value, None).unwrap().is_same(&state(&wire::encode(&event), None).unwrap()));
}

#[test]
fn a_reader_of_version_2_reads_what_version_1_wrote() {
    let reader =
        GenericDatumReader::builder(&VERSION_1).reader_schema(&VERSION_2).human_readable(false).build().unwrap();
    let bytes = wire::encode(&event(Some("a"), "b", 0));
    let mut value = reader.read_value(&mut &bytes[FRAME_LEN..]).unwrap();
    let nothing = Value::Union(0, Box::new(Value::Null));
    assert_eq!(field(&mut value, "campaign"), &nothing);
    assert_eq!(field(field(&mut value, "new"), "department"), &nothing);
}

#[test]
fn an_event_of_a_further_type_is_unknown_to_an_older_reader() {
    let value = written_by_version_2(&event(Some("a"), "b", 0), Some("archived"));
    let unread = state(&value, None).unwrap_err();
    assert!(unread.is_unknown(), "{unread}");
    assert!(matches!(unread, Unread::Value { source: DecodeError::UnknownType(kind), .. } if kind == "archived"));
}

#[test]
fn broken_bytes_of_a_foreign_schema_are_unknown() {
    let value = written_by_version_2(&event(Some("a"), "b", 0), None);
    for end in 5..value.len() {
        let unread = state(&value[..end], None).unwrap_err();
        assert!(unread.is_unknown(), "{end} bytes: {unread}");
    }
    assert!(state(&[&value[..], &[0]].concat(), None).unwrap_err().is_unknown());
}

#[test]
fn what_a_version_may_change_is_checked() {
    let released: Vec<Schema> = SCHEMAS.into_iter().map(parsed).collect();
    for (older, newer) in released.iter().flat_map(|older| released.iter().map(move |newer| (older, newer))) {
        assert!(is_fully_compatible(older, newer));
    }
    assert!(is_fully_compatible(&VERSION_1, &VERSION_2));
    for (from, to) in [
        // Another name, another type, and a further field without a default.
        (r#""name": "timestamp""#, r#""name": "sent""#),
        (r#""name": "userId", "type": "long""#, r#""name": "userId", "type": "string""#),
        (
            r#"{"name": "userId", "type": "long", "doc": "User's"#,
            r#"{"name": "x", "type": "int"}, {"name": "userId", "type": "long", "doc": "User's"#,
        ),
    ] {
        let changed = SCHEMAS[0].replace(from, to);
        assert_ne!(changed, SCHEMAS[0], "{from}");
        assert!(!is_fully_compatible(&VERSION_1, &parsed(&changed)), "{to}");
    }
}

/// As FULL_TRANSITIVE asks of each pair: readers of either version read the other's records.
fn is_fully_compatible(one: &Schema, other: &Schema) -> bool {
    SchemaCompatibility::mutual_read(one, other).is_ok_and(|compatibility| compatibility == Compatibility::Full)
}

#[test]
fn a_released_file_is_as_it_was_released() {
    let sums = std::fs::read_to_string(Path::new(SCHEMAS_DIR).join("SHA256SUMS")).unwrap();
    let mut listed: Vec<(&str, &str)> = sums.lines().map(|line| line.split_once("  ").unwrap()).collect();
    for (version, schema) in (1..).zip(SCHEMAS) {
        let name = format!("user-event.v{version}.avsc");
        let at = listed.iter().position(|(_, listed)| *listed == name);
        let (sum, _) = listed.remove(at.unwrap_or_else(|| panic!("{name} is not in SHA256SUMS")));
        assert_eq!(hex::encode(Sha256::digest(schema)), sum, "{name} was edited: add a version instead");
        let golden = Path::new(SCHEMAS_DIR).join(format!("golden/v{version}"));
        assert!(golden.is_dir(), "{} is missing", golden.display());
    }
    let state = hex::encode(Sha256::digest(STATE_SCHEMA));
    assert_eq!(listed, [(state.as_str(), "user-state.v1.avsc")], "SHA256SUMS lists the released schemas only");
    let files = std::fs::read_dir(SCHEMAS_DIR).unwrap().map(|entry| entry.unwrap().file_name());
    let schemas = files.filter(|name| name.to_string_lossy().ends_with(".avsc"));
    assert_eq!(schemas.count(), SCHEMAS.len() + 1, "each schema file is in wire::SCHEMAS, or that of the state topic");
}

/// An event of one second, the copy, and the framing of its record.
fn record() -> impl Strategy<Value = (UserEvent, u8)> {
    let name = || prop_oneof![Just("a"), Just("b"), Just("c")];
    (name(), name(), 0..2_i64, 0..3_u8)
        .prop_map(|(from, to, received, framing)| (event(Some(from), to, received), framing))
}

fn framed(event: &UserEvent, framing: u8) -> Vec<u8> {
    match framing {
        0 => Framing::SingleObject.encode(event),
        1 => Framing::Registered(V1).encode(event),
        _ => written_by_version_2(event, None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_state_does_not_depend_on_framings(records in proptest::collection::vec(record(), 1..5)) {
        let plain = records.iter().map(|(event, _)| state(&wire::encode(event), None).unwrap());
        let plain = plain.reduce(|mut all, one| { all.join(&one); all }).unwrap();
        let values: Vec<Vec<u8>> = records.iter().map(|(event, framing)| framed(event, *framing)).collect();
        let mixed = values.iter().map(|value| state(value, None).unwrap());
        let mixed = mixed.reduce(|mut all, one| { all.join(&one); all }).unwrap();
        prop_assert!(mixed.is_same(&plain));
        // All of it in one record: the first as the value, the others in its header.
        let others = second::encode(values[1..].iter().map(Vec::as_slice));
        prop_assert!(state(&values[0], others.as_deref()).unwrap().is_same(&plain));
        // And as a store keeps it: each event translated.
        let kept = values.iter().map(|value| Roll::of_value(AT, &IDS.translate(value)).unwrap());
        let kept = kept.reduce(|mut all, one| { all.join(&one); all }).unwrap();
        prop_assert!(kept.is_same(&plain));
    }

    #[test]
    fn no_bytes_of_a_foreign_schema_panic(at in 0..1_000_usize, byte in 0..=255_u8) {
        let mut value = written_by_version_2(&event(Some("a"), "b", 0), None);
        let at = 5 + at % (value.len() - 5);
        value[at] = byte;
        let _: Cow<'_, [u8]> = IDS.translate(&value);
        let _read = state(&value, None).is_ok();
    }
}
