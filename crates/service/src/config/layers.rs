//! The sources of a configuration, layered, and the configuration they give together.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::expected;
use super::faults::{Fault, Faults, Origin};
use super::file::File;

/// The prefix of every variable.
const PREFIX: &str = "ROLLCALL_";

/// Variables with the prefix that are not configuration: the test suite uses them.
const NOT_CONFIGURATION: [&str; 2] = ["ROLLCALL_REQUIRE_KAFKA", "ROLLCALL_REQUIRE_ECOSYSTEM"];

/// Returns the section that a variable sets a key of; `None` if it is not a variable of a configuration.
pub fn section_of(variable: &str) -> Option<String> {
    let key = variable.strip_prefix(PREFIX).filter(|_| !NOT_CONFIGURATION.contains(&variable))?;
    key.split("__").next().map(str::to_lowercase)
}

/// The values set so far, each with its origin.
#[derive(Default)]
pub(super) struct Layers {
    table: Table,
    origins: BTreeMap<String, Origin>,
    /// The text of values from the environment, for keys that expect text although the value parses as another type.
    texts: BTreeMap<String, String>,
}

impl Layers {
    /// # Errors
    /// The fault of the whole file.
    pub(super) fn file(&mut self, file: &File) -> Result<(), Fault> {
        let origin = Origin::File(file.path().to_owned());
        let whole = |reason: String| Fault { key: String::new(), origin: Some(origin.clone()), reason };
        let text = file.text().map_err(|error| whole(format!("cannot be read: {error}")))?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            whole(format!("line {line} is not TOML: {}", error.message()))
        })?;
        self.add(&[], table, &origin);
        Ok(())
    }

    pub(super) fn environment(&mut self, variables: &[(String, String)]) {
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

    pub(super) fn add(&mut self, path: &[String], table: Table, origin: &Origin) {
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
        put(&mut self.table, path, value);
    }

    /// Removes whole sections.
    pub(super) fn remove(&mut self, sections: &[String]) {
        self.table.retain(|section, _| !sections.iter().any(|other| other == section));
    }

    /// Deserializes. On an error it removes the faulty value and tries again, so that all faults are found. Returns the
    /// values without a fault, and adds the faults; `None` if a fault cannot be removed.
    pub(super) fn deserialize<Raw: DeserializeOwned>(&mut self, faults: &mut Faults) -> Option<Raw> {
        loop {
            let error = match serde_path_to_error::deserialize(Value::Table(self.table.clone())) {
                Ok(raw) => return Some(raw),
                Err(error) => error,
            };
            let message = error.inner().message().to_owned();
            let mut path: Vec<String> = error.path().iter().map(ToString::to_string).collect();
            // A fault in a list is reported for the whole list.
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
            let origin = self.origin(&key).or_else(|| self.origin_within(&key)).cloned();
            faults.add(Fault { origin, key, reason: expected::of(&message) });
            if !removed {
                return None;
            }
        }
    }

    /// Returns where the value of `key` was set: itself, or the nearest of the values that contain it.
    pub(super) fn origin(&self, key: &str) -> Option<&Origin> {
        let mut containing = std::iter::successors(Some(key), |key| key.rsplit_once('.').map(|(section, _)| section));
        containing.find_map(|key| self.origins.get(key))
    }

    /// Returns where the first value of the section `key` was set.
    fn origin_within(&self, key: &str) -> Option<&Origin> {
        let (section, no_bound) = (format!("{key}."), Bound::Unbounded);
        let (first, origin) = self.origins.range::<str, _>((Bound::Excluded(section.as_str()), no_bound)).next()?;
        first.starts_with(&section).then_some(origin)
    }

    /// Replaces a value from the environment by its other form: its text, or the list from its commas.
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

/// Sets the value at a path. A value on the path that is not a table is replaced by a table.
pub fn put<K: AsRef<str>>(table: &mut Table, path: &[K], value: Value) {
    let Some((last, sections)) = path.split_last() else { return };
    let mut table = table;
    for section in sections {
        let entry = table.entry(section.as_ref()).or_insert_with(|| Value::Table(Table::new()));
        if !entry.is_table() {
            *entry = Value::Table(Table::new());
        }
        table = entry.as_table_mut().expect("it was made one a line above");
    }
    table.insert(last.as_ref().to_owned(), value);
}

/// Returns the TOML value of `text`, or `text` itself if it is not valid TOML.
pub fn parse_value(text: &str) -> Value {
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
