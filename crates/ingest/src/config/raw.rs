//! The configuration of ingest as written: a struct for each section, with its defaults.

use std::path::PathBuf;

use domain::topics::BODY_BYTES_MAX;
use serde::{Deserialize, Serialize};
use service::secret::Secret;
use service::settings::{Admin, Http, Kafka, Log, Topics};

/// The configuration as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    pub http: Http,
    pub admin: Admin,
    pub kafka: Kafka,
    pub topics: Topics,
    pub webhook: Webhook,
    pub security: Security,
    pub keeper: KeeperSwitch,
    pub log: Log,
}

/// `[keeper]`: the part of the service that a replica can do without.
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
    pub body_bytes_max: usize,
    pub body_read_ms: u64,
    /// How long Kafka may take to acknowledge before the sender is answered 503.
    pub publish_deadline_ms: u64,
    /// Requests in hand at a time; the next is answered 503 at once.
    pub requests_max: usize,
    /// Records that wait for their acknowledgement; the next request is answered 503 at once.
    pub queue_records_max: u32,
    pub queue_kib_max: u32,
    /// Answer 200 instead of 422, once the dead letter is kept: the sender then does not try again. The one 200 without
    /// an event in Kafka; its body says so.
    pub refused_is_ok: bool,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            path: "/webhooks/users".to_owned(),
            // A user is a kilobyte; an event holds two, and base64 adds a third.
            body_bytes_max: BODY_BYTES_MAX,
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
