//! Arbitrary bytes as the value of a record.
//!
//! An input that begins with `=` is a whole value. Any other input follows the ten bytes that open a value, which a
//! fuzzer cannot guess.

use std::sync::LazyLock;

use domain::{Facts, Position, UnixMillis, User, UserEvent, UserId, gap, headers, roll, wire};

/// The marker and the fingerprint of a single-object encoding.
const FRAME_BYTES: usize = 10;

/// Reads the input. Panics when a property does not hold.
pub fn check(input: &[u8]) {
    match input.strip_prefix(b"=") {
        Some(value) => read(value),
        None => read(&[FRAME.as_slice(), input].concat()),
    }
}

fn read(value: &[u8]) {
    let head = wire::decode_head(value);
    let Ok(event) = wire::decode(value) else { return };
    assert_eq!(head.expect("a whole event has a head"), event.head());

    let again = wire::encode(&event);
    assert_eq!(wire::decode(&again).expect("what was encoded can be decoded"), event);

    // Every decoded event has a key and can be displayed, compared and described.
    let key = event.user_id.to_string();
    let position = Position { partition: 0, offset: 0 };
    let reading = roll::read(position, Some(key.as_bytes()), Some(value), |_| None, event.received_at);
    let reading = reading.expect("the record can be read");
    let winner = reading.says().winner().expect("an event is no marker");
    assert_eq!(winner.head(event.user_id, reading.says()), event.head());
    assert_eq!(reading.payload(winner), Some(value));
    assert!(headers::for_event(&event, None).iter().all(|(_, value)| !value.is_empty()));
    let built_on = |old: &User| UserEvent { old: Some(old.clone()), ..event.clone() };
    assert!(gap::changed_fields(&event, &built_on(&event.new)).is_empty());
    let old = event.old.as_ref().unwrap_or(&event.new);
    let differ = old.version() != event.new.version();
    assert!(differ || gap::changed_fields(&event, &built_on(old)).is_empty(), "one version, two states");
}

static FRAME: LazyLock<[u8; FRAME_BYTES]> = LazyLock::new(|| {
    let facts = Facts {
        old: None,
        new: User::new(UserId::new(1).expect("in range")),
        timestamp: "1970-01-01T00:00:00Z".to_owned(),
        received_at: UnixMillis::from_millis(0),
        password_changed: false,
        extra: std::collections::BTreeMap::new(),
        omitted: Vec::new(),
    };
    let event = UserEvent::new(facts).expect("one user, and a time");
    *wire::encode(&event).first_chunk().expect("a value is longer than what opens it")
});
