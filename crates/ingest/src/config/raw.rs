//! The configuration of ingest as written: one struct per section, with its defaults.

use std::path::PathBuf;

use domain::topics::BODY_BYTES_MAX;
use serde::{Deserialize, Serialize};
use service::secret::Secret;
use service::settings::{Admin, Http, Kafka, Log, Registry, StateTopic, Topics};

/// The most requests in progress by default: as many as there are places for connections.
const REQUESTS_MAX: usize = 1_024;
/// The most memory of their bodies by default.
const REQUESTS_BYTES_MAX: usize = 64 * 1024 * 1024;
const _: () = assert!(REQUESTS_MAX * BODY_BYTES_MAX <= REQUESTS_BYTES_MAX);

/// The configuration as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    pub http: Http,
    pub admin: Admin,
    pub kafka: Kafka,
    pub topics: Topics,
    pub registry: Registry,
    pub state_topic: StateTopic,
    pub webhook: Webhook,
    pub event: Event,
    pub security: Security,
    pub keeper: KeeperSwitch,
    pub log: Log,
}

/// `[keeper]`: the optional part of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeeperSwitch {
    pub enabled: bool,
}

impl Default for KeeperSwitch {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `[webhook]`: the route, and the limits of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    pub path: String,
    /// `POST`, `PUT`, or both: the vendor lets its user choose.
    pub methods: Vec<String>,
    pub body_bytes_max: usize,
    pub body_read_ms: u64,
    /// The longest wait for Kafka's acknowledgement. Then the sender is answered 503.
    pub publish_deadline_ms: u64,
    /// The most requests in progress. Further ones are answered 503 at once.
    pub requests_max: usize,
    /// The most records that wait for their acknowledgement. Further requests are answered 503 at once.
    pub queue_records_max: u32,
    pub queue_kib_max: u32,
    /// Answer 200 instead of 422 after the dead letter is written, so that the sender does not retry. This is the only
    /// 200 without an event in Kafka. Its body says so.
    pub refused_is_ok: bool,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            path: "/webhooks/users".to_owned(),
            methods: vec!["POST".to_owned()],
            // A user is about a kilobyte. An event contains two, and base64 adds a third.
            body_bytes_max: BODY_BYTES_MAX,
            body_read_ms: 10_000,
            publish_deadline_ms: 10_000,
            requests_max: REQUESTS_MAX,
            queue_records_max: kafka::publish::QUEUE_MESSAGES,
            queue_kib_max: kafka::publish::QUEUE_KBYTES,
            refused_is_ok: false,
        }
    }
}

/// `[event]`: the content of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Event {
    /// Optional fields of a user that are left out of events, some of [`domain::User::OMITTABLE`]. Every reader of the
    /// topic sees the others.
    pub omit: Vec<String>,
}

/// `[security]`: who may send, and how bodies are encrypted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// The live values of the URL's `secret-key`: several during a change.
    pub secret_keys: Vec<Secret>,
    /// Files with one secret each.
    pub secret_key_files: Vec<PathBuf>,
    /// Accept requests without a secret. Anyone who knows the URL can then write users.
    pub allow_unauthenticated: bool,
    /// Networks (CIDR) that requests may come from; empty means any.
    pub allowed_sources: Vec<String>,
    /// Networks of proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<String>,
    /// The live keys of the body encryption: several during a change.
    pub body_keys: Vec<RawBodyKey>,
    /// Accept clear-text bodies although there are body keys.
    pub clear_text_too: bool,
    /// Refuse encrypted bodies without a vector in the query, if their cipher takes one.
    pub require_iv: bool,
    /// The most refused bodies per minute and source, where there are body keys. Past it, 503 without decrypting. Does
    /// not apply to `allowed_sources`.
    pub undecryptable_per_minute: u32,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            secret_keys: Vec::new(),
            secret_key_files: Vec::new(),
            allow_unauthenticated: false,
            allowed_sources: Vec::new(),
            trusted_proxies: Vec::new(),
            body_keys: Vec::new(),
            clear_text_too: false,
            require_iv: false,
            // Each one is a trial for whoever has captured a body. The vendor repeats what is put off.
            undecryptable_per_minute: 10,
        }
    }
}

/// `[[security.body_keys]]`: one key of the body encryption.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawBodyKey {
    /// The cipher method as set in the vendor's configuration: `aes-256-ctr`.
    pub cipher: String,
    pub key: Option<Secret>,
    /// A file with the key.
    pub key_file: Option<PathBuf>,
}
