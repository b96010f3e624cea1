//! The librdkafka properties that an operator may set.

use std::collections::BTreeMap;

use domain::client_property::is_secret;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use super::OptionFault;

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

/// The property that says whether connections are secured, and whether clients log in.
const PROTOCOL: &str = "security.protocol";
/// The values of it without TLS.
const WITHOUT_TLS: [&str; 2] = ["PLAINTEXT", "SASL_PLAINTEXT"];
/// How the values of it with a login begin.
const WITH_LOGIN: &str = "SASL_";
/// The property with the mechanism of the login.
const MECHANISM: &str = "sasl.mechanism";
/// Its names.
const MECHANISM_NAMES: [&str; 2] = [MECHANISM, "sasl.mechanisms"];
/// Its values that the client library is built with.
const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", OAUTHBEARER];
const OAUTHBEARER: &str = "OAUTHBEARER";

/// Returns a fault, by the name, for each property that may not be set, that librdkafka refuses, or that names a file
/// which cannot be read.
pub(super) fn faults(properties: &BTreeMap<String, String>) -> BTreeMap<&str, OptionFault> {
    // A protocol with a fault may be meant to have TLS.
    let reads_files = protocol(properties).is_some_and(|protocol| !WITHOUT_TLS.contains(&protocol.as_str()));
    let found = |name: &str, value: &str| {
        let reason = fault(name, value, reads_files)?;
        Some(OptionFault::new(format!("properties.{name}"), reason))
    };
    properties.iter().filter_map(|(name, value)| Some((name.as_str(), found(name, value)?))).collect()
}

/// Returns the reason why a property cannot be used.
fn fault(name: &str, value: &str, reads_files: bool) -> Option<String> {
    if let Some((_, why)) = OWNED.iter().find(|(owned, _)| *owned == name) {
        return Some(format!("reserved by Rollcall: {why}"));
    }
    if reads_files
        && FILES.contains(&name)
        && value != PROBE
        && let Err(error) = std::fs::File::open(value)
    {
        return Some(format!("the file cannot be read: {error}"));
    }
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(_, reason, _, _)) if !is_secret(name) => Some(reason),
        // librdkafka's reason quotes the value.
        Err(_) => Some("the client library refuses the value".to_owned()),
    }
}

fn protocol(properties: &BTreeMap<String, String>) -> Option<String> {
    properties.get(PROTOCOL).map(|protocol| protocol.to_ascii_uppercase())
}

/// Returns whether the property is about the security of connections.
pub(super) fn is_security(name: &str) -> bool {
    ["security.", "sasl.", "ssl.", "enable.ssl.", "enable.sasl."].iter().any(|prefix| name.starts_with(prefix))
}

/// Removes the login, and leaves whether connections are secured.
pub(super) fn remove_login(properties: &mut BTreeMap<String, String>) {
    properties.retain(|name, _| !["sasl.", "enable.sasl."].iter().any(|prefix| name.starts_with(prefix)));
    if let Some(protocol) = protocol(properties)
        && let Some(without) = protocol.strip_prefix(WITH_LOGIN)
    {
        properties.insert(PROTOCOL.to_owned(), without.to_owned());
    }
}

/// Returns the fault of a login: no mechanism, or one that the client library is built without; a mechanism that needs
/// tokens without a source of them, or a source for another mechanism.
pub(super) fn mechanism_fault(properties: &BTreeMap<String, String>, has_tokens: bool) -> Option<OptionFault> {
    let mechanism = MECHANISM_NAMES.iter().find_map(|name| properties.get(*name)).map(String::as_str);
    let logs_in = protocol(properties).is_some_and(|protocol| protocol.starts_with(WITH_LOGIN));
    let [plain, scram, longer, oauth] = MECHANISMS;
    let known = format!("{plain}, {scram}, {longer} or {oauth}");
    let reason = match (mechanism, has_tokens) {
        (Some(mechanism), _) if !MECHANISMS.contains(&mechanism) => {
            format!("expected {known}: the client library is built without GSSAPI (Kerberos) and other mechanisms")
        }
        // librdkafka would accept the mechanism and wait forever for a token.
        (Some(OAUTHBEARER), false) => "OAUTHBEARER needs tokens: set `kafka.oauth.token_url`, `client_id` and \
                                       `client_secret_file` (or `client_secret`)"
            .to_owned(),
        (Some(OAUTHBEARER), true) => return None,
        (_, true) => {
            let reason = "tokens are used with OAUTHBEARER only: set `sasl.mechanism` = \"OAUTHBEARER\" in \
                          `kafka.properties`, and `security.protocol` = \"SASL_SSL\"";
            return Some(OptionFault::new("oauth", reason));
        }
        (None, false) if logs_in => format!("expected beside `security.protocol`, which asks for a login: {known}"),
        (Some(_) | None, false) => return None,
    };
    Some(OptionFault::new(format!("properties.{MECHANISM}"), reason))
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
