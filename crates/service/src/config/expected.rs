//! What a key expects, in words of a configuration file rather than of the program.

/// The expectations of serde and of the program's types, each with what is written in a configuration. Of a name that
/// the program has made up, the first word.
const WORDS: &[(&str, &str)] = &[
    ("u8", "a whole number, 0 to 255"),
    ("u16", "a whole number, 0 to 65535"),
    ("u32", "a whole number, 0 to 4294967295"),
    ("u64", "a whole number, 0 or more"),
    ("usize", "a whole number, 0 or more"),
    ("i32", "a whole number, -2147483648 to 2147483647"),
    ("i64", "a whole number"),
    ("f64", "a number"),
    ("a boolean", "true or false"),
    ("a string", "a text"),
    ("path string", "a path, as a text"),
    ("a sequence", "a list"),
    ("a map", "a section"),
    ("struct ", "a section"),
    ("tuple struct ", "a text"),
    ("string or table", "a text"),
];

/// Returns serde's message in these words, without the unexpected value: only the expectation may be shown.
pub(super) fn of(message: &str) -> String {
    let quotes =
        ["invalid type: ", "invalid value: ", "unknown variant "].iter().any(|start| message.starts_with(start));
    let Some((_, expected)) = message.rsplit_once(", expected ").filter(|_| quotes) else { return message.to_owned() };
    let is_meant = |name: &str| expected == name || (name.ends_with(' ') && expected.starts_with(name));
    let words = WORDS.iter().find(|(name, _)| is_meant(name)).map_or(expected, |(_, words)| words);
    format!("expected {words}")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde::Deserialize;

    use super::*;
    use crate::settings::Topics;
    use crate::telemetry::Format;

    fn of_type<T: for<'de> Deserialize<'de> + std::fmt::Debug>(value: &str) -> String {
        let value = crate::config::parse_value(value);
        of(T::deserialize(value).unwrap_err().message())
    }

    #[test]
    fn no_type_of_the_program_is_named() {
        for (said, expected) in [
            (of_type::<usize>("-1"), "expected a whole number, 0 or more"),
            (of_type::<usize>("1.5"), "expected a whole number, 0 or more"),
            (of_type::<u64>("'hunter2'"), "expected a whole number, 0 or more"),
            (of_type::<u32>("-1"), "expected a whole number, 0 to 4294967295"),
            (of_type::<u8>("256"), "expected a whole number, 0 to 255"),
            (of_type::<i32>("3000000000"), "expected a whole number, -2147483648 to 2147483647"),
            (of_type::<bool>("'hunter2'"), "expected true or false"),
            (of_type::<String>("7"), "expected a text"),
            (of_type::<PathBuf>("7"), "expected a path, as a text"),
            (of_type::<Option<PathBuf>>("7"), "expected a path, as a text"),
            (of_type::<Vec<String>>("7"), "expected a list"),
            (of_type::<std::collections::BTreeMap<String, usize>>("7"), "expected a section"),
            (of_type::<Topics>("'hunter2'"), "expected a section"),
            (of_type::<Format>("'hunter2'"), "expected `text` or `json`"),
        ] {
            assert_eq!(said, expected);
        }
        assert_eq!(of("unknown field `x`, expected `y`"), "unknown field `x`, expected `y`");
    }
}
