//! A JSON value, and its form as sent.

use super::{Number, Text};

/// A JSON value, borrowed from the text that it was read from.
///
/// ```
/// use domain::json::Json;
///
/// let body = br#"{"b": 9007199254740993, "a": [4.0, "\u0041"]}"#;
/// let sent = Json::read(body, 8).map_err(|fault| fault.reason)?;
/// let mut text = String::new();
/// sent.write(&mut text);
/// assert_eq!(text, r#"{"b":9007199254740993,"a":[4.0,"\u0041"]}"#);
/// text.clear();
/// sent.write_canonical(&mut text);
/// assert_eq!(text, r#"{"a":[4,"A"],"b":9007199254740993e0}"#);
/// # Ok::<(), domain::json::Reason>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json<'t> {
    Null,
    Boolean(bool),
    Number(Number<'t>),
    Text(Text<'t>),
    Array(Vec<Json<'t>>),
    /// The members in the order in which they were sent. Names are unique where [`Json::read`] made them.
    Object(Vec<(Text<'t>, Json<'t>)>),
}

impl Json<'_> {
    /// Appends the value as it was sent, without whitespace.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => out.push_str(number.as_str()),
            Self::Text(text) => text.write(out),
            Self::Array(items) => {
                out.push('[');
                separated(out, items, |out, item| item.write(out));
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                separated(out, members, |out, (name, value)| {
                    name.write(out);
                    out.push(':');
                    value.write(out);
                });
                out.push('}');
            }
        }
    }
}

/// Writes `items` with commas between them.
pub(crate) fn separated<T>(out: &mut String, items: &[T], mut write: impl FnMut(&mut String, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
}
