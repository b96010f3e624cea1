//! The canonical form of JSON: RFC 8785 (JCS), but with exact decimal numbers.

use std::cmp::Ordering;

use super::{Json, separated};

pub(super) fn write(value: &Json<'_>, out: &mut String) {
    match value {
        Json::Null | Json::Boolean(_) => value.write(out),
        Json::Number(number) => number.write_canonical(out),
        Json::Text(text) => write_text(text.as_str(), out),
        Json::Array(items) => {
            out.push('[');
            separated(out, items, |out, item| write(item, out));
            out.push(']');
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
            members.sort_by(|(a, _), (b, _)| compare_names(a, b));
            out.push('{');
            separated(out, &members, |out, (name, value)| {
                write_text(name, out);
                out.push(':');
                write(value, out);
            });
            out.push('}');
        }
    }
}

/// Compares by UTF-16 code units (RFC 8785, section 3.2.3). The order differs from that of bytes only above U+D7FF.
pub(crate) fn compare_names(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

/// Appends a text as a JSON string with the fewest escapes (RFC 8785, section 3.2.2.2).
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        // The byte is ASCII, so both cuts are between characters.
        let (plain, escaped) = rest.split_at(at);
        let (escaped, after) = escaped.split_at(1);
        out.push_str(plain);
        match escaped.as_bytes()[0] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            0x0c => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            control => {
                out.push_str("\\u00");
                out.push_str(&hex::encode([control]));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out.push('"');
}
