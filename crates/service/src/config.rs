//! Loads a configuration from a TOML file, the environment and flags. Flags override the environment, which overrides
//! the file.
//!
//! A variable names a key by its path in capitals, with two underscores between sections: `ROLLCALL_HTTP__LISTEN` is
//! `listen` in `[http]`. Its value is read as TOML if it is valid TOML (`8080`, `true`, `["a", "b"]`), otherwise as
//! text. A text for a key that expects a list is split at commas. The keys of `[kafka.properties]` contain dots, so an
//! underscore in the variable means a dot: `ROLLCALL_KAFKA__PROPERTIES__SASL_USERNAME` is `sasl.username`. All values
//! in that section are text for librdkafka, possibly passwords, and are taken literally, with any quotation marks.
//!
//! Unknown keys are refused. All faults are reported together, each with its key and the place where it was set. Values
//! are never shown, because any of them could be a secret.

mod file;

mod faults;

mod layers;

mod expected;

use serde::de::DeserializeOwned;
use toml::Table;

use layers::Layers;

pub use faults::{Fault, Faults, Origin, log_cautions};
pub use file::File;
pub use layers::{parse_value, put, section_of};

/// Returns the raw configuration from `file`, `environment` and `flags`; later sources override earlier ones.
///
/// `Raw` denies unknown fields and has a default for each field. Its validation decides which fields are required.
///
/// # Errors
/// [`Faults`]: a file that cannot be read or is not TOML, unknown keys, and values of the wrong type.
pub fn load<Raw: DeserializeOwned>(
    file: Option<&File>,
    environment: &[(String, String)],
    flags: Table,
) -> Result<Raw, Faults> {
    load_without(&[], file, environment, flags)
}

/// As [`load`], of sources that also have these sections, of another configuration: they are ignored.
///
/// # Errors
/// As [`load`].
pub fn load_without<Raw: DeserializeOwned>(
    sections: &[String],
    file: Option<&File>,
    environment: &[(String, String)],
    flags: Table,
) -> Result<Raw, Faults> {
    let mut faults = Faults::default();
    match read(sections, file, environment, flags, &mut faults).deserialize(&mut faults) {
        Some(raw) => faults.or(raw),
        None => Err(faults),
    }
}

/// Returns the validated configuration from `file`, `environment` and `flags`, as [`load_without`] reads them.
///
/// # Errors
/// The faults that [`load`] finds, and those that validation finds in the other values.
pub fn load_valid<Raw, Config>(
    without: &[String],
    file: Option<&File>,
    environment: &[(String, String)],
    flags: Table,
    adjust: impl FnOnce(&mut Raw),
) -> Result<Config, Faults>
where
    Raw: DeserializeOwned,
    Config: TryFrom<Raw, Error = Faults>,
{
    let mut faults = Faults::default();
    let mut layers = read(without, file, environment, flags, &mut faults);
    let raw = layers.deserialize(&mut faults);
    // Where the file is not TOML its values are missing: what validation then misses may be in it.
    let Some(mut raw) = raw.filter(|_| faults.iter().all(|fault| !fault.key.is_empty())) else { return Err(faults) };
    adjust(&mut raw);
    match Config::try_from(raw) {
        Ok(config) => faults.or(config),
        Err(mut found) => {
            found.locate(|key| layers.origin(key));
            faults.extend_with(found);
            Err(faults)
        }
    }
}

/// Returns the values of the sources, and adds the fault of a file that has none.
fn read(
    without: &[String],
    file: Option<&File>,
    environment: &[(String, String)],
    flags: Table,
    faults: &mut Faults,
) -> Layers {
    let mut layers = Layers::default();
    if let Some(Err(fault)) = file.map(|file| layers.file(file)) {
        faults.add(fault);
    }
    layers.environment(environment);
    layers.add(&[], flags, &Origin::Flag);
    layers.remove(without);
    layers
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

    fn file(text: &str) -> (tempfile::TempDir, File) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rollcall.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path.into())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let (_folder, file) = file("");
        assert_eq!(load::<Raw>(Some(&file), &[], Table::new()).unwrap(), Raw::default());
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let (_folder, file) =
            file("name = 'file'\nretries = 1\n[http]\nlisten = '127.0.0.1:1'\n[kafka]\nbootstrap = 'file:9092'\n");
        let environment =
            variables(&[("ROLLCALL_NAME", "environment"), ("ROLLCALL_HTTP__LISTEN", "127.0.0.1:2"), ("OTHER", "x")]);
        let flags = "[http]\nlisten = '127.0.0.1:3'".parse().unwrap();
        let raw: Raw = load(Some(&file), &environment, flags).unwrap();
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
        let (_folder, file) =
            file("retries = 'hunter2'\ntypo = 1\n[other]\nx = 1\n[http]\nlissen = 'x'\nconnections_max = -1\n");
        let environment = variables(&[("ROLLCALL_KAFKA__BOOTSTRAPP", "x")]);
        let faults = load::<Raw>(Some(&file), &environment, Table::new()).unwrap_err();
        let shown = faults.to_string();
        assert_eq!(faults.iter().count(), 6, "{shown}");
        for key in [
            "retries (",
            "typo (",
            "other (",
            "http.lissen (",
            "http.connections_max (",
            "kafka.bootstrapp (ROLLCALL_KAFKA__BOOTSTRAPP)",
        ] {
            assert!(shown.contains(key), "{key} is missing in\n{shown}");
        }
        assert!(!shown.contains("hunter2"), "a value is never shown: {shown}");
    }

    /// Refuses every value.
    #[derive(Debug)]
    struct Refusing;

    impl TryFrom<Raw> for Refusing {
        type Error = Faults;

        fn try_from(_: Raw) -> Result<Self, Faults> {
            let mut faults = Faults::default();
            for key in ["name", "http.listen", "kafka.bootstrap", "kafka.properties.acks", "keys.0.x", "retries"] {
                faults.push(key, "refused");
            }
            Err(faults)
        }
    }

    #[test]
    fn a_value_that_validation_refuses_is_named_with_where_it_was_set() {
        let (_folder, file) = file("name = 'x'\nkeys = ['a']\n[http]\nlisten = 'x'\n[kafka.properties]\nacks = 1\n");
        let environment = variables(&[("ROLLCALL_KAFKA__BOOTSTRAP", "x"), ("ROLLCALL_NAME", "y")]);
        let flags = "[http]\nlisten = 'y'".parse().unwrap();
        let faults = load_valid::<Raw, Refusing>(&[], Some(&file), &environment, flags, |_| ()).unwrap_err();
        let of_file = file.path().display();
        let expected = [
            "name (ROLLCALL_NAME): refused",
            "http.listen (flag): refused",
            "kafka.bootstrap (ROLLCALL_KAFKA__BOOTSTRAP): refused",
            &format!("kafka.properties.acks ({of_file}): refused"),
            &format!("keys.0.x ({of_file}): refused"),
            // Nobody has set it.
            "retries: refused",
        ];
        assert_eq!(faults.to_string().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_invalid_toml_file_is_reported_by_line_and_not_quoted() {
        let (_folder, file) = file("name = 'x'\nkeys = hunter2\n");
        let shown = load::<Raw>(Some(&file), &[], Table::new()).unwrap_err().to_string();
        assert!(shown.contains("line 2"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let missing = load::<Raw>(Some(&"/nowhere.toml".into()), &[], Table::new()).unwrap_err().to_string();
        assert!(missing.contains("/nowhere.toml: cannot be read"), "{missing}");
    }
}
