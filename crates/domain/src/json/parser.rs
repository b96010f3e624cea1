//! The JSON parser: one pass over the text, recursive up to the allowed depth.

use std::borrow::Cow;

use super::{Json, Number, Text};

/// The most members of an object whose names are compared in pairs. Those of a larger object are sorted first.
const PAIRS_COMPARED_MAX: usize = 32;

/// The place and the reason of a parse error. It quotes no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The names and indexes that lead to the place, outermost first.
    pub path: Vec<String>,
    pub reason: Reason,
}

/// The reason of a parse error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("is given twice")]
    Twice,
    #[error("nests deeper than {0} levels")]
    Deep(usize),
    #[error("has an exponent out of range")]
    Exponent,
    /// Lines and columns count from 1. Column 0 is before the line's first byte.
    #[error("is not JSON: {problem} at line {line} column {column}")]
    Syntax { problem: &'static str, line: usize, column: usize },
}

impl<'t> Json<'t> {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`Fault`] for text that is not JSON, for a duplicate key in an object, for nesting deeper than `depth_max`, or
    /// for a number whose exponent does not fit `i32`.
    pub fn read(text: &'t [u8], depth_max: usize) -> Result<Self, Fault> {
        Self::parse(text, depth_max, unique)
    }

    /// Parses `text` like [`Json::read`], but keeps every member of a name that is given twice.
    ///
    /// # Errors
    /// As [`Json::read`].
    pub fn read_all_members(text: &'t [u8], depth_max: usize) -> Result<Self, Fault> {
        Self::parse(text, depth_max, |members| Ok(Json::Object(members)))
    }

    fn parse(text: &'t [u8], depth_max: usize, object: ToObject<'t>) -> Result<Self, Fault> {
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => return Err(syntax(text, error.valid_up_to() + 1, "invalid unicode code point")),
        };
        let mut parser = Parser { text, at: 0, depth_max, object };
        let value = parser.value(0);
        let whole = value.and_then(|value| match parser.peek() {
            None => Ok(value),
            Some(_) => Err(parser.here("trailing characters")),
        });
        whole.map_err(|mut fault| {
            fault.path.reverse();
            fault
        })
    }
}

/// Makes an object of its members.
type ToObject<'t> = fn(Vec<(Text<'t>, Json<'t>)>) -> Result<Json<'t>, Fault>;

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth_max: usize,
    object: ToObject<'t>,
}

impl<'t> Parser<'t> {
    fn value(&mut self, depth: usize) -> Result<Json<'t>, Fault> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b't') => self.word("true", Json::Boolean(true)),
            Some(b'f') => self.word("false", Json::Boolean(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => Err(self.here("expected value")),
            None => Err(self.here("EOF while parsing a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'t>, Fault> {
        self.at += 1;
        let mut members: Vec<(Text<'t>, Json<'t>)> = Vec::new();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.here("expected a key"));
            }
            let name = self.string()?;
            let colon = if self.take(b':') { Ok(()) } else { Err(self.here("expected `:`")) };
            let value = colon.and_then(|()| self.within(depth)).map_err(|fault| fault.at(name.as_str()))?;
            members.push((name, value));
            if self.take(b'}') {
                return (self.object)(members);
            }
            if !self.take(b',') {
                return Err(self.here("expected `,` or `}`"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json<'t>, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            let item = self.within(depth).map_err(|fault| fault.at(&items.len().to_string()))?;
            items.push(item);
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            if !self.take(b',') {
                return Err(self.here("expected `,` or `]`"));
            }
        }
    }

    fn within(&mut self, depth: usize) -> Result<Json<'t>, Fault> {
        if depth > self.depth_max {
            return Err(Fault { path: Vec::new(), reason: Reason::Deep(self.depth_max) });
        }
        self.value(depth)
    }

    fn string(&mut self) -> Result<Text<'t>, Fault> {
        let quote = self.at;
        self.at += 1;
        let mut escapes = false;
        loop {
            match self.bytes().get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escapes = true;
                    self.at += 2;
                }
                Some(0..b' ') => return Err(self.here("control character in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.here("EOF while parsing a string")),
            }
        }
        self.at += 1;
        let quoted = self.since(quote);
        let token = Cow::Borrowed(quoted.get(1..quoted.len() - 1).unwrap_or_default());
        let unescaped = match escapes {
            true => Some(serde_json::from_str(quoted).map_err(|_| self.here("invalid escape in a string"))?),
            false => None,
        };
        Ok(Text { token, unescaped })
    }

    fn number(&mut self) -> Result<Number<'t>, Fault> {
        let start = self.at;
        self.skip(|byte| byte == b'-', 1);
        match self.bytes().get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.skip(|byte| byte == b'.', 1) {
            self.digits()?;
        }
        if self.skip(|byte| matches!(byte, b'e' | b'E'), 1) {
            self.skip(|byte| matches!(byte, b'+' | b'-'), 1);
            self.digits()?;
        }
        Number::new(self.since(start)).ok_or(Fault { path: Vec::new(), reason: Reason::Exponent })
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let some = self.skip(|byte| byte.is_ascii_digit(), usize::MAX);
        if some { Ok(()) } else { Err(self.here("invalid number")) }
    }

    fn word(&mut self, word: &str, value: Json<'t>) -> Result<Json<'t>, Fault> {
        if !self.bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.here("expected value"));
        }
        self.at += word.len();
        Ok(value)
    }

    /// Skips whitespace and returns the next byte.
    fn peek(&mut self) -> Option<u8> {
        self.skip(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'), usize::MAX);
        self.bytes().get(self.at).copied()
    }

    /// Skips whitespace, and skips `byte` if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Skips at most `most` bytes of a kind. Returns whether it skipped any.
    fn skip(&mut self, kind: impl Fn(u8) -> bool, most: usize) -> bool {
        let bytes = &self.bytes()[self.at..];
        let count = bytes.iter().take(most).take_while(|byte| kind(**byte)).count();
        self.at += count;
        count > 0
    }

    /// Returns the text since `start`, the beginning of a token. Tokens begin and end at ASCII.
    fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn bytes(&self) -> &'t [u8] {
        self.text.as_bytes()
    }

    fn here(&self, problem: &'static str) -> Fault {
        syntax(self.bytes(), self.at + 1, problem)
    }
}

impl Fault {
    /// Prepends the enclosing member: the path grows from its end.
    fn at(mut self, name: &str) -> Self {
        self.path.push(name.to_owned());
        self
    }
}

/// Returns the object, if its names are unique.
fn unique<'t>(members: Vec<(Text<'t>, Json<'t>)>) -> Result<Json<'t>, Fault> {
    let is_twin = |at: usize| members[..at].iter().any(|(name, _)| name.as_str() == members[at].0.as_str());
    if members.len() <= PAIRS_COMPARED_MAX && !(0..members.len()).any(is_twin) {
        return Ok(Json::Object(members));
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Fault { path: vec![pair[0].to_owned()], reason: Reason::Twice }),
        None => Ok(Json::Object(members)),
    }
}

/// Returns the fault after `count` bytes of `text`.
fn syntax(text: &[u8], count: usize, problem: &'static str) -> Fault {
    let before = &text[..count.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    Fault { path: Vec::new(), reason: Reason::Syntax { problem, line, column: before.len() - line_start } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn tokens_are_given_back_as_they_were_sent() {
        let text = r#"{"a":[1,-2,2.50,1e400,"x\u0041\n",null,true,false,{"b":{}}],"c~d/\u0065":"","é":[]}"#;
        let read = Json::read(text.as_bytes(), 8).unwrap();
        let mut written = String::new();
        read.write(&mut written);
        assert_eq!(written, text);
        let Json::Object(members) = read else { panic!("an object") };
        assert_eq!(members[1].0.as_str(), "c~d/e");
    }

    #[test]
    fn a_name_may_be_given_twice_where_all_members_are_asked_for() {
        let text = br#"{"a":1,"a":{"b":2,"b":2}}"#;
        assert_eq!(Json::read(text, 8).unwrap_err().reason, Reason::Twice);
        let mut written = String::new();
        Json::read_all_members(text, 8).unwrap().write(&mut written);
        assert_eq!(written.as_bytes(), text);
    }

    #[test]
    fn a_place_in_the_middle_has_its_line_and_column() {
        let fault = Json::read(b"{\n \"a\": x}", 8).unwrap_err();
        assert_eq!(fault.reason.to_string(), "is not JSON: expected value at line 2 column 7");
        assert_eq!(fault.path, ["a"]);
    }

    fn json_or_nearly() -> impl Strategy<Value = String> {
        let items = r#"("\PC{0,3}",|-?[0-9.eE+-]{1,6},|"\\[u"/bdD8c0-9\\]{1,14}",|[ \n\t]{1,2}){0,3}"#;
        prop_oneof![
            r#"[\[\]{}:,"\\a0-9eE+.truflsn \-]{0,12}"#.prop_map(String::from),
            items.prop_map(|items| format!("[{items}1]"))
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// Serde accepts the same texts, except for the faults that only this parser checks and for doubles out of
        /// range.
        #[test]
        fn what_is_json_is_what_the_library_takes(text in json_or_nearly()) {
            match (Json::read(text.as_bytes(), 64), serde_json::from_str::<Value>(&text)) {
                (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("out of range"), "{text}: {error}"),
                (Err(fault), Ok(_)) => {
                    prop_assert!(!matches!(fault.reason, Reason::Syntax { .. }), "{text}: {fault:?}");
                }
                (Ok(read), Ok(_)) => {
                    let mut written = String::new();
                    read.write(&mut written);
                    prop_assert_eq!(Json::read(written.as_bytes(), 64).unwrap(), read.clone());
                    prop_assert!(written.len() <= text.len());
                }
                (Err(_), Err(_)) => {}
            }
        }
    }
}
