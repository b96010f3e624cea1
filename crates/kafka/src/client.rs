//! The options that every Kafka client of Rollcall shares.
//!
//! Settings come from three layers, later ones win: the defaults in this file, the operator's pass-through properties,
//! and the properties that Rollcall's contract fixes. The operator can tune and secure the connection in any way that
//! librdkafka offers, but cannot break a guarantee.

mod connect;
mod context;
mod credentials;
mod foreign;
mod permissions;
mod probe;
mod properties;
mod renewed;
mod validate;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use domain::TokenSource;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::Fault;
use crate::native::authorize;
use crate::tail::{COLLECTED_BYTES, COLLECTED_WAIT, Fetch};

pub use crate::native::Permissions;
pub use connect::connect;
pub(crate) use context::{TracingContext, expires_ms};
pub use credentials::Credentials;
pub(crate) use credentials::Renewable;
pub use probe::Probe;
pub(crate) use renewed::Renewed;
pub use validate::OptionFault;
pub use watch::CredentialsWatch;

/// The first pause before a reconnection. librdkafka doubles it with some randomness.
const RECONNECT_BACKOFF_MS: &str = "100";
/// The longest pause before a reconnection. librdkafka's default of 10 s would add as much to every outage.
const RECONNECT_BACKOFF_MS_MAX: &str = "2000";
/// The time limit to set up a connection, TLS and SASL included.
const CONNECTION_SETUP_MS_MAX: &str = "10000";
/// The interval of metadata refreshes. With librdkafka's default of 5 minutes a moved cluster would go unnoticed as
/// long.
const METADATA_REFRESH_MS: &str = "60000";

/// The property with the size of the largest record that a producer sends.
pub const MESSAGE_BYTES_MAX: &str = "message.max.bytes";
/// librdkafka's default of it.
const MESSAGE_BYTES_MAX_DEFAULT: usize = 1_000_000;

/// The isolation of a client that sees past an open transaction.
const READ_UNCOMMITTED: &str = "read_uncommitted";

/// The address of the cluster, and how to connect to it.
#[derive(Clone)]
pub struct ClientOptions {
    /// `host:port`, several separated by commas.
    pub bootstrap: String,
    /// The name of this client in the cluster's logs and quotas.
    pub client_id: String,
    /// The prefix of the names of consumer groups.
    pub group_prefix: String,
    /// librdkafka settings, passed through unchanged. They can include secrets.
    pub properties: BTreeMap<String, String>,
    /// Where the clients get their tokens from, for `sasl.mechanism = OAUTHBEARER`.
    pub tokens: Option<Arc<dyn TokenSource>>,
    /// The credentials in files.
    pub credentials: Credentials,
}

impl ClientOptions {
    /// Returns options for a cluster at that address, without further properties.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        let client_id = "rollcall".to_owned();
        let group_prefix = GROUP_PREFIX.to_owned();
        let (bootstrap, properties, credentials) = (bootstrap.into(), BTreeMap::new(), Credentials::default());
        Self { bootstrap, client_id, group_prefix, properties, tokens: None, credentials }
    }

    /// Returns the name of a consumer group, by its name within Rollcall.
    pub fn group(&self, name: &str) -> String {
        format!("{}-{name}", self.group_prefix)
    }

    /// Returns the size of the largest record that a producer sends.
    pub fn message_bytes_max(&self) -> usize {
        let set = self.properties.get(MESSAGE_BYTES_MAX).and_then(|bytes| bytes.parse().ok());
        set.unwrap_or(MESSAGE_BYTES_MAX_DEFAULT)
    }

    /// Returns the settings that all kinds of clients share.
    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("reconnect.backoff.ms", RECONNECT_BACKOFF_MS)
            .set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MS_MAX)
            .set("socket.connection.setup.timeout.ms", CONNECTION_SETUP_MS_MAX)
            .set("socket.keepalive.enable", "true")
            .set("topic.metadata.refresh.interval.ms", METADATA_REFRESH_MS);
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        if let Some(password) = self.credentials.password() {
            config.set("sasl.password", password);
        }
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", &self.client_id)
            // Topics are created by `rollcall topics create` only: an automatically created topic would not be
            // compacted.
            .set("allow.auto.create.topics", "false")
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// Returns the settings of a client that reads or inspects topics.
    ///
    /// librdkafka requires a group name even for a consumer with manual assignment. Such a client never joins the group
    /// and never commits to it.
    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", self.group(group))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            // The cleaner removes the records of an aborted transaction, so a table of them could not be made again.
            .set("isolation.level", "read_committed");
        config
    }

    /// Returns a client that sees past an open transaction. A broker answers a reader of committed records that the log
    /// ends where the first open transaction begins.
    pub(crate) fn uncommitted_reader(&self) -> Result<BaseConsumer<TracingContext>, Fault> {
        let mut config = self.consumer(UNJOINED_GROUP);
        config.set("isolation.level", READ_UNCOMMITTED);
        self.authorized(&config)
    }

    /// Returns a client with manual assignment that fetches so, unless the operator has other settings. Where clients
    /// need a token it has one, so the call can block.
    pub(crate) fn reader(&self, fetch: Fetch) -> Result<BaseConsumer<TracingContext>, Fault> {
        let mut config = self.consumer(UNJOINED_GROUP);
        let (bytes, wait) = (COLLECTED_BYTES.to_string(), COLLECTED_WAIT.as_millis().to_string());
        for (name, value) in [("fetch.min.bytes", bytes), ("fetch.wait.max.ms", wait)] {
            if fetch == Fetch::Collected && config.get(name).is_none() {
                config.set(name, value);
            }
        }
        self.authorized(&config)
    }

    /// Returns a client for requests about topics. Where clients need a token it has one, so the call can block.
    ///
    /// It has no group: with one, librdkafka would look for the group's coordinator, and log errors about it when the
    /// client is closed meanwhile.
    pub(crate) fn inquirer(&self) -> Result<BaseConsumer<TracingContext>, Fault> {
        self.authorized(&self.base())
    }

    /// Returns a client like [`Self::inquirer`], to which the log does not end where an open transaction begins.
    pub(crate) fn uncommitted_inquirer(&self) -> Result<BaseConsumer<TracingContext>, Fault> {
        let mut config = self.base();
        config.set("isolation.level", READ_UNCOMMITTED);
        self.authorized(&config)
    }

    fn authorized(&self, config: &ClientConfig) -> Result<BaseConsumer<TracingContext>, Fault> {
        let client: BaseConsumer<_> = config.create_with_context(self.context())?;
        authorize(client.client())?;
        Ok(client)
    }

    /// Returns the settings of a client that writes.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        config.set("acks", "all").set("enable.idempotence", "true").set("partitioner", "murmur2_random");
        config
    }

    /// Returns the settings of a client that creates and describes topics.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.base()
    }

    pub(crate) fn context(&self) -> TracingContext {
        let mut secrets = properties::secrets(&self.properties);
        secrets.extend(self.credentials.password());
        TracingContext::new(secrets, self.tokens.clone(), properties::has_certificate(&self.properties))
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values of properties may be secrets, so only names are shown.
        f.debug_struct("ClientOptions")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("group_prefix", &self.group_prefix)
            .field("properties", &self.properties.keys())
            .field("tokens", &self.tokens)
            .field("credentials", &self.credentials)
            .finish()
    }
}

/// The default prefix of the names of consumer groups.
pub const GROUP_PREFIX: &str = "rollcall";
/// The group of clients with manual assignment, by its name within Rollcall.
pub(crate) const UNJOINED_GROUP: &str = "unjoined";

/// Returns the version of librdkafka.
#[must_use]
pub fn library_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> ClientOptions {
        let mut options = ClientOptions::new("localhost:9092");
        options.properties.insert(name.to_owned(), value.to_owned());
        options
    }

    #[test]
    fn the_contract_wins_over_the_operator() {
        let config = with("acks", "1").producer();
        assert_eq!(config.get("acks"), Some("all"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let options = with("sasl.password", "hunter2");
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
