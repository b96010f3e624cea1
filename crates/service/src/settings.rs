//! The sections that every service's configuration has, raw: as written, before validation.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use domain::client_property::is_secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Faults;
use crate::secret::REDACTED;
use crate::serve::Limits;
use crate::telemetry::{self, Format, chain};
use crate::tls::{self, Tls};

/// `[kafka]`: the cluster, and any librdkafka setting passed through.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// Addresses to begin with: `host:port`, parted by commas.
    pub bootstrap: String,
    pub client_id: String,
    /// librdkafka's settings, by its names; numbers and booleans may be written as such.
    #[serde(deserialize_with = "scalars_as_text", serialize_with = "without_secrets")]
    pub properties: BTreeMap<String, String>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self { bootstrap: "127.0.0.1:9092".to_owned(), client_id: "rollcall".to_owned(), properties: BTreeMap::new() }
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<_, _> = self.properties.iter().map(|(name, value)| (name, shown(name, value))).collect();
        f.debug_struct("Kafka")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("properties", &shown)
            .finish()
    }
}

/// `[topics]`: the names of the three topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topics {
    pub users: String,
    pub late: String,
    pub dead_letter: String,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            users: "vcc.users".to_owned(),
            late: "vcc.users.late".to_owned(),
            dead_letter: "vcc.users.dead-letter".to_owned(),
        }
    }
}

/// Kafka's own limit on the name of a topic.
const TOPIC_NAME_MAX: usize = 249;

impl Topics {
    /// Adds a fault for each name that is none for Kafka.
    pub fn check(&self, faults: &mut Faults) {
        for (key, name) in
            [("topics.users", &self.users), ("topics.late", &self.late), ("topics.dead_letter", &self.dead_letter)]
        {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            let length = 1..=TOPIC_NAME_MAX;
            if !length.contains(&name.len()) || !name.bytes().all(legal) || matches!(name.as_str(), "." | "..") {
                let expected = "expected the name of a topic: 1 to 249 of A-Z a-z 0-9 . _ -, and neither . nor ..";
                faults.push(key, expected);
            }
        }
    }
}

/// `[http]`: the listener that the service is there for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// `address:port`; the default is set by each service. Empty means that default.
    pub listen: String,
    pub connections_max: usize,
    pub header_read_ms: u64,
    pub header_bytes_max: usize,
    pub drain_ms: u64,
    pub tls_certificate_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Self {
        let limits = Limits::default();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).expect("a default is seconds, not ages");
        Self {
            listen: String::new(),
            connections_max: limits.connections_max,
            header_read_ms: millis(limits.header_read),
            header_bytes_max: limits.header_bytes_max,
            drain_ms: millis(limits.drain),
            tls_certificate_file: None,
            tls_key_file: None,
        }
    }
}

impl Http {
    /// hyper's own minimum for the buffer that a request's head is read into.
    const HEADER_BYTES_MIN: usize = 8192;

    /// Returns the limits that the section sets; what is out of range is added to `faults`.
    pub fn limits(&self, faults: &mut Faults) -> Limits {
        if self.connections_max == 0 {
            faults.push("http.connections_max", "expected at least 1");
        }
        if self.header_bytes_max < Self::HEADER_BYTES_MIN {
            faults.push("http.header_bytes_max", format!("expected at least {}", Self::HEADER_BYTES_MIN));
        }
        if self.header_read_ms == 0 {
            faults.push("http.header_read_ms", "expected at least 1");
        }
        Limits {
            connections_max: self.connections_max.max(1),
            header_read: Duration::from_millis(self.header_read_ms),
            header_bytes_max: self.header_bytes_max.max(Self::HEADER_BYTES_MIN),
            drain: Duration::from_millis(self.drain_ms),
            ..Limits::default()
        }
    }

    /// Returns the TLS that the section asks for, if it does. To be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`tls::Error`] when certificate and key cannot be used. That both or none are named is for [`Http::check_tls`].
    pub fn tls(&self) -> Result<Option<Tls>, tls::Error> {
        match self.tls_files() {
            (Some(certificate), Some(key)) => {
                Tls::open(certificate.clone(), key.clone(), tls::RELOAD_INTERVAL).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// An empty name is none: so an example can show the key.
    fn tls_files(&self) -> (Option<&PathBuf>, Option<&PathBuf>) {
        fn named(file: Option<&PathBuf>) -> Option<&PathBuf> {
            file.filter(|path| !path.as_os_str().is_empty())
        }
        (named(self.tls_certificate_file.as_ref()), named(self.tls_key_file.as_ref()))
    }

    /// Adds a fault when a certificate is named without a key, a key without a certificate, or two that cannot be used.
    pub fn check_tls(&self, faults: &mut Faults) {
        match self.tls_files() {
            (Some(_), None) => faults.push("http.tls_key_file", "expected beside tls_certificate_file"),
            (None, Some(_)) => faults.push("http.tls_certificate_file", "expected beside tls_key_file"),
            (Some(certificate), Some(key)) => {
                if let Err(error) = Tls::check(certificate, key) {
                    let at = match error {
                        tls::Error::Key { .. } => "http.tls_key_file",
                        tls::Error::File { .. } | tls::Error::Certificate { .. } | tls::Error::Defaults(_) => {
                            "http.tls_certificate_file"
                        }
                    };
                    faults.push(at, chain(&error));
                }
            }
            (None, None) => {}
        }
    }
}

/// `[admin]`: the listener for those who run the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// `address:port`; empty means the service's default.
    pub listen: String,
}

/// `[log]`: what is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: Format,
    /// A level, or levels by target: `info`, `warn,ingest=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Format::Text, filter: "info".to_owned() }
    }
}

impl Log {
    /// Adds a fault when the filter is none.
    pub fn check(&self, faults: &mut Faults) {
        if let Err(error) = telemetry::parse(&self.filter) {
            faults.push("log.filter", chain(&error));
        }
    }
}

/// Returns the address that `listen` names, or `default` when it is empty; what is neither is a fault of `key`.
pub fn listen_address(key: &str, listen: &str, default: SocketAddr, faults: &mut Faults) -> SocketAddr {
    if listen.is_empty() {
        return default;
    }
    match listen.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()) {
        Some(address) => address,
        None => {
            faults.push(key, "expected address:port");
            default
        }
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

/// `"sasl.username"` is one key in TOML only when quoted; unquoted it is a table in a table, and means the same here.
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
            "[properties]\n'sasl.password' = 'hunter2'\n'sasl.jaas.config' = 'hunter2'\n\
             'sasl.oauthbearer.token' = 'hunter2'\n'sasl.username' = 'u'",
        )
        .unwrap();
        let shown = format!("{kafka:?}{}", toml::to_string(&kafka).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("sasl.username"), "{shown}");
    }

    #[test]
    fn names_of_topics_are_those_that_kafka_takes() {
        let long = "x".repeat(250);
        for (name, taken) in [
            ("vcc.users", true),
            ("VCC_users-2", true),
            (long.get(1..).unwrap(), true),
            ("", false),
            (".", false),
            ("..", false),
            ("vcc users", false),
            ("vcc/users", false),
            ("bénutzer", false),
            (long.as_str(), false),
        ] {
            let mut faults = Faults::default();
            Topics { late: name.to_owned(), ..Topics::default() }.check(&mut faults);
            let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
            assert_eq!(keys, if taken { vec![] } else { vec!["topics.late"] }, "{name:?}");
        }
    }

    #[test]
    fn filters_are_read_before_they_are_needed() {
        for (filter, read) in [("info", true), ("warn,ingest=debug", true), ("ingest=loud", false), ("a=b=c", false)] {
            let mut faults = Faults::default();
            Log { filter: filter.to_owned(), ..Log::default() }.check(&mut faults);
            assert_eq!(faults.is_empty(), read, "{filter:?}: {faults}");
        }
    }

    #[test]
    fn tls_files_are_loaded_before_they_are_needed() {
        let mut faults = Faults::default();
        let (here, gone) = (tempfile::NamedTempFile::new().unwrap(), PathBuf::from("/no/such/key.pem"));
        let http = |certificate: &std::path::Path, key: &std::path::Path| Http {
            tls_certificate_file: Some(certificate.to_owned()),
            tls_key_file: Some(key.to_owned()),
            ..Http::default()
        };
        http(here.path(), &gone).check_tls(&mut faults);
        http(here.path(), here.path()).check_tls(&mut faults);
        let shown = faults.to_string();
        assert_eq!(faults.iter().count(), 2, "{shown}");
        assert!(shown.contains("/no/such/key.pem cannot be read") && shown.contains("no PEM certificate"), "{shown}");
    }

    #[test]
    fn limits_out_of_range_are_faults() {
        let mut faults = Faults::default();
        let http = Http {
            connections_max: 0,
            header_bytes_max: 1,
            header_read_ms: 0,
            tls_key_file: Some("k".into()),
            ..Http::default()
        };
        http.limits(&mut faults);
        http.check_tls(&mut faults);
        listen_address("http.listen", "nowhere", ([127, 0, 0, 1], 1).into(), &mut faults);
        assert_eq!(faults.iter().count(), 5, "{faults}");
    }
}
