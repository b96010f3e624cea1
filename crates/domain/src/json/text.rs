//! A text of JSON with its original spelling.

use std::borrow::Cow;

/// A text with its original spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'t> {
    /// The token between its quotation marks.
    pub(super) token: Cow<'t, str>,
    /// The decoded text, if the token has escapes.
    pub(super) unescaped: Option<String>,
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

    pub(super) fn write(&self, out: &mut String) {
        out.push('"');
        out.push_str(&self.token);
        out.push('"');
    }
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
