//! The faults of the options, found before any connection is made.

use std::fmt;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::BaseProducer;

use super::{ClientOptions, UNJOINED_GROUP, connect, properties};

/// A fault of one option. It contains no value, which could be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionFault {
    /// The path of the option below `kafka`: `bootstrap`, `properties.sasl.mechanism`.
    pub key: String,
    pub reason: String,
}

impl OptionFault {
    pub(super) fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }
}

impl fmt::Display for OptionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

impl ClientOptions {
    /// Returns all faults of the options.
    pub fn validate(&self) -> Vec<OptionFault> {
        let mut faults = Vec::new();
        faults.extend(connect::bootstrap_fault(&self.bootstrap).map(|reason| OptionFault::new("bootstrap", reason)));
        for (key, text) in [("client_id", &self.client_id), ("group_prefix", &self.group_prefix)] {
            if text.trim().is_empty() {
                faults.push(OptionFault::new(key, "must not be empty"));
            }
        }
        let of_properties = properties::faults(&self.properties);
        let mut others = self.clone();
        others.properties.retain(|name, _| !of_properties.contains_key(name.as_str()));
        faults.extend(of_properties.into_values());
        if let Some(fault) = properties::mechanism_fault(&self.properties, self.tokens.is_some()) {
            faults.push(fault);
            // A client with such a login could be refused for the same reason.
            properties::remove_login(&mut others.properties);
        }
        if let Some(first) = whole_client_fault(&others) {
            // Of a client the library tells only the first fault: that of its security must not hide another.
            let part = |is_security: bool| {
                let mut part = others.clone();
                part.properties.retain(|name, _| properties::is_security(name) == is_security);
                whole_client_fault(&part)
            };
            let of_parts: Vec<OptionFault> = [true, false].into_iter().filter_map(part).collect();
            faults.extend(if of_parts.is_empty() { vec![first] } else { of_parts });
        }
        faults
    }
}

/// Returns the fault that librdkafka reports only when it creates a client: missing files, contradicting settings. The
/// client has no address to connect to, and is dropped.
pub(super) fn whole_client_fault(options: &ClientOptions) -> Option<OptionFault> {
    let [mut producer, mut consumer] = [options.producer(), options.consumer(UNJOINED_GROUP)];
    for config in [&mut producer, &mut consumer] {
        config.remove("bootstrap.servers").set_log_level(RDKafkaLogLevel::Emerg);
    }
    // Without the context: a client asks for a token even when it is dropped.
    let made = producer.create::<BaseProducer>().and_then(|_| consumer.create::<BaseConsumer>().map(drop));
    made.err().map(|error| OptionFault::new("properties", options.context().redact(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::TokenSource;

    use super::*;

    fn said(options: &ClientOptions) -> Vec<String> {
        options.validate().iter().map(ToString::to_string).collect()
    }

    fn with(name: &str, value: &str) -> ClientOptions {
        let mut options = ClientOptions::new("localhost:9092");
        options.properties.insert(name.to_owned(), value.to_owned());
        options
    }

    #[test]
    fn what_is_refused() {
        for (name, value) in [
            ("acks", "1"),
            ("enable.idempotence", "false"),
            ("partitioner", "random"),
            ("group.id", "mine"),
            ("auto.offset.reset", "latest"),
            ("bootstrap.servers", "elsewhere:9092"),
            ("sasl.oauthbearer.method", "oidc"),
            ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
            ("no.such.property", "1"),
            ("linger.ms", "soon"),
        ] {
            let faults = said(&with(name, value));
            assert_eq!(faults.len(), 1, "{name}: {faults:?}");
            assert!(faults.iter().all(|fault| fault.contains(name)), "{faults:?}");
        }
    }

    #[test]
    fn what_only_a_whole_client_shows() {
        for (properties, part) in [
            (&[("security.protocol", "SSL"), ("ssl.ca.location", "/no/such/file.pem")][..], "ssl.ca.location"),
            (&[("security.protocol", "SASL_SSL")], "properties.sasl.mechanism: expected beside `security.protocol`"),
            (&[("security.protocol", "sasl_plaintext")], "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"),
            (&[("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "GSSAPI")], "without GSSAPI (Kerberos)"),
            (&[("sasl.mechanism", "GSSAPI")], "without GSSAPI (Kerberos)"),
            (&[("sasl.mechanisms", "GSSAPI")], "without GSSAPI (Kerberos)"),
            (&[("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "hunter2")], "expected PLAIN, SCRAM"),
            (&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "OAUTHBEARER")], "set `kafka.oauth.token_url`"),
            (&[("max.in.flight", "9")], "max.in.flight"),
        ] {
            let mut options = ClientOptions::new("localhost:9092");
            options.properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let faults = said(&options);
            assert!(faults.len() == 1 && faults.iter().all(|fault| fault.contains(part)), "{properties:?}: {faults:?}");
        }
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let mut options = with("sasl.mechanism", mechanism);
            let more = [("security.protocol", "SASL_SSL"), ("sasl.username", "u"), ("sasl.password", "p")];
            options.properties.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
            assert_eq!(options.validate(), [], "{mechanism}");
        }
    }

    /// A source that is never asked: a client that is only made needs no token.
    #[derive(Debug)]
    struct Unasked;

    impl TokenSource for Unasked {
        fn token(&self) -> Result<domain::AccessToken, domain::TokenError> {
            panic!("a token was asked for")
        }
    }

    #[test]
    fn tokens_are_for_one_mechanism() {
        for (mechanism, part) in
            [(Some("OAUTHBEARER"), None), (Some("PLAIN"), Some("OAUTHBEARER only")), (None, Some("OAUTHBEARER only"))]
        {
            let mut options = with("security.protocol", "SASL_SSL");
            options.tokens = Some(Arc::new(Unasked));
            options.properties.extend(mechanism.map(|name| ("sasl.mechanism".to_owned(), name.to_owned())));
            let faults = said(&options);
            assert_eq!(faults.len(), part.iter().len(), "{faults:?}");
            assert!(faults.iter().zip(part).all(|(fault, part)| fault.contains(part)), "{faults:?}");
        }
    }

    #[test]
    fn what_is_passed_through() {
        for (name, value) in [
            ("security.protocol", "SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.password", "hunter2"),
            ("linger.ms", "20"),
            ("fetch.wait.max.ms", "10"),
            ("compression.type", "zstd"),
        ] {
            assert_eq!(with(name, value).validate(), [], "{name}");
        }
    }

    #[test]
    fn all_faults_are_reported_together() {
        let mut options = with("acks", "1");
        options.bootstrap = String::new();
        options.properties.insert("nonsense".to_owned(), "1".to_owned());
        assert_eq!(options.validate().len(), 3);
    }

    #[test]
    fn no_fault_of_the_properties_hides_another() {
        let mut options = ClientOptions::new("http://127.0.0.1:9092");
        let properties = [
            ("acks", "1"),
            ("max.in.flight", "9"),
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", "/no/such/ca.pem"),
            ("ssl.key.location", "/no/such/key.pem"),
        ];
        options.properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let faults = said(&options);
        let parts = ["bootstrap: ", "acks", "ssl.ca.location", "ssl.key.location", "sasl.mechanism", "max.in.flight"];
        assert_eq!(faults.len(), parts.len(), "{faults:#?}");
        for (fault, part) in faults.iter().zip(parts) {
            assert!(fault.contains(part), "{part}: {fault}");
        }
    }

    #[test]
    fn a_fault_of_the_protocol_hides_neither_the_mechanism_nor_a_file() {
        let mut options = ClientOptions::new("kafka:1,,b:2");
        let properties =
            [("security.protocol", "SASL-SSL"), ("sasl.mechanism", "GSSAPI"), ("ssl.ca.location", "/no/such/ca.pem")];
        options.properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let keys: Vec<String> = options.validate().into_iter().map(|fault| fault.key).collect();
        let named = ["security.protocol", "ssl.ca.location", "sasl.mechanism"].map(|name| format!("properties.{name}"));
        assert_eq!(keys, [&["bootstrap".to_owned()], &named[..]].concat());
    }

    #[test]
    fn a_file_that_the_library_cannot_use_is_told_beside_a_login_without_a_mechanism() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no certificate").unwrap();
        let mut options = with("security.protocol", "SASL_SSL");
        options.properties.insert("ssl.ca.location".to_owned(), file.path().to_str().unwrap().to_owned());
        let keys: Vec<String> = options.validate().into_iter().map(|fault| fault.key).collect();
        assert_eq!(keys, ["properties.sasl.mechanism", "properties"]);
    }
}
