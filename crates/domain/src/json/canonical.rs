//! The canonical form of JSON: RFC 8785 (JCS), but with exact decimal numbers.

use std::cmp::Ordering;

use super::{Json, separated, write_text};

impl Json<'_> {
    /// Appends the canonical form: RFC 8785, but with exact numbers (see
    /// [`Number::write_canonical`](super::Number::write_canonical)).
    pub fn write_canonical(&self, out: &mut String) {
        match self {
            Self::Null | Self::Boolean(_) => self.write(out),
            Self::Number(number) => number.write_canonical(out),
            Self::Text(text) => write_text(text.as_str(), out),
            Self::Array(items) => {
                out.push('[');
                separated(out, items, |out, item| item.write_canonical(out));
                out.push(']');
            }
            Self::Object(members) => {
                let mut members: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
                members.sort_by(|(a, _), (b, _)| compare_names(a, b));
                out.push('{');
                separated(out, &members, |out, (name, value)| {
                    write_text(name, out);
                    out.push(':');
                    value.write_canonical(out);
                });
                out.push('}');
            }
        }
    }
}

/// Compares by UTF-16 code units (RFC 8785, section 3.2.3). The order differs from that of bytes only above U+D7FF.
pub(crate) fn compare_names(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}
