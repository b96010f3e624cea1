//! JSON with its tokens kept: texts and numbers stay as sent, and no number passes through a double.
//!
//! [`Json::read`] is strict: a duplicate key, a depth over the limit, or an exponent out of range is a [`Fault`] with
//! its place. [`Json::write`] writes the original tokens without whitespace. [`Json::write_canonical`] writes the form
//! that equal values share; [`crate::Version`] is its digest.

mod canonical;

mod number;

mod parser;

use std::borrow::Cow;

pub(crate) use canonical::{compare_names, write_text};
pub use number::Number;
pub(crate) use number::write_integer;
pub use parser::{Fault, Reason};

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
    /// The members in the order in which they were sent. Names are unique.
    Object(Vec<(Text<'t>, Json<'t>)>),
}

/// A text with its original spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'t> {
    /// The token between its quotation marks.
    token: Cow<'t, str>,
    /// The decoded text, if the token has escapes.
    unescaped: Option<String>,
}

impl<'t> Json<'t> {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`Fault`] for text that is not JSON, for a duplicate key in an object, for nesting deeper than `depth_max`, or
    /// for a number whose exponent does not fit `i32`.
    pub fn read(text: &'t [u8], depth_max: usize) -> Result<Self, Fault> {
        parser::read(text, depth_max)
    }

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

    /// Appends the canonical form: RFC 8785, but with exact numbers (see [`Number::write_canonical`]).
    pub fn write_canonical(&self, out: &mut String) {
        canonical::write(self, out);
    }
}

impl<'t> Text<'t> {
    /// Returns `text` with the shortest JSON spelling.
    pub fn new(text: String) -> Self {
        let mut token = String::with_capacity(text.len() + 2);
        write_text(&text, &mut token);
        token.pop();
        token.remove(0);
        let unescaped = (token != text).then_some(text);
        Self { token: Cow::Owned(token), unescaped }
    }

    pub fn as_str(&self) -> &str {
        self.unescaped.as_deref().unwrap_or(&self.token)
    }

    pub fn into_string(self) -> String {
        self.unescaped.unwrap_or_else(|| self.token.into_owned())
    }

    /// Returns the number of bytes between the quotation marks.
    pub fn token_len(&self) -> usize {
        self.token.len()
    }

    fn write(&self, out: &mut String) {
        out.push('"');
        out.push_str(&self.token);
        out.push('"');
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
