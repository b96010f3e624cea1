//! One configuration out of a TOML file, the environment over it, and flags over both.
//!
//! A variable names a key by its path in capitals, the sections parted by two underscores: `ROLLCALL_HTTP__LISTEN` is `listen`
//! in `[http]`. Its value is read as TOML where it is TOML (`8080`, `true`, `["a", "b"]`), else as text; where a list is wanted
//! and the value is text, it is parted at commas. Below `[kafka.properties]`, whose keys have dots, an underscore is a dot:
//! `ROLLCALL_KAFKA__PROPERTIES__SASL_USERNAME` is `sasl.username`. All values there are text for librdkafka, a password perhaps,
//! and are taken as they stand, quotation marks and all.
//!
//! Unknown keys are refused. All faults are reported together, each with its key and where it was set; values are never shown,
//! since any could be a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// What every variable begins with.
pub const PREFIX: &str = "ROLLCALL_";

/// Variables with the prefix that are no configuration: the test suite's.
const NOT_CONFIGURATION: [&str; 1] = ["ROLLCALL_REQUIRE_KAFKA"];

/// Every fault of a configuration.
#[derive(Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Faults(Vec<Fault>);

/// One fault: the key, where it was set, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the key, `http.listen`; empty for a fault of the whole.
    pub key: String,
    pub origin: Option<Origin>,
    pub reason: String,
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File(PathBuf),
    Variable(String),
    Flag,
}

impl Faults {
    /// Adds a fault that validation found.
    pub fn push(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Fault { key: key.into(), origin: None, reason: reason.into() });
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `value` when there is no fault.
    ///
    /// # Errors
    /// The faults, all of them.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

/// Returns the raw configuration that `file`, `environment` and `flags` make together, the later over the earlier.
///
/// `Raw` denies unknown fields and has a default for each, so that what is required is a matter of its validation.
///
/// # Errors
/// [`Faults`]: a file that cannot be read or is no TOML, unknown keys, values of the wrong type.
pub fn load<Raw: DeserializeOwned>(
    file: Option<&Path>,
    environment: &[(String, String)],
    flags: Table,
) -> Result<Raw, Faults> {
    let mut layers = Layers::default();
    if let Some(path) = file {
        layers.file(path)?;
    }
    layers.environment(environment);
    layers.add(&[], flags, &Origin::Flag);
    layers.deserialize()
}

/// The values set so far, and where each came from.
#[derive(Default)]
struct Layers {
    table: Table,
    origins: BTreeMap<String, Origin>,
    /// The text of values that came from the environment, for keys that want text where the value looks like more.
    texts: BTreeMap<String, String>,
}

impl Layers {
    fn file(&mut self, path: &Path) -> Result<(), Faults> {
        let whole = |reason: String| {
            Faults(vec![Fault { key: String::new(), origin: Some(Origin::File(path.to_owned())), reason }])
        };
        let text = std::fs::read_to_string(path).map_err(|error| whole(format!("cannot be read: {error}")))?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            whole(format!("line {line} is no TOML: {}", error.message()))
        })?;
        self.add(&[], table, &Origin::File(path.to_owned()));
        Ok(())
    }

    fn environment(&mut self, variables: &[(String, String)]) {
        for (name, text) in variables {
            let Some(key) = name.strip_prefix(PREFIX).filter(|_| !NOT_CONFIGURATION.contains(&name.as_str())) else {
                continue;
            };
            let mut path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
            let value = if let [section, table, property @ ..] = path.as_slice()
                && (section.as_str(), table.as_str()) == ("kafka", "properties")
                && !property.is_empty()
            {
                let property = property.join("_").replace('_', ".");
                path.truncate(2);
                path.push(property);
                Value::String(text.clone())
            } else {
                parse_value(text)
            };
            self.texts.insert(path.join("."), text.clone());
            self.set(&path, value, &Origin::Variable(name.clone()));
        }
    }

    fn add(&mut self, path: &[String], table: Table, origin: &Origin) {
        for (key, value) in table {
            let path = [path, &[key]].concat();
            match value {
                Value::Table(inner) => self.add(&path, inner, origin),
                value => {
                    self.texts.remove(&path.join("."));
                    self.set(&path, value, origin);
                }
            }
        }
    }

    fn set(&mut self, path: &[String], value: Value, origin: &Origin) {
        self.origins.insert(path.join("."), origin.clone());
        let Some((last, sections)) = path.split_last() else { return };
        let mut table = &mut self.table;
        for section in sections {
            let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            if !entry.is_table() {
                *entry = Value::Table(Table::new());
            }
            table = entry.as_table_mut().expect("it was made one a line above");
        }
        table.insert(last.clone(), value);
    }

    /// Deserializes, takes out what is at fault, and tries again, until nothing is: so all faults are found.
    fn deserialize<Raw: DeserializeOwned>(mut self) -> Result<Raw, Faults> {
        let mut faults = Faults::default();
        loop {
            let error = match serde_path_to_error::deserialize(Value::Table(self.table.clone())) {
                Ok(raw) => return faults.or(raw),
                Err(error) => error,
            };
            let message = error.inner().message().to_owned();
            let mut path: Vec<String> = error.path().iter().map(ToString::to_string).collect();
            // Of a list, the list as a whole is at fault.
            path.retain(|part| !part.starts_with('['));
            if let Some(unknown) = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next())
                && path.last().map(String::as_str) != Some(unknown)
            {
                path.push(unknown.to_owned());
            }
            let key = path.join(".");
            if self.retry_as_text(&path, &key, &message) {
                continue;
            }
            let removed = remove(&mut self.table, &path);
            faults.0.push(Fault { origin: self.origins.get(&key).cloned(), key, reason: without_value(&message) });
            if !removed {
                return Err(faults);
            }
        }
    }

    /// Gives a value from the environment the other form it can have: its text, or the list that its commas make.
    fn retry_as_text(&mut self, path: &[String], key: &str, message: &str) -> bool {
        let Some(text) = self.texts.remove(key) else { return false };
        let value = if message.contains("expected a sequence") {
            Value::Array(text.split(',').map(|part| Value::String(part.trim().to_owned())).collect())
        } else if message.contains("expected a string") {
            Value::String(text)
        } else {
            return false;
        };
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Flag);
        self.set(path, value, &origin);
        true
    }
}

fn parse_value(text: &str) -> Value {
    let parsed: Option<Table> = format!("value = {text}").parse().ok();
    let only = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    only.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn remove(table: &mut Table, path: &[String]) -> bool {
    match path {
        [] => false,
        [last] => table.remove(last).is_some(),
        [section, rest @ ..] => {
            table.get_mut(section).and_then(Value::as_table_mut).is_some_and(|inner| remove(inner, rest))
        }
    }
}

/// Serde's messages quote the value that was not expected; only what was expected may be shown.
fn without_value(message: &str) -> String {
    let quotes = message.starts_with("invalid type: ")
        || message.starts_with("invalid value: ")
        || message.starts_with("unknown variant ");
    let expected = message.rfind(", expected ").filter(|_| quotes).and_then(|at| message.get(at + 2..));
    expected.map_or_else(|| message.to_owned(), str::to_owned)
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.key.is_empty()) {
            (Some(origin), true) => write!(f, "{origin}: {}", self.reason),
            (Some(origin), false) => write!(f, "{} ({origin}): {}", self.key, self.reason),
            (None, true) => f.write_str(&self.reason),
            (None, false) => write!(f, "{}: {}", self.key, self.reason),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Http, Kafka};
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Raw {
        http: Http,
        kafka: Kafka,
        keys: Vec<String>,
        name: String,
        retries: u8,
    }

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rollcall.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let (_folder, path) = file("");
        assert_eq!(load::<Raw>(Some(&path), &[], Table::new()).unwrap(), Raw::default());
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let (_folder, path) =
            file("name = 'file'\nretries = 1\n[http]\nlisten = '127.0.0.1:1'\n[kafka]\nbootstrap = 'file:9092'\n");
        let environment =
            variables(&[("ROLLCALL_NAME", "environment"), ("ROLLCALL_HTTP__LISTEN", "127.0.0.1:2"), ("OTHER", "x")]);
        let flags = "[http]\nlisten = '127.0.0.1:3'".parse().unwrap();
        let raw: Raw = load(Some(&path), &environment, flags).unwrap();
        assert_eq!((raw.name.as_str(), raw.retries), ("environment", 1));
        assert_eq!(raw.http.listen, "127.0.0.1:3");
        assert_eq!(raw.kafka.bootstrap, "file:9092");
    }

    #[test]
    fn variables_become_what_the_key_wants() {
        let environment = variables(&[
            ("ROLLCALL_NAME", "1234"),
            ("ROLLCALL_RETRIES", "7"),
            ("ROLLCALL_KEYS", "a, b"),
            ("ROLLCALL_KAFKA__PROPERTIES__SASL_USERNAME", "rollcall"),
            ("ROLLCALL_REQUIRE_KAFKA", "1"),
        ]);
        let raw: Raw = load(None, &environment, Table::new()).unwrap();
        assert_eq!((raw.name.as_str(), raw.retries, raw.keys), ("1234", 7, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(raw.kafka.properties["sasl.username"], "rollcall");
        let list: Raw = load(None, &variables(&[("ROLLCALL_KEYS", r#"["a,b"]"#)]), Table::new()).unwrap();
        assert_eq!(list.keys, ["a,b"]);
    }

    #[test]
    fn properties_of_kafka_are_taken_as_they_stand() {
        for text in ["1e5", "0x1F", "1_000", "12.50", "\"quoted\"", "'q'", "[1]", "{ a = 1 }", "true", "1, 2", " x", ""]
        {
            let environment = variables(&[("ROLLCALL_KAFKA__PROPERTIES__SASL_PASSWORD", text)]);
            let raw: Raw = load(None, &environment, Table::new()).unwrap();
            assert_eq!(raw.kafka.properties["sasl.password"], text);
        }
    }

    #[test]
    fn all_faults_are_reported_together_with_where_they_were_set() {
        let (_folder, path) = file("retries = 'hunter2'\ntypo = 1\n[http]\nlissen = 'x'\nconnections_max = -1\n");
        let environment = variables(&[("ROLLCALL_KAFKA__BOOTSTRAPP", "x")]);
        let faults = load::<Raw>(Some(&path), &environment, Table::new()).unwrap_err();
        let shown = faults.to_string();
        assert_eq!(faults.iter().count(), 5, "{shown}");
        for key in [
            "retries (",
            "typo (",
            "http.lissen (",
            "http.connections_max (",
            "kafka.bootstrapp (ROLLCALL_KAFKA__BOOTSTRAPP)",
        ] {
            assert!(shown.contains(key), "{key} is missing in\n{shown}");
        }
        assert!(!shown.contains("hunter2"), "a value is never shown: {shown}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_by_line_and_not_quoted() {
        let (_folder, path) = file("name = 'x'\nkeys = hunter2\n");
        let shown = load::<Raw>(Some(&path), &[], Table::new()).unwrap_err().to_string();
        assert!(shown.contains("line 2"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let missing = load::<Raw>(Some(Path::new("/nowhere.toml")), &[], Table::new()).unwrap_err().to_string();
        assert!(missing.contains("/nowhere.toml: cannot be read"), "{missing}");
    }
}
