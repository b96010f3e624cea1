//! The sources of a configuration: a file, the environment over it, flags over both.

use clap::ValueHint;
use clap::builder::{PathBufValueParser, TypedValueParser as _};
use domain::client_property::is_secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use service::config::{self, Faults, File};
use toml::{Table, Value};

use crate::environment;

/// The prefix of keys that are librdkafka properties: their names contain dots, and their values are text.
const PROPERTIES: &str = "kafka.properties.";

/// The sources of every command with a configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Sources {
    /// The configuration file (TOML), of the service that the end of this help names. Variables such as
    /// ROLLCALL_HTTP__LISTEN override it, flags override both
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(value_parser = PathBufValueParser::new().map(File::from))]
    config: Option<File>,
    /// The Kafka cluster: kafka.bootstrap
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    /// Any other key of the configuration: --set log.format=json. Secrets are refused: use files or variables
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, Value)>,
}

impl Sources {
    /// Returns the raw configuration of the sources.
    ///
    /// # Errors
    /// All faults, each with the place where it was set.
    pub(crate) fn load<Raw: DeserializeOwned>(&self) -> Result<Raw, Faults> {
        config::load(self.config.as_ref(), &environment::variables(), self.flags()?)
    }

    /// Returns what a command needs of the configuration of either service.
    ///
    /// # Errors
    /// All faults, each with the place where it was set.
    pub(crate) fn valid<Raw, Config>(&self) -> Result<Config, Faults>
    where
        Raw: DeserializeOwned,
        Config: TryFrom<Raw, Error = Faults>,
    {
        let variables = environment::variables();
        config::load_valid::<Raw, _>(&[], self.config.as_ref(), &variables, self.flags()?, |_| ())
    }

    /// Returns the configuration of ingest.
    ///
    /// # Errors
    /// All faults.
    pub(crate) fn ingest(&self, adjust: impl FnOnce(&mut ingest::config::Raw)) -> Result<ingest::Config, Faults> {
        let (variables, _) = self.variables::<ingest::config::Raw, projector::Raw>();
        config::load_valid(&[], self.config.as_ref(), &variables, self.flags()?, adjust)
    }

    /// Returns the configuration of the projector.
    ///
    /// # Errors
    /// All faults.
    pub(crate) fn projector(&self, adjust: impl FnOnce(&mut projector::Raw)) -> Result<projector::Config, Faults> {
        let (variables, _) = self.variables::<projector::Raw, ingest::config::Raw>();
        config::load_valid(&[], self.config.as_ref(), &variables, self.flags()?, adjust)
    }

    /// Returns the raw configuration of one service from sources of both: the sections of the other are ignored.
    ///
    /// # Errors
    /// All faults that do not need validation.
    pub(crate) fn raw_beside<Raw, Other>(&self) -> Result<Raw, Faults>
    where
        Raw: Default + Serialize + DeserializeOwned,
        Other: Default + Serialize,
    {
        let (variables, others) = (environment::variables(), only_of_other::<Raw, Other>());
        config::load_without(&others, self.config.as_ref(), &variables, self.flags()?)
    }

    /// Returns the configuration of one service from sources of both.
    ///
    /// # Errors
    /// All faults.
    pub(crate) fn config_beside<Raw, Other, Config>(&self, adjust: impl FnOnce(&mut Raw)) -> Result<Config, Faults>
    where
        Raw: Default + Serialize + DeserializeOwned,
        Other: Default + Serialize,
        Config: TryFrom<Raw, Error = Faults>,
    {
        let (variables, others) = (environment::variables(), only_of_other::<Raw, Other>());
        config::load_valid(&others, self.config.as_ref(), &variables, self.flags()?, adjust)
    }

    /// Returns the raw configuration of one service.
    ///
    /// # Errors
    /// All faults that do not need validation.
    pub(crate) fn raw<Raw, Other>(&self) -> Result<Raw, Faults>
    where
        Raw: Default + Serialize + DeserializeOwned,
        Other: Default + Serialize,
    {
        let (variables, _) = self.variables::<Raw, Other>();
        config::load(self.config.as_ref(), &variables, self.flags()?)
    }

    /// Returns the variables for one service, and the names of those for the other, which are ignored: one environment
    /// can serve both.
    pub(crate) fn variables<Raw, Other>(&self) -> (Vec<(String, String)>, Vec<String>)
    where
        Raw: Default + Serialize,
        Other: Default + Serialize,
    {
        of_service::<Raw, Other>(environment::variables())
    }

    /// Logs which variables are ignored.
    pub(crate) fn log_ignored<Raw, Other>(&self)
    where
        Raw: Default + Serialize,
        Other: Default + Serialize,
    {
        let (_, variables) = self.variables::<Raw, Other>();
        if !variables.is_empty() {
            tracing::info!(?variables, "variables of the other service are ignored");
        }
    }

    /// Returns whether a flag sets this key.
    ///
    /// # Errors
    /// A fault for each secret among the flags.
    pub(crate) fn has_flag(&self, section: &str, key: &str) -> Result<bool, Faults> {
        Ok(self.flags()?.get(section).is_some_and(|section| section.get(key).is_some()))
    }

    /// # Errors
    /// A fault for each secret.
    fn flags(&self) -> Result<Table, Faults> {
        let mut flags = Table::new();
        for (key, value) in &self.set {
            config::put(&mut flags, &path(key), value.clone());
        }
        if let Some(bootstrap) = &self.bootstrap {
            config::put(&mut flags, &["kafka", "bootstrap"], Value::String(bootstrap.clone()));
        }
        let mut faults = Faults::default();
        refuse_secrets(&mut Vec::new(), &Value::Table(flags.clone()), &mut faults);
        faults.or(flags)
    }
}

fn of_service<Raw, Other>(variables: Vec<(String, String)>) -> (Vec<(String, String)>, Vec<String>)
where
    Raw: Default + Serialize,
    Other: Default + Serialize,
{
    let others = only_of_other::<Raw, Other>();
    let is_of_other = |name: &str| config::section_of(name).is_some_and(|section| others.contains(&section));
    let (ignored, variables): (Vec<_>, _) = variables.into_iter().partition(|(name, _)| is_of_other(name));
    (variables, ignored.into_iter().map(|(name, _)| name).collect())
}

/// Returns the sections that only the other configuration has.
fn only_of_other<Raw, Other>() -> Vec<String>
where
    Raw: Default + Serialize,
    Other: Default + Serialize,
{
    let own = sections::<Raw>();
    sections::<Other>().into_iter().map(|(section, _)| section).filter(|section| !own.contains_key(section)).collect()
}

/// Returns the sections of a configuration.
fn sections<Raw: Default + Serialize>() -> Table {
    Table::try_from(Raw::default()).expect("a default configuration can be written")
}

/// Adds a fault for each secret among flags: every user of the machine sees the command line.
fn refuse_secrets(path: &mut Vec<String>, value: &Value, faults: &mut Faults) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                path.push(key.clone());
                refuse_secrets(path, value, faults);
                path.pop();
            }
        }
        Value::Array(items) if items.iter().all(Value::is_table) => {
            items.iter().for_each(|item| refuse_secrets(path, item, faults));
        }
        _ => {
            let key = path.join(".");
            if let Some((file, variable)) = instead(&key) {
                let seen = "every user of this machine sees the command line";
                faults.push(key, format!("{seen}: use {file}, or the variable {variable}"));
            }
        }
    }
}

/// Returns the file and the variable by which a secret is set; `None` for a key that is none.
fn instead(key: &str) -> Option<(&'static str, String)> {
    let variable = |key: &str| format!("ROLLCALL_{}", key.replace('.', "__").to_uppercase());
    if let Some(property) = key.strip_prefix(PROPERTIES) {
        let name = property.replace('.', "_").to_uppercase();
        let file = if property == "sasl.password" { "kafka.sasl_password_file" } else { "the file of --config" };
        return is_secret(property).then(|| (file, format!("ROLLCALL_KAFKA__PROPERTIES__{name}")));
    }
    match key {
        "security.secret_keys" => Some(("security.secret_key_files", variable(key))),
        "security.body_keys.key" => Some(("its key_file", variable("security.body_keys"))),
        "kafka.oauth.client_secret" => Some(("kafka.oauth.client_secret_file", variable(key))),
        "registry.password" => Some(("registry.password_file", variable(key))),
        "registry.token" => Some(("registry.token_file", variable(key))),
        _ => None,
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
    fn one_environment_serves_both_services() {
        let names =
            ["ROLLCALL_STORE__DIR", "ROLLCALL_SECURITY__SECRET_KEYS", "ROLLCALL_LOG__FORMAT", "ROLLCALL_TYPO__X"];
        let variables = || names.map(|name| (name.to_owned(), "x".to_owned())).to_vec();
        let kept = |(kept, ignored): (Vec<(String, String)>, Vec<String>)| {
            (kept.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ignored)
        };
        let (of_ingest, ignored) = kept(of_service::<ingest::config::Raw, projector::Raw>(variables()));
        assert_eq!(
            (of_ingest.as_slice(), ignored.as_slice()),
            (&names.map(str::to_owned)[1..], &names.map(str::to_owned)[..1])
        );
        let (of_projector, ignored) = kept(of_service::<projector::Raw, ingest::config::Raw>(variables()));
        assert_eq!(of_projector, [names[0], names[2], names[3]]);
        assert_eq!(ignored, [names[1]]);
    }

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
        assert_eq!(sources.flags().unwrap(), expected.parse::<Table>().unwrap());
    }

    #[test]
    fn properties_of_kafka_are_taken_as_they_stand() {
        for text in ["1e5", "0x1F", "1_000", "12.50", "\"quoted\"", "'q'", "[1]", "true", "a=b", ""] {
            let (_, value) = assignment(&format!("kafka.properties.sasl.password={text}")).unwrap();
            assert_eq!(value, Value::String(text.to_owned()));
        }
    }

    #[test]
    fn a_secret_is_refused_with_the_ways_to_set_it() {
        let load = |text: &str| {
            let sources = Sources { set: vec![assignment(text).unwrap()], ..Sources::default() };
            sources.load::<Table>().map_err(|faults| faults.to_string())
        };
        for (text, file, variable) in [
            ("security.secret_keys=['hunter2']", "security.secret_key_files", "ROLLCALL_SECURITY__SECRET_KEYS"),
            ("security={secret_keys=['hunter2']}", "security.secret_key_files", "ROLLCALL_SECURITY__SECRET_KEYS"),
            ("security.body_keys=[{cipher='x',key='hunter2'}]", "key_file", "ROLLCALL_SECURITY__BODY_KEYS"),
            ("registry.password=hunter2", "registry.password_file", "ROLLCALL_REGISTRY__PASSWORD"),
            (
                "kafka.properties.sasl.password=hunter2",
                "kafka.sasl_password_file",
                "ROLLCALL_KAFKA__PROPERTIES__SASL_PASSWORD",
            ),
            ("kafka.properties.ssl.key.pem=hunter2", "--config", "ROLLCALL_KAFKA__PROPERTIES__SSL_KEY_PEM"),
        ] {
            let fault = load(text).unwrap_err();
            assert!(fault.contains(file) && fault.contains(variable) && !fault.contains("hunter2"), "{fault}");
        }
        for text in [
            "security.secret_key_files=['/run/secret']",
            "security.body_keys=[{cipher='x',key_file='/run/key'}]",
            "security.allowed_sources=['10.0.0.0/8']",
            "kafka.properties.sasl.username=rollcall",
        ] {
            assert!(load(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_invalid_assignment_is_refused() {
        for text in ["", "log.format", "=json"] {
            assert!(assignment(text).is_err(), "{text:?}");
        }
    }
}
