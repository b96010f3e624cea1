//! `[kafka]`: the cluster, and librdkafka settings.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::PasswordSource;
use domain::client_property::is_secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Faults;
use crate::secret::{REDACTED, check_permissions};
use crate::settings::OAuth;
use crate::settings::registry::source;

/// `[kafka]`: the cluster, and librdkafka settings that are passed through.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// The initial broker addresses: `host:port`, separated by commas.
    pub bootstrap: String,
    pub client_id: String,
    /// The prefix of the names of consumer groups, `<prefix>-keeper` and `<prefix>-unjoined`.
    pub group_prefix: String,
    /// librdkafka settings by name. Numbers and booleans may be written without quotes.
    #[serde(deserialize_with = "scalars_as_text", serialize_with = "without_secrets")]
    pub properties: BTreeMap<String, String>,
    /// A file with `sasl.password`, watched: the clients use a new password without a restart.
    pub sasl_password_file: PathBuf,
    /// Where the clients get their tokens from.
    pub oauth: OAuth,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            bootstrap: "127.0.0.1:9092".to_owned(),
            client_id: "rollcall".to_owned(),
            group_prefix: "rollcall".to_owned(),
            properties: BTreeMap::new(),
            sasl_password_file: PathBuf::new(),
            oauth: OAuth::default(),
        }
    }
}

/// The properties that name a file with a private key.
const KEY_FILES: [&str; 2] = ["ssl.key.location", "ssl.keystore.location"];
/// The property with the password.
const PASSWORD: &str = "sasl.password";

impl Kafka {
    /// Adds a caution for each file with a key that every user of the machine may use.
    pub fn check_files(&self, faults: &mut Faults) {
        for name in KEY_FILES {
            if let Some(path) = self.properties.get(name) {
                check_permissions(&format!("kafka.properties.{name}"), Path::new(path), faults);
            }
        }
    }

    /// Returns the source of the password, or `None` if no file has it. Adds a fault if it is given twice, or cannot be
    /// read.
    pub fn password(&self, faults: &mut Faults) -> Option<Arc<dyn PasswordSource>> {
        let source = source("kafka.sasl_password", None, &self.sasl_password_file, faults)?;
        if self.properties.contains_key(PASSWORD) {
            faults.push(
                "kafka.sasl_password_file",
                format!("expected either kafka.sasl_password_file or kafka.properties.{PASSWORD}"),
            );
        }
        Some(Arc::new(source))
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<_, _> = self.properties.iter().map(|(name, value)| (name, shown(name, value))).collect();
        f.debug_struct("Kafka")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("group_prefix", &self.group_prefix)
            .field("properties", &shown)
            .field("sasl_password_file", &self.sasl_password_file)
            .field("oauth", &self.oauth)
            .finish()
    }
}

fn shown<'v>(name: &str, value: &'v str) -> &'v str {
    if is_secret(name) { REDACTED } else { value }
}

fn without_secrets<S: Serializer>(properties: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(properties.iter().map(|(name, value)| (name, shown(name, value))))
}

fn scalars_as_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut properties = BTreeMap::new();
    flatten("", toml::Table::deserialize(deserializer)?, &mut properties).map_err(serde::de::Error::custom)?;
    Ok(properties)
}

/// Flattens nested tables: unquoted, `sasl.username` is a table in TOML, and means the same as the quoted key here.
fn flatten(path: &str, table: toml::Table, properties: &mut BTreeMap<String, String>) -> Result<(), String> {
    for (key, value) in table {
        let name = if path.is_empty() { key } else { format!("{path}.{key}") };
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(boolean) => boolean.to_string(),
            toml::Value::Table(inner) => {
                flatten(&name, inner, properties)?;
                continue;
            }
            toml::Value::Array(_) | toml::Value::Datetime(_) => {
                return Err(format!("property {name}: expected a string, a number or a boolean"));
            }
        };
        properties.insert(name, text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_the_only_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let read = |properties: &str| {
            let mut kafka: Kafka = toml::from_str(properties).unwrap();
            kafka.sasl_password_file = path.clone();
            let mut faults = Faults::default();
            let password = kafka.password(&mut faults).map(|source| source.password());
            let password = password.map(|password| password.map_err(|error| error.to_string()));
            (password, faults.iter().map(|fault| fault.to_string()).collect::<Vec<_>>().join("; "))
        };
        std::fs::write(&path, "hunter2\n").unwrap();
        assert_eq!(read(""), (Some(Ok("hunter2".to_owned())), String::new()));
        let (_, faults) = read("[properties]\n'sasl.password' = 'hunter2'");
        assert!(faults.contains("expected either") && !faults.contains("hunter2"), "{faults}");
        for (content, part) in [
            ("\u{feff}hunter2", "byte order mark"),
            ("hunter2\nx\n", "several lines"),
            ("hunt\0er2", "zero byte"),
            ("", "is empty"),
        ] {
            std::fs::write(&path, content).unwrap();
            let (password, faults) = read("");
            assert!(password.unwrap().is_err() && faults.contains(part), "{faults}");
        }
        assert!(Kafka::default().password(&mut Faults::default()).is_none());
    }

    #[test]
    fn properties_are_scalars_by_quoted_or_dotted_names() {
        let kafka: Kafka =
            toml::from_str("[properties]\n\"sasl.username\" = 'u'\nlinger.ms = 5\nsocket.keepalive.enable = true")
                .unwrap();
        let shown: Vec<_> = kafka.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["linger.ms=5", "sasl.username=u", "socket.keepalive.enable=true"]);
        assert!(toml::from_str::<Kafka>("[properties]\na = [1]").is_err());
    }

    #[test]
    fn secrets_among_the_properties_are_not_shown() {
        let kafka: Kafka = toml::from_str(
            "[properties]\n'sasl.password' = 'hunter2'\n'ssl.key.pem' = 'hunter2'\n'sasl.username' = 'u'",
        )
        .unwrap();
        let shown = format!("{kafka:?}{}", toml::to_string(&kafka).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("sasl.username"), "{shown}");
    }
}
