//! The sources of a configuration: a file, the environment over it, flags over both.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use service::config::{self, Faults};
use toml::{Table, Value};

use crate::environment;

/// The prefix of keys that are librdkafka properties: their names contain dots, and their values are text.
const PROPERTIES: &str = "kafka.properties.";

/// The sources of every command with a configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Sources {
    /// The configuration file (TOML). Variables such as ROLLCALL_HTTP__LISTEN override it, flags override both
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The Kafka cluster: kafka.bootstrap
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    /// Any other key of the configuration: --set log.format=json
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, Value)>,
}

impl Sources {
    /// Returns the raw configuration of the sources.
    ///
    /// # Errors
    /// All faults, each with the place where it was set.
    pub(crate) fn load<Raw: DeserializeOwned>(&self) -> Result<Raw, Faults> {
        config::load(self.config.as_deref(), &environment::variables(), self.flags())
    }

    fn flags(&self) -> Table {
        let mut flags = Table::new();
        for (key, value) in &self.set {
            config::put(&mut flags, &path(key), value.clone());
        }
        if let Some(bootstrap) = &self.bootstrap {
            config::put(&mut flags, &["kafka", "bootstrap"], Value::String(bootstrap.clone()));
        }
        flags
    }
}

/// Parses `key=value`. The value is TOML if it is valid TOML, otherwise text. The value of a Kafka property is always
/// text, as in the environment.
fn assignment(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("expected KEY=VALUE")?;
    if key.starts_with(PROPERTIES) {
        return Ok((key.to_owned(), Value::String(value.to_owned())));
    }
    Ok((key.to_owned(), config::parse_value(value)))
}

/// Returns the path of `section.key`. The rest after `kafka.properties.` is one key, including its dots.
fn path(key: &str) -> Vec<&str> {
    match key.strip_prefix(PROPERTIES) {
        Some(property) => vec!["kafka", "properties", property],
        None => key.split('.').collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_become_a_table() {
        let sources = Sources {
            bootstrap: Some("broker:9092".to_owned()),
            set: ["log.format=json", "http.connections_max=5", "kafka.properties.sasl.mechanism=PLAIN"]
                .map(|text| assignment(text).unwrap())
                .to_vec(),
            ..Sources::default()
        };
        let expected = "
            [log]
            format = 'json'
            [http]
            connections_max = 5
            [kafka]
            bootstrap = 'broker:9092'
            properties = { 'sasl.mechanism' = 'PLAIN' }";
        assert_eq!(sources.flags(), expected.parse::<Table>().unwrap());
    }

    #[test]
    fn properties_of_kafka_are_taken_as_they_stand() {
        for text in ["1e5", "0x1F", "1_000", "12.50", "\"quoted\"", "'q'", "[1]", "true", "a=b", ""] {
            let (_, value) = assignment(&format!("kafka.properties.sasl.password={text}")).unwrap();
            assert_eq!(value, Value::String(text.to_owned()));
        }
    }

    #[test]
    fn an_invalid_assignment_is_refused() {
        for text in ["", "log.format", "=json"] {
            assert!(assignment(text).is_err(), "{text:?}");
        }
    }
}
