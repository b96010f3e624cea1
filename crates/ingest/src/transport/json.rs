//! Strict JSON: a fault has the JSON Pointer (RFC 6901) of its place, and shows nothing of a password.

use domain::json::Json;

use super::password::{blank_text, is_password_name};

/// The place and the reason of a fault. It quotes no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) pointer: String,
    pub(super) reason: String,
}

/// Parses `text`.
///
/// # Errors
/// [`Fault`], as [`Json::read`].
pub(super) fn read(text: &[u8], depth_max: usize) -> Result<Json<'_>, Fault> {
    Json::read(text, depth_max)
        .map_err(|fault| Fault { pointer: pointer(&fault.path), reason: fault.reason.to_string() })
}

/// Returns `name` as a reference token of a JSON Pointer.
pub(crate) fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Returns the name of a value's type, for reasons.
pub(crate) fn type_name(value: &Json<'_>) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Boolean(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::Text(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

/// Returns the pointer of the place, or of the password that contains it: names within a password are secret too.
fn pointer(path: &[String]) -> String {
    let shown = path.iter().position(|name| is_password_name(name)).map_or(path.len(), |at| at + 1);
    let tokens = path.iter().take(shown).map(|name| match blank_text(name) {
        Some(blanked) => token(&blanked),
        None => token(name),
    });
    tokens.map(|token| format!("/{token}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_place() {
        let table = [
            (r#"{"a":1,"a":2}"#, "/a", "is given twice"),
            (r#"{"x":[{"a":1},{"b":1,"b":1}]}"#, "/x/1/b", "is given twice"),
            (r#"{"c~d/e":1,"c~d/e":1}"#, "/c~0d~1e", "is given twice"),
            (r#"{"a":1,"\u0061":1}"#, "/a", "is given twice"),
            ("[[[[[]]]]]", "/0/0/0/0", "nests deeper than 3 levels"),
            (r#"{"a":[1e99999999999]}"#, "/a/0", "has an exponent out of range"),
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
