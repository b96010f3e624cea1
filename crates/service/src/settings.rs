//! The configuration sections that every service has, raw: as written, before validation.

mod http;

mod kafka;

mod oauth;

mod registry;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use domain::position::PARTITIONS_MAX;
use domain::topics::{Names, PARTITIONS_DEFAULT};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::client::{self, Credentials, Endpoint};
use crate::config::Faults;
use crate::telemetry::{self, Format, chain};

pub use http::Http;
pub use kafka::Kafka;
pub use oauth::OAuth;
pub use registry::Registry;

/// `[topics]`: the names of the topics that every deployment has, and the number of partitions of the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topics {
    pub users: String,
    pub late: String,
    pub dead_letter: String,
    /// The partitions of the users topic.
    pub partitions: i32,
}

impl Default for Topics {
    fn default() -> Self {
        Names::default().into()
    }
}

impl From<Names> for Topics {
    fn from(Names { users, late, dead_letter, state: _ }: Names) -> Self {
        Self { users, late, dead_letter, partitions: PARTITIONS_DEFAULT }
    }
}

impl From<Topics> for Names {
    fn from(Topics { users, late, dead_letter, partitions: _ }: Topics) -> Self {
        Self { users, late, dead_letter, state: None }
    }
}

/// Kafka's limit on the length of a topic name.
const TOPIC_NAME_MAX: usize = 249;

impl Topics {
    /// Adds a fault for each name that Kafka does not accept or that another topic has, and for a number of partitions
    /// that readers refuse.
    pub fn check(&self, faults: &mut Faults) {
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            let reason = format!("expected 1 to {PARTITIONS_MAX}: readers name a position of each in one header");
            faults.push("topics.partitions", reason);
        }
        let named = self.named();
        for (index, (key, name)) in named.into_iter().enumerate() {
            check_topic(key, name, faults);
            check_distinct(key, name, named.iter().take(index), faults);
        }
    }

    /// Returns the names with their keys.
    fn named(&self) -> [(&'static str, &str); 3] {
        [("topics.users", &self.users), ("topics.late", &self.late), ("topics.dead_letter", &self.dead_letter)]
    }
}

/// Adds a fault of `key` for a name that one of the others has.
fn check_distinct<'n>(
    key: &str,
    name: &str,
    others: impl IntoIterator<Item = &'n (&'static str, &'n str)>,
    faults: &mut Faults,
) {
    if let Some((other, _)) = others.into_iter().find(|(_, other)| *other == name && !name.is_empty()) {
        faults.push(key, format!("expected another name than that of {other}: each is a topic of its own"));
    }
}

/// Adds a fault of `key` for a name that Kafka does not accept.
fn check_topic(key: &str, name: &str, faults: &mut Faults) {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let length = 1..=TOPIC_NAME_MAX;
    if !length.contains(&name.len()) || !name.bytes().all(legal) || matches!(name, "." | "..") {
        let expected = "expected the name of a topic: 1 to 249 of A-Z a-z 0-9 . _ -, and neither . nor ..";
        faults.push(key, expected);
    }
}

/// `[state_topic]`: the topic with the current user of every key, flat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateTopic {
    pub enabled: bool,
    pub topic: String,
}

impl Default for StateTopic {
    fn default() -> Self {
        Self { enabled: false, topic: "vcc.users.state".to_owned() }
    }
}

impl StateTopic {
    const KEY: &str = "state_topic.topic";

    /// Returns the name of the topic if it is written. Adds a fault for a name that Kafka does not accept, or that one
    /// of the others has.
    pub fn name(self, others: &Topics, faults: &mut Faults) -> Option<String> {
        check_topic(Self::KEY, &self.topic, faults);
        if self.enabled {
            check_distinct(Self::KEY, &self.topic, &others.named(), faults);
        }
        self.enabled.then_some(self.topic)
    }
}

/// `[admin]`: the listener for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// `address:port`; empty means the service's default.
    pub listen: String,
}

/// `[log]`: the level and the format of the logs.
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
    /// Adds a fault when the filter cannot be parsed.
    pub fn check(&self, faults: &mut Faults) {
        if let Err(error) = telemetry::parse(&self.filter) {
            faults.push("log.filter", chain(&error));
        }
    }
}

/// Returns the address in `listen`, or `default` when it is empty. Any other text adds a fault of `key`.
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

/// Adds a fault where both listeners of a service have one address. Port 0 is a free port, another each time.
pub fn check_listeners(http: SocketAddr, admin: SocketAddr, faults: &mut Faults) {
    if http == admin && http.port() != 0 {
        faults.push("admin.listen", format!("{admin} is http.listen too"));
    }
}

/// Returns the networks in `texts`; a bare address is a network of one address. Any other text adds a fault of `key`.
pub fn networks(key: &str, texts: &[String], faults: &mut Faults) -> Vec<IpNet> {
    let network = |text: &String| {
        let read = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        if read.is_none() {
            faults.push(key, format!("{text:?} is not a network in CIDR notation"));
        }
        read
    };
    texts.iter().filter_map(network).collect()
}

/// Returns the server at `url`, the value of `key`, as asked with these credentials. Adds a fault for an address that
/// cannot be used, and one for a file without authorities, the value of `ca_key`; an empty path is no file.
pub fn endpoint(
    (key, url): (&str, &str),
    (ca_key, ca_file): (&str, &Path),
    credentials: Credentials,
    timeout: Duration,
    faults: &mut Faults,
) -> Option<Endpoint> {
    let authorities = (!ca_file.as_os_str().is_empty()).then_some(ca_file);
    let ca_fault = authorities.and_then(|file| client::check_authorities(file).err());
    if let Some(error) = &ca_fault {
        faults.push(ca_key, chain(error));
    }
    // A file with a fault is left out, so that it does not hide a fault of the address.
    let endpoint = Endpoint::new(url, credentials, authorities.filter(|_| ca_fault.is_none()), timeout);
    endpoint.map_err(|error| faults.push(key, chain(&error))).ok().filter(|_| ca_fault.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_listeners_need_two_addresses() {
        for (http, admin, is_fault) in [
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "127.0.0.1:8081", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let mut faults = Faults::default();
            check_listeners(http.parse().unwrap(), admin.parse().unwrap(), &mut faults);
            assert_eq!(!faults.is_empty(), is_fault, "{http} {admin}");
        }
    }

    #[test]
    fn names_of_topics_are_those_that_kafka_takes() {
        let long = "x".repeat(250);
        for (name, taken) in [
            ("vcc.people", true),
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
    fn each_topic_has_a_name_of_its_own_and_partitions_that_fit_a_header() {
        let keys_of = |topics: &Topics, state: StateTopic| {
            let mut faults = Faults::default();
            topics.check(&mut faults);
            state.name(topics, &mut faults);
            faults.iter().map(|fault| fault.key.clone()).collect::<Vec<_>>()
        };
        let named = |users: &str, late: &str, dead_letter: &str| Topics {
            users: users.to_owned(),
            late: late.to_owned(),
            dead_letter: dead_letter.to_owned(),
            ..Topics::default()
        };
        let state = |enabled| StateTopic { enabled, topic: "a".to_owned() };
        assert_eq!(keys_of(&named("a", "b", "c"), state(false)), [""; 0]);
        assert_eq!(keys_of(&named("a", "b", "c"), state(true)), ["state_topic.topic"]);
        assert_eq!(keys_of(&named("a", "a", "c"), state(false)), ["topics.late"]);
        assert_eq!(keys_of(&named("a", "b", "b"), state(false)), ["topics.dead_letter"]);
        assert_eq!(keys_of(&named("b", "b", "b"), state(true)), ["topics.late", "topics.dead_letter"]);
        for (partitions, taken) in [(0, false), (1, true), (PARTITIONS_MAX, true), (PARTITIONS_MAX + 1, false)] {
            let keys = keys_of(&Topics { partitions, ..Topics::default() }, StateTopic::default());
            assert_eq!(keys.is_empty(), taken, "{partitions}: {keys:?}");
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
}
