//! Server-Sent Events as text (HTML, "9.2.5 Parsing an event stream").

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::Value;

/// Appends a whole event.
pub(super) fn put_event(events: &mut BytesMut, id: &str, name: &str, data: &Value) {
    put_field(events, "id", id);
    events.put_slice(&form(name, &data.to_string()));
}

/// Appends a field, whose value has no end of a line in it.
pub(super) fn put_field(events: &mut BytesMut, name: &str, value: &str) {
    debug_assert!(!value.contains(['\r', '\n']), "the line of {name} ends where its value ends");
    for part in [name, ": ", value, "\n"] {
        events.put_slice(part.as_bytes());
    }
}

/// Returns an event without its `id`. Where `data` has several lines, each is a field, as the reader joins them again.
pub(super) fn form(name: &str, data: &str) -> Bytes {
    let mut form = BytesMut::with_capacity(name.len() + data.len() + 32);
    put_field(&mut form, "event", name);
    // No more than white space: JSON escapes the ends of lines in its texts.
    data.split(['\r', '\n']).for_each(|line| put_field(&mut form, "data", line));
    form.put_u8(b'\n');
    form.freeze()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_lines_and_an_empty_one() {
        let mut events = BytesMut::new();
        put_event(&mut events, "t/1", "cut-off", &json!({ "reason": "slow" }));
        assert_eq!(events, "id: t/1\nevent: cut-off\ndata: {\"reason\":\"slow\"}\n\n");
    }

    #[test]
    fn data_of_several_lines_is_a_field_for_each() {
        assert_eq!(form("user", "{\n\"a\":\r1}"), "event: user\ndata: {\ndata: \"a\":\ndata: 1}\n\n");
    }
}
