//! The configuration of ingest: raw as in the file, then validated.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use kafka::ClientOptions;
use serde::{Deserialize, Serialize};
use service::config::Faults;
use service::secret::Secret;
use service::serve;
use service::settings::{self, Admin, Http, Kafka, Log, listen_address};

use crate::Topics;
use crate::transport::{BodyCipher, BodyKey, BodyPolicy, Policy, SenderPolicy};

/// Where webhooks are received unless the configuration says otherwise.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8080);
/// Where the admin routes are; not for the internet.
pub const ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

/// The configuration as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    pub kafka: Kafka,
    pub topics: settings::Topics,
    pub http: Http,
    pub admin: Admin,
    pub log: Log,
    pub webhook: Webhook,
    pub security: Security,
    pub keeper: Part,
    pub gate: Part,
}

/// `[keeper]` and `[gate]`: parts of the service that a replica can do without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Part {
    pub enabled: bool,
}

impl Default for Part {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `[webhook]`: the route, and what a request may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    pub path: String,
    pub body_bytes_max: usize,
    pub body_read_ms: u64,
    /// How long Kafka may take to acknowledge before the sender is told to come again.
    pub publish_deadline_ms: u64,
    /// Requests in hand at a time; the next is told to come again at once.
    pub requests_max: usize,
    /// Records that wait for their acknowledgement; the next request is told to come again at once.
    pub queue_records_max: u32,
    pub queue_kib_max: u32,
    /// Answer 200 instead of 422, once the dead letter is kept: the sender then does not try again. The one 200 without an event
    /// in Kafka; its body says so.
    pub refused_is_ok: bool,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            path: "/webhooks/users".to_owned(),
            // A user is a kilobyte; an event holds two, and base64 adds a third.
            body_bytes_max: 64 * 1024,
            body_read_ms: 10_000,
            publish_deadline_ms: 10_000,
            // With bodies at their limit these hold 64 MiB.
            requests_max: 256,
            queue_records_max: kafka::publish::QUEUE_MESSAGES,
            queue_kib_max: kafka::publish::QUEUE_KBYTES,
            refused_is_ok: false,
        }
    }
}

/// `[security]`: who may send, and how bodies are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// Live values of the URL's `secret-key`; more than one while it is changed.
    pub secret_keys: Vec<Secret>,
    /// Files that hold one each.
    pub secret_key_files: Vec<PathBuf>,
    /// Take requests without a secret. Whoever finds the URL can then write users.
    pub allow_unauthenticated: bool,
    /// Networks (CIDR) that requests may come from; empty means any.
    pub allowed_sources: Vec<String>,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// Live keys of the body encryption; more than one while it is changed.
    pub body_keys: Vec<RawBodyKey>,
    /// Take clear-text bodies although there are body keys.
    pub clear_text_too: bool,
}

/// `[[security.body_keys]]`: one key of the body encryption.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBodyKey {
    /// The cipher method as set at the vendor's: `aes-256-ctr`.
    pub cipher: String,
    pub key: Option<Secret>,
    /// A file that holds the key.
    pub key_file: Option<PathBuf>,
}

/// A configuration that can be run.
#[derive(Debug)]
pub struct Config {
    pub kafka: ClientOptions,
    pub topics: Topics,
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub http: serve::Limits,
    /// For [`Http::tls`], which needs a runtime.
    pub tls: Http,
    pub log: Log,
    pub policy: Policy,
    pub path: String,
    pub body_bytes_max: usize,
    pub body_read: Duration,
    pub publish: kafka::publish::Limits,
    pub requests_max: usize,
    pub refused_is_ok: bool,
    pub keeper: bool,
    pub gate: bool,
}

impl TryFrom<Raw> for Config {
    type Error = Faults;

    fn try_from(raw: Raw) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let kafka = ClientOptions {
            bootstrap: raw.kafka.bootstrap,
            client_id: raw.kafka.client_id,
            properties: raw.kafka.properties,
        };
        for fault in kafka.validate() {
            faults.push("kafka", fault);
        }
        let http = raw.http.limits(&mut faults);
        raw.http.check_tls(&mut faults);
        raw.topics.check(&mut faults);
        raw.log.check(&mut faults);
        let webhook = raw.webhook;
        // The router takes braces, and a colon or an asterisk before a segment, for patterns of today or of before, and panics.
        if !webhook.path.starts_with('/')
            || webhook.path.contains(['{', '}', '?', '#', '*'])
            || webhook.path.contains("/:")
        {
            faults.push("webhook.path", "expected a path that begins with / and has no pattern in it");
        }
        let positive = [
            ("webhook.body_bytes_max", webhook.body_bytes_max as u64),
            ("webhook.body_read_ms", webhook.body_read_ms),
            ("webhook.publish_deadline_ms", webhook.publish_deadline_ms),
            ("webhook.requests_max", webhook.requests_max as u64),
            ("webhook.queue_records_max", webhook.queue_records_max.into()),
            ("webhook.queue_kib_max", webhook.queue_kib_max.into()),
        ];
        for (key, value) in positive {
            if value == 0 {
                faults.push(key, "expected at least 1");
            }
        }
        let publish = kafka::publish::Limits {
            deadline: Duration::from_millis(webhook.publish_deadline_ms),
            queue_messages: webhook.queue_records_max,
            queue_kbytes: webhook.queue_kib_max,
        };
        let config = Self {
            kafka,
            topics: Topics { users: raw.topics.users, late: raw.topics.late, dead_letter: raw.topics.dead_letter },
            listen: listen_address("http.listen", &raw.http.listen, LISTEN, &mut faults),
            admin_listen: listen_address("admin.listen", &raw.admin.listen, ADMIN_LISTEN, &mut faults),
            http,
            tls: raw.http,
            log: raw.log,
            policy: policy(raw.security, &mut faults),
            path: webhook.path,
            body_bytes_max: webhook.body_bytes_max,
            body_read: Duration::from_millis(webhook.body_read_ms),
            publish,
            requests_max: webhook.requests_max.min(tokio::sync::Semaphore::MAX_PERMITS),
            refused_is_ok: webhook.refused_is_ok,
            keeper: raw.keeper.enabled,
            gate: raw.gate.enabled,
        };
        faults.or(config)
    }
}

fn policy(raw: Security, faults: &mut Faults) -> Policy {
    let mut secrets = raw.secret_keys;
    secrets.extend(raw.secret_key_files.iter().filter_map(|path| from_file("security.secret_key_files", path, faults)));
    if secrets.iter().any(Secret::is_empty) {
        faults.push("security.secret_keys", "an empty secret is no secret");
    }
    match (secrets.is_empty(), raw.allow_unauthenticated) {
        (true, false) => faults.push(
            "security.secret_keys",
            "expected at least one secret; to take requests from anybody, set security.allow_unauthenticated = true",
        ),
        (false, true) => {
            faults.push("security.allow_unauthenticated", "contradicts security.secret_keys: set one or the other")
        }
        (true, true) | (false, false) => {}
    }
    let keys = raw.body_keys.into_iter().enumerate().filter_map(|(index, key)| body_key(index, key, faults)).collect();
    Policy {
        sender: SenderPolicy {
            secrets,
            allowed: networks("security.allowed_sources", &raw.allowed_sources, faults),
            trusted_proxies: networks("security.trusted_proxies", &raw.trusted_proxies, faults),
        },
        body: BodyPolicy { keys, clear_text_too: raw.clear_text_too },
    }
}

fn body_key(index: usize, raw: RawBodyKey, faults: &mut Faults) -> Option<BodyKey> {
    let at = |key: &str| format!("security.body_keys.{index}.{key}");
    let cipher = BodyCipher::named(&raw.cipher).map_err(|error| faults.push(at("cipher"), error.to_string())).ok();
    let key = match (raw.key, raw.key_file) {
        (Some(key), None) => Some(key),
        (None, Some(path)) => from_file(&at("key_file"), &path, faults),
        (None, None) | (Some(_), Some(_)) => {
            faults.push(at("key"), "expected either key or key_file");
            None
        }
    };
    if key.as_ref().is_some_and(Secret::is_empty) {
        faults.push(at("key"), "an empty key is no key");
    }
    Some(BodyKey { cipher: cipher?, key: key? })
}

fn from_file(key: &str, path: &Path, faults: &mut Faults) -> Option<Secret> {
    Secret::from_file(path)
        .map_err(|error| faults.push(key, format!("{} cannot be read: {error}", path.display())))
        .ok()
}

/// A bare address is the network of itself.
fn networks(key: &str, texts: &[String], faults: &mut Faults) -> Vec<IpNet> {
    let network = |text: &String| {
        let read = text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
        if read.is_none() {
            faults.push(key, format!("{text:?} is no network in CIDR notation"));
        }
        read
    };
    texts.iter().filter_map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, Faults> {
        Config::try_from(toml::from_str::<Raw>(text).unwrap())
    }

    #[test]
    fn an_empty_file_lacks_nothing_but_the_secret() {
        let faults = config("").unwrap_err().to_string();
        assert_eq!(faults.lines().count(), 1, "{faults}");
        assert!(faults.contains("security.allow_unauthenticated = true"), "{faults}");
        assert!(config("[security]\nallow_unauthenticated = true").is_ok());
    }

    #[test]
    fn the_example_shows_every_option() {
        let text = include_str!("../../../deploy/ingest.toml");
        let raw: Raw = toml::from_str(text).unwrap();
        let shown: toml::Table = text.parse().unwrap();
        let defaults: toml::Table = toml::Table::try_from(Raw::default()).unwrap();
        for (section, keys) in &defaults {
            for key in keys.as_table().unwrap().keys() {
                assert!(shown[section].get(key).is_some(), "[{section}] {key} is not in deploy/ingest.toml");
            }
        }
        assert_eq!(raw.webhook, Webhook::default(), "the example shows the defaults");
    }

    #[test]
    fn all_faults_are_found() {
        let faults = config(
            "[kafka]\nbootstrap = ''\n[topics]\nlate = ''\n[log]\nfilter = 'ingest=loud'\n[http]\nlisten = 'x'\n[webhook]\npath = 'x'\nrequests_max = 0\n[security]\nsecret_keys = ['']\n\
             allow_unauthenticated = true\nallowed_sources = ['x']\nbody_keys = [{ cipher = 'aes-256-gcm' }, { cipher = 'x', key = 'k' }]",
        )
        .unwrap_err()
        .to_string();
        for key in [
            "kafka: ",
            "topics.late: ",
            "log.filter: ",
            "http.listen: ",
            "webhook.path: ",
            "webhook.requests_max: ",
            "security.secret_keys: ",
            "security.allow_unauthenticated: ",
            "security.allowed_sources: ",
            "security.body_keys.0.cipher: ",
            "security.body_keys.0.key: ",
            "security.body_keys.1.cipher: ",
        ] {
            assert!(faults.contains(key), "{key} is missing in\n{faults}");
        }
    }

    #[test]
    fn a_path_is_one_that_the_router_takes() {
        for path in ["", "x", "/:hook", "/a/:b/c", "/{hook}", "/a}", "/*", "/a*", "/?a", "/#a"] {
            let faults = config(&format!("[webhook]\npath = '{path}'\n[security]\nallow_unauthenticated = true"));
            assert!(faults.unwrap_err().to_string().starts_with("webhook.path: "), "{path:?}");
        }
        for path in ["/", "/hook", "/a/b:c/", "/a//b", "/ä b"] {
            let config = config(&format!("[webhook]\npath = '{path}'\n[security]\nallow_unauthenticated = true"));
            let _takes_it: axum::Router =
                axum::Router::new().route(&config.unwrap().path, axum::routing::post(|| async {}));
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let raw: Raw = toml::from_str(
            "[security]\nsecret_keys = ['hunter2']\nbody_keys = [{ cipher = 'aes-256-ctr', key = 'hunter2' }]",
        )
        .unwrap();
        let shown = format!("{raw:?}{}{:?}", toml::to_string(&raw).unwrap(), Config::try_from(raw.clone()).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
