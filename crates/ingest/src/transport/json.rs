//! JSON, read strictly: a key given twice or a depth past the limit is an error with the JSON Pointer (RFC 6901) of its place.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::password::{blank_text, is_password_name};

/// Where JSON is at fault, and how; no value is quoted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) pointer: String,
    pub(super) reason: String,
}

/// Returns the value that `text` is.
///
/// # Errors
/// [`Fault`] for text that is no JSON, has a key twice in an object, or nests deeper than `depth_max`.
pub(super) fn read(text: &[u8], depth_max: usize) -> Result<Value, Fault> {
    let reader = Reader { depth_max, path: RefCell::default(), fault: RefCell::default() };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = Node(&reader).deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| {
        let known = reader.fault.into_inner();
        known.unwrap_or_else(|| Fault { pointer: pointer(&reader.path.into_inner()), reason: syntax(&error) })
    })
}

/// Returns `name` as a reference token of a JSON Pointer.
pub(crate) fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The name of a value's type, for reasons.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

struct Reader {
    depth_max: usize,
    path: RefCell<Vec<String>>,
    fault: RefCell<Option<Fault>>,
}

impl Reader {
    fn fail<E: Error>(&self, reason: String) -> E {
        let fault = Fault { pointer: pointer(&self.path.borrow()), reason };
        self.fault.borrow_mut().get_or_insert(fault);
        E::custom("refused")
    }

    /// Steps into a member for as long as `read` takes; on an error the path stays, for it is where the error is.
    fn within<T, E: Error>(&self, name: &str, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.path.borrow_mut().push(name.to_owned());
        if self.path.borrow().len() > self.depth_max {
            return Err(self.fail(format!("nests deeper than {} levels", self.depth_max)));
        }
        let value = read()?;
        self.path.borrow_mut().pop();
        Ok(value)
    }
}

/// Returns the pointer of the place, or of the password that it lies in: names within a password are as secret as it is.
fn pointer(path: &[String]) -> String {
    let shown = path.iter().position(|name| is_password_name(name)).map_or(path.len(), |at| at + 1);
    let tokens = path.iter().take(shown).map(|name| match blank_text(name) {
        Some(blanked) => token(&blanked),
        None => token(name),
    });
    tokens.map(|token| format!("/{token}")).collect()
}

/// serde_json tells what it expected and where, and never quotes the text.
fn syntax(error: &serde_json::Error) -> String {
    format!("is not JSON: {error}")
}

#[derive(Clone, Copy)]
struct Node<'r>(&'r Reader);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = self.0.within(&array.len().to_string(), || items.next_element_seed(self))? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = self.0.within(&name, || {
                if object.contains_key(&name) {
                    return Err(self.0.fail("is given twice".to_owned()));
                }
                members.next_value_seed(self)
            })?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_reads_as_itself() {
        let text = r#"{"a":[1,-2,2.5,"x",null,true,{"b":{}}],"c~d/e":""}"#;
        assert_eq!(read(text.as_bytes(), 8).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn faults_name_their_place() {
        let table = [
            (r#"{"a":1,"a":2}"#, "/a", "is given twice"),
            (r#"{"x":[{"a":1},{"b":1,"b":1}]}"#, "/x/1/b", "is given twice"),
            (r#"{"c~d/e":1,"c~d/e":1}"#, "/c~0d~1e", "is given twice"),
            (r#"{"a":1,"\u0061":1}"#, "/a", "is given twice"),
            ("[[[[[]]]]]", "/0/0/0/0", "nests deeper than 3 levels"),
            (r#"{"new":{"userId":}}"#, "/new/userId", "is not JSON: expected value at line 1 column 18"),
            (r#"{"Password":{"hunter2":1,"hunter2":2}}"#, "/Password", "is given twice"),
            (r#"{"{\"password\":3}":1,"{\"password\":3}":2}"#, r#"/{"password":"[redacted]"}"#, "is given twice"),
            ("", "", "is not JSON: EOF while parsing a value at line 1 column 0"),
            ("{} {}", "", "is not JSON: trailing characters at line 1 column 4"),
            ("hello", "", "is not JSON: expected value at line 1 column 1"),
        ];
        for (text, pointer, reason) in table {
            let fault = read(text.as_bytes(), 3).unwrap_err();
            assert_eq!((fault.pointer.as_str(), fault.reason.as_str()), (pointer, reason), "{text}");
        }
        assert!(read(b"\"\xff\"", 3).unwrap_err().reason.starts_with("is not JSON: invalid unicode"));
        assert!(read("[".repeat(100_000).as_bytes(), 3).unwrap_err().reason.contains("deeper"));
    }
}
