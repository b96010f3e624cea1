//! The configuration of ingest: raw as written, then validated.

mod raw;

mod security;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use domain::User;
use domain::roll::SET_MAX;
use domain::topics::{Names, record_bytes_max};
use ipnet::IpNet;
use kafka::ClientOptions;
use kafka::client::{Credentials, MESSAGE_BYTES_MAX, OptionFault};
use service::config::{Fault, Faults};
use service::hosts::AllowedHosts;
use service::registry;
use service::serve::ServerLimits;
use service::settings::{Http, Kafka, Log, check_listeners, listen_address};

use crate::http::Methods;
use crate::transport::Policy;

pub use raw::{Event, KeeperSwitch, Raw, RawBodyKey, Security, Webhook};

/// The default address for webhooks.
const HTTP_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
/// The default address of the admin routes. Not for the internet.
const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8090);

/// A validated configuration.
#[derive(Debug)]
pub struct Config {
    pub http_listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// The section of the listener, for its TLS files: [`Http::tls`] needs a runtime.
    pub http: Http,
    pub limits: ServerLimits,
    /// The networks whose connections are preferred.
    pub preferred: Vec<IpNet>,
    pub(crate) hosts: AllowedHosts,
    pub kafka: ClientOptions,
    pub topics: Names,
    pub registry: registry::Options,
    /// The expected number of partitions of the users topic.
    pub partitions: i32,
    pub policy: Policy,
    pub path: String,
    pub(crate) methods: Methods,
    pub body_bytes_max: usize,
    pub body_read: Duration,
    pub publish: kafka::publish::Limits,
    pub requests_max: usize,
    pub refused_is_ok: bool,
    /// The budget of each source for bodies that cannot be read.
    pub undecryptable_per_minute: u32,
    pub keeper: bool,
    pub log: Log,
    /// What the operator is to be warned of.
    pub cautions: Vec<Fault>,
}

impl TryFrom<Raw> for Config {
    type Error = Faults;

    fn try_from(raw: Raw) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let Raw { http, admin, kafka, topics, registry, state_topic, webhook, event, security, keeper, log } = raw;
        kafka.check_files(&mut faults);
        // A password that cannot be read is a fault already.
        let credentials = Credentials::open(kafka.password(&mut faults)).unwrap_or_default();
        let Kafka { bootstrap, client_id, group_prefix, properties, sasl_password_file: _, oauth } = kafka;
        let tokens = oauth.tokens(&mut faults);
        let kafka = ClientOptions { bootstrap, client_id, group_prefix, properties, tokens, credentials };
        for OptionFault { key, reason } in kafka.validate() {
            faults.push(format!("kafka.{key}"), reason);
        }
        topics.check(&mut faults);
        log.check(&mut faults);
        check_webhook(&webhook, &mut faults);
        check_message_size(&kafka, webhook.body_bytes_max, &mut faults);
        if webhook.refused_is_ok && !security.body_keys.is_empty() {
            let reason = "contradicts security.body_keys: an answer that tells an event from what is none lets a \
                          stranger read an encrypted body by trials";
            faults.push("webhook.refused_is_ok", reason);
        }
        http.check_tls(&mut faults);
        let mut config = Self {
            http_listen: listen_address("http.listen", &http.listen, HTTP_DEFAULT, &mut faults),
            admin_listen: listen_address("admin.listen", &admin.listen, ADMIN_DEFAULT, &mut faults),
            limits: http.limits(&mut faults),
            preferred: http.preferred(&mut faults),
            // Webhooks come from the vendor's servers, not from pages that a browser shows.
            hosts: http.hosts(AllowedHosts::Any, &mut faults),
            http,
            kafka,
            partitions: topics.partitions,
            topics: Names { state: state_topic.name(&topics, &mut faults), ..topics.into() },
            registry: registry.options(&mut faults),
            undecryptable_per_minute: security.undecryptable_per_minute,
            policy: security::policy(security, omitted(event, &mut faults), &mut faults),
            methods: methods(&webhook.methods, &mut faults),
            path: webhook.path,
            body_bytes_max: webhook.body_bytes_max,
            body_read: Duration::from_millis(webhook.body_read_ms),
            publish: kafka::publish::Limits {
                deadline: Duration::from_millis(webhook.publish_deadline_ms),
                queue_messages: webhook.queue_records_max,
                queue_kbytes: webhook.queue_kib_max,
            },
            requests_max: webhook.requests_max.min(tokio::sync::Semaphore::MAX_PERMITS),
            refused_is_ok: webhook.refused_is_ok,
            keeper: keeper.enabled,
            log,
            cautions: Vec::new(),
        };
        check_listeners(config.http_listen, config.admin_listen, &mut faults);
        config.cautions = faults.take_cautions();
        faults.or(config)
    }
}

fn check_webhook(webhook: &Webhook, faults: &mut Faults) {
    // The router panics on braces, and on a colon or an asterisk at the start of a segment: patterns of its current or
    // its former syntax.
    let is_pattern = webhook.path.contains(['{', '}', '?', '#', '*']) || webhook.path.contains("/:");
    if !webhook.path.starts_with('/') || is_pattern {
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
}

/// Adds a fault where the event of the largest body cannot be sent, and a caution where a record that carries the most
/// such events cannot.
fn check_message_size(kafka: &ClientOptions, body_bytes_max: usize, faults: &mut Faults) {
    let key = format!("kafka.properties.{MESSAGE_BYTES_MAX}");
    let (least, advised) = (record_bytes_max(1, body_bytes_max), record_bytes_max(SET_MAX, body_bytes_max));
    let found = kafka.message_bytes_max();
    let of_body = format!("webhook.body_bytes_max is {body_bytes_max}");
    if found < least {
        faults
            .push(key, format!("is {found}, expected at least {least}, for the event of the largest body: {of_body}"));
    } else if found < advised {
        let reason = format!("is {found}; a record with {SET_MAX} of the largest events takes {advised}: {of_body}");
        faults.caution(key, reason);
    }
}

/// Returns the fields that are left out of events. Adds a fault for a name that is none of them.
fn omitted(event: Event, faults: &mut Faults) -> Vec<String> {
    let Event { mut omit } = event;
    for name in &omit {
        if !User::OMITTABLE.contains(&name.as_str()) {
            let fields = User::OMITTABLE.join(", ");
            faults.push("event.omit", format!("{name:?} cannot be left out; these can: {fields}"));
        }
    }
    omit.sort_unstable();
    omit.dedup();
    omit
}

/// Returns the methods of deliveries. Adds a fault for any other.
fn methods(names: &[String], faults: &mut Faults) -> Methods {
    let has = |method: &str| names.iter().any(|name| name == method);
    let is_known = names.iter().all(|name| ["POST", "PUT"].contains(&name.as_str()));
    match (has("POST"), has("PUT")) {
        (true, false) if is_known => Methods::POST,
        (false, true) if is_known => Methods::PUT,
        (true, true) if is_known => Methods::BOTH,
        _ => {
            faults.push("webhook.methods", "expected POST, PUT, or both");
            Methods::POST
        }
    }
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
            "[kafka]\nbootstrap = ''\n[topics]\nlate = ''\n[log]\nfilter = 'ingest=loud'\n[http]\nlisten = 'x'\n\
             [webhook]\npath = 'x'\nrequests_max = 0\nmethods = ['GET']\nrefused_is_ok = true\n\
             [event]\nomit = ['email']\n\
             [security]\nsecret_keys = ['']\nallow_unauthenticated = true\nallowed_sources = ['x']\n\
             body_keys = [{ cipher = 'aes-256-gcm' }, { cipher = 'x', key = 'k' }]",
        )
        .unwrap_err()
        .to_string();
        for key in [
            "kafka.bootstrap: ",
            "topics.late: ",
            "log.filter: ",
            "http.listen: ",
            "webhook.path: ",
            "webhook.requests_max: ",
            "webhook.methods: ",
            "webhook.refused_is_ok: ",
            "event.omit: ",
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
    fn the_event_of_the_largest_body_can_be_sent() {
        let checked = |message: Option<usize>, body: usize| {
            let set = message.map(|bytes| format!("[kafka.properties]\n'message.max.bytes' = {bytes}\n"));
            let text = format!(
                "{}[webhook]\nbody_bytes_max = {body}\n[security]\nallow_unauthenticated = true",
                set.unwrap_or_default()
            );
            match config(&text) {
                Ok(config) => (false, config.cautions.iter().any(|caution| caution.key.ends_with("message.max.bytes"))),
                Err(faults) => (faults.to_string().starts_with("kafka.properties.message.max.bytes: is "), false),
            }
        };
        for (message, body, is_fault, is_caution) in [
            (None, 64 * 1024, false, false),
            (Some(1_000), 64 * 1024, true, false),
            (Some(70_143), 64 * 1024, true, false),
            (Some(70_144), 64 * 1024, false, true),
            (Some(532_480), 64 * 1024, false, false),
            (None, 256 * 1024, false, true),
            (None, 1024 * 1024, true, false),
            (Some(16_000_000), 1024 * 1024, false, false),
        ] {
            assert_eq!(checked(message, body), (is_fault, is_caution), "{message:?} {body}");
        }
    }

    #[test]
    fn the_file_of_a_short_secret_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (short, empty) = (folder.path().join("short"), folder.path().join("empty"));
        std::fs::write(&short, "hunter2").unwrap();
        std::fs::write(&empty, "").unwrap();
        let faults = config(&format!(
            "[security]\nsecret_key_files = [{short:?}, {empty:?}]\n\
             body_keys = [{{ cipher = 'aes-256-ctr', key_file = {short:?} }}]"
        ));
        let expected = [
            format!("security.secret_key_files: {}: expected at least 8 bytes, better 16", short.display()),
            format!("security.secret_key_files: {}: expected a secret, found an empty text", empty.display()),
            format!("security.body_keys.0.key_file: {}: expected at least 8 bytes, better 16", short.display()),
        ];
        assert_eq!(faults.unwrap_err().to_string(), expected.join("\n"));
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
            "[security]\nsecret_keys = ['hunter22']\nbody_keys = [{ cipher = 'aes-256-ctr', key = 'hunter22' }]",
        )
        .unwrap();
        let shown = format!("{raw:?}{}{:?}", toml::to_string(&raw).unwrap(), Config::try_from(raw.clone()).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
