//! The librdkafka properties that an operator may set.

use std::collections::BTreeMap;

use domain::client_property::is_secret;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

/// Properties that a guarantee of Rollcall depends on, each with the guarantee or with the setting that replaces it.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set `bootstrap` instead"),
    ("metadata.broker.list", "set `bootstrap` instead"),
    ("client.id", "set `client_id` instead"),
    ("acks", "a 200 means that all in-sync replicas have the record"),
    ("request.required.acks", "a 200 means that all in-sync replicas have the record"),
    ("enable.idempotence", "a retry must not append a record twice"),
    ("enable.gapless.guarantee", "one lost record must not stop the others"),
    ("transactional.id", "records are published one by one"),
    ("partitioner", "keys are placed as JVM clients place them"),
    ("message.timeout.ms", "the publish deadline sets it"),
    ("delivery.timeout.ms", "the publish deadline sets it"),
    ("queue.buffering.max.messages", "the publish limits set it"),
    ("queue.buffering.max.kbytes", "the publish limits set it"),
    ("group.id", "readers keep their own positions"),
    ("group.instance.id", "readers keep their own positions"),
    ("group.protocol", "the keeper's group reads from the beginning after every change"),
    ("enable.auto.commit", "readers keep their own positions"),
    ("auto.commit.enable", "readers keep their own positions"),
    ("enable.auto.offset.store", "readers keep their own positions"),
    ("auto.offset.reset", "a position outside the log is an error, never skipped"),
    ("isolation.level", "the records of an aborted transaction do not count"),
    ("enable.partition.eof", "readers must know where the log ends"),
    ("allow.auto.create.topics", "an automatically created topic would not be compacted"),
    ("sasl.oauthbearer.method", "set `kafka.oauth` instead: the client library is built without OpenID Connect"),
    ("enable.sasl.oauthbearer.unsecure.jwt", "set `kafka.oauth` instead: its tokens would not be renewed"),
    ("test.mock.num.brokers", "it would replace the cluster by an in-memory one"),
];

/// Properties that name a file, which must be there where connections are secured.
const FILES: [&str; 5] =
    ["ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location", "ssl.crl.location"];
/// The value of `ssl.ca.location` that names no file.
const PROBE: &str = "probe";

/// Returns one sentence, by its name, for each property that may not be set, that librdkafka refuses, or that names a
/// file which cannot be read.
pub(super) fn faults(properties: &BTreeMap<String, String>) -> BTreeMap<&str, String> {
    let protocol = properties.get("security.protocol");
    let is_tls = protocol.is_some_and(|protocol| protocol.to_ascii_uppercase().ends_with("SSL"));
    let each = properties.iter();
    each.filter_map(|(name, value)| fault(name, value, is_tls).map(|fault| (name.as_str(), fault))).collect()
}

fn fault(name: &str, value: &str, is_tls: bool) -> Option<String> {
    if let Some((_, why)) = OWNED.iter().find(|(owned, _)| *owned == name) {
        return Some(format!("properties.{name}: reserved by Rollcall: {why}"));
    }
    if is_tls
        && FILES.contains(&name)
        && value != PROBE
        && let Err(error) = std::fs::File::open(value)
    {
        return Some(format!("properties.{name}: the file cannot be read: {error}"));
    }
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(_, reason, _, _)) if !is_secret(name) => {
            Some(format!("properties.{name}: {reason}"))
        }
        // librdkafka's reason quotes the value.
        Err(_) => Some(format!("properties.{name}: the client library refuses the value")),
    }
}

/// Returns whether the property is about the security of connections.
pub(super) fn is_security(name: &str) -> bool {
    ["security.", "sasl.", "ssl.", "enable.ssl.", "enable.sasl."].iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the fault of a mechanism that needs tokens without a source of them, or of a source for another mechanism.
pub(super) fn mechanism_fault(properties: &BTreeMap<String, String>, has_tokens: bool) -> Option<String> {
    let mechanism = ["sasl.mechanism", "sasl.mechanisms"].iter().find_map(|name| properties.get(*name));
    match (mechanism.is_some_and(|mechanism| mechanism == "OAUTHBEARER"), has_tokens) {
        // librdkafka would accept the mechanism and wait forever for a token.
        (true, false) => Some(
            "properties.sasl.mechanism: OAUTHBEARER needs tokens: set `kafka.oauth.token_url`, `client_id` and \
             `client_secret_file` (or `client_secret`)"
                .to_owned(),
        ),
        (false, true) => Some(
            "oauth: tokens are used with OAUTHBEARER only: set `sasl.mechanism` = \"OAUTHBEARER\" in \
             `kafka.properties`, and `security.protocol` = \"SASL_SSL\""
                .to_owned(),
        ),
        (true, true) | (false, false) => None,
    }
}

/// Returns the values that must not be printed.
pub(super) fn secrets(properties: &BTreeMap<String, String>) -> Vec<String> {
    properties
        .iter()
        .filter(|(name, value)| is_secret(name) && !value.is_empty())
        .map(|(_, value)| value.clone())
        .collect()
}

/// Returns whether the client has a certificate to show to a broker.
pub(super) fn has_certificate(properties: &BTreeMap<String, String>) -> bool {
    ["ssl.certificate.location", "ssl.certificate.pem", "ssl.keystore.location"]
        .iter()
        .any(|name| properties.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configuration output of `service` uses the same list, and has the same test.
    #[test]
    fn secrets_of_the_domains_list_are_kept_out_of_log_lines() {
        let names = ["sasl.password", "sasl.jaas.config", "sasl.oauthbearer.token", "sasl.username"];
        let properties = names.iter().map(|name| ((*name).to_owned(), format!("value of {name}"))).collect();
        let expected: Vec<_> = ["jaas.config", "oauthbearer.token", "password"]
            .iter()
            .map(|name| format!("value of sasl.{name}"))
            .collect();
        assert_eq!(secrets(&properties), expected);
    }
}
