//! Names the secret properties of a Kafka client. The client uses this list to redact log lines, the configuration to
//! redact its output.

/// Substrings of secret property names, from the documentation of librdkafka and of the Java client.
const SECRET_PARTS: &[&str] = &["password", "secret", "key.pem", "jaas", "oauthbearer.config", "token"];

/// Returns whether the value of the property `name` must not be printed.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_by_their_names() {
        for (name, secret) in [
            ("sasl.password", true),
            ("SASL.Password", true),
            ("ssl.key.password", true),
            ("ssl.key.pem", true),
            ("ssl.keystore.password", true),
            ("sasl.jaas.config", true),
            ("sasl.oauthbearer.config", true),
            ("sasl.oauthbearer.client.secret", true),
            ("sasl.oauthbearer.token.endpoint.url", true),
            ("sasl.username", false),
            ("ssl.ca.location", false),
            ("linger.ms", false),
        ] {
            assert_eq!(is_secret(name), secret, "{name}");
        }
    }
}
