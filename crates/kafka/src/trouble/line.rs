//! Reads librdkafka's log lines about a failed connection.

use super::Kind;

/// The facility of the log lines about failed connections.
pub(super) const FACILITY: &str = "FAIL";

/// The texts by which a failure is known, each with its kind and the text before the detail to quote, if any. The first
/// that is found counts. From `rdkafka_broker.c`, `rdkafka_transport.c`, `rdkafka_ssl.c` and `rdkafka_request.c`.
const TEXTS: &[(&str, Kind, Option<&str>)] = &[
    ("Failed to resolve '", Kind::NoSuchHost, None),
    ("failed: Connection refused", Kind::Refused, None),
    ("failed: No route to host", Kind::Unreachable, None),
    ("failed: Network is unreachable", Kind::Unreachable, None),
    ("failed: Connection timed out", Kind::Unreachable, None),
    ("timed out in state CONNECT", Kind::Unreachable, None),
    ("timed out in state ", Kind::Silent, None),
    ("ApiVersionRequest failed: Local: Timed out", Kind::Silent, None),
    // `HTTP`, read as the length of an answer.
    ("Invalid response size 1213486160", Kind::NotKafka, None),
    // The first bytes of a TLS alert, read as the length of an answer.
    ("Invalid response size", Kind::TlsExpected, None),
    ("connecting to a PLAINTEXT broker listener?", Kind::PlaintextExpected, None),
    ("SSL routines::wrong version number", Kind::PlaintextExpected, None),
    ("SSL routines::packet length too long", Kind::PlaintextExpected, None),
    ("Unsupported SASL mechanism", Kind::Mechanism, Some("broker's supported mechanisms: ")),
    ("mechanism handshake failed: Broker: Request not valid in current SASL state", Kind::SaslUnexpected, None),
    ("certificate verify failed", Kind::Certificate, None),
    ("Failed to verify broker certificate", Kind::Certificate, None),
    ("alert certificate required", Kind::CertificateWanted, None),
    ("alert bad certificate", Kind::CertificateWanted, None),
    ("alert handshake failure", Kind::CertificateWanted, None),
    ("client SSL authentication might be required", Kind::CertificateWanted, None),
    ("alert unknown ca", Kind::CertificateRefused, None),
    ("alert certificate unknown", Kind::CertificateRefused, None),
    ("alert certificate expired", Kind::CertificateRefused, None),
    ("SASL authentication error: ", Kind::Credentials, None),
    ("SASL authentication failure: ", Kind::Credentials, None),
    ("Failed to initialize SASL authentication", Kind::Credentials, None),
];

/// The text of a connection that ended during the login, as that of a client that closes: no refusal.
const CUT_LOGIN: &str = "SASL authentication error: SaslAuthenticateRequest failed";

/// A connection that the broker closed this soon after it was set up was probably closed for want of a login.
const SOON_MS: u64 = 2_000;

/// A failure of the connection to one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure<'l> {
    /// `host:port`.
    pub(crate) address: &'l str,
    pub(crate) kind: Kind,
    pub(super) detail: &'l str,
    /// Whether the kind follows only from the state in which the broker closed the connection: a broker that stops
    /// closes connections too.
    pub(crate) is_guess: bool,
}

impl<'l> Failure<'l> {
    /// Returns the failure that a log line tells of; `None` for a line of something else, and for a connection that
    /// ended without a reason, as when a broker stops.
    pub(crate) fn of(facility: &str, line: &'l str) -> Option<Self> {
        if facility != FACILITY {
            return None;
        }
        // `[thrd:NAME]: NAME: TEXT`
        let line = line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(line, |(_, rest)| rest);
        let (mut name, mut text) = line.split_once(": ")?;
        // The coordinator of a group has a name of its own, and its address begins the text.
        if !name.contains('/') {
            (name, text) = text.split_once(": ")?;
        }
        if text.starts_with(CUT_LOGIN) {
            return None;
        }
        let address = address_of(name);
        let Some((_, kind, quoted)) = TEXTS.iter().find(|(fragment, ..)| text.contains(fragment)) else {
            return Some(Self { address, kind: kind_of_close(name, text)?, detail: "", is_guess: true });
        };
        let detail = quoted.and_then(|before| text.split_once(before)).map_or("", |(_, detail)| split_state(detail).0);
        Some(Self { address, kind: *kind, detail, is_guess: false })
    }
}

/// Returns the address in the name of a broker: `sasl_ssl://host:9092/bootstrap` is `host:9092`.
pub(super) fn address_of(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    name.rsplit_once('/').map_or(name, |(address, _)| address)
}

/// Splits off the end of a text, which tells the state of the connection: ` (after 5ms in state AUTH_HANDSHAKE)`, and
/// sometimes more.
fn split_state(text: &str) -> (&str, &str) {
    text.rsplit_once(" (after ").unwrap_or((text, ""))
}

/// Returns the kind of failure of a connection that the broker closed, by the state that the connection was in.
fn kind_of_close(name: &str, text: &str) -> Option<Kind> {
    let (text, state) = split_state(text);
    let (ms, state) = state.split_once("ms in state ")?;
    let state = state.trim_end_matches(')').split(',').next()?;
    let is_close = text.starts_with("Disconnected") || text.contains("Connection reset by peer");
    let protocol = name.split_once("://").map_or("plaintext", |(protocol, _)| protocol);
    match (state, protocol) {
        _ if !is_close => None,
        ("SSL_HANDSHAKE", _) => Some(Kind::PlaintextExpected),
        ("APIVERSION_QUERY", "plaintext" | "sasl_plaintext") => Some(Kind::TlsExpected),
        // With TLS 1.3 the broker misses the certificate of a client only after the handshake.
        ("APIVERSION_QUERY", _) => Some(Kind::CertificateWanted),
        ("UP", "plaintext" | "ssl") if ms.parse::<u64>().is_ok_and(|ms| ms < SOON_MS) => Some(Kind::SaslExpected),
        _ => None,
    }
}

/// Returns the kind of a connection that has stayed in a state of its setup.
pub(super) fn kind_of_state(state: &str) -> Kind {
    match state {
        "SSL_HANDSHAKE" | "APIVERSION_QUERY" | "AUTH_HANDSHAKE" | "AUTH_LEGACY" | "AUTH_REQ" | "AUTH" | "UP"
        | "UPDATE" => Kind::Silent,
        _ => Kind::Unreachable,
    }
}

/// Returns the kind of an error of OpenSSL's verification (`X509_V_ERR_…`).
pub(super) fn kind_of_certificate_error(error: i32) -> Kind {
    match error {
        // Not yet valid, expired, and the same of a certificate in the chain that cannot be read.
        9 | 10 | 13 | 14 => Kind::CertificateExpired,
        // No issuer certificate, self-signed, a chain without a trusted end.
        2 | 18..=21 => Kind::UnknownAuthority,
        // Another host name, or another address.
        62 | 64 => Kind::OtherName,
        _ => Kind::Certificate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as librdkafka 2.12.1 writes them.
    #[test]
    fn each_failure_is_known_by_its_line() {
        let table = [
            (
                "[thrd:nosuch.invalid:9092/bootstrap]: nosuch.invalid:9092/bootstrap: Failed to resolve \
                 'nosuch.invalid:9092': Name or service not known (after 3ms in state CONNECT)",
                Some(("nosuch.invalid:9092", Kind::NoSuchHost)),
            ),
            (
                "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection \
                 refused (after 0ms in state CONNECT)",
                Some(("127.0.0.1:1", Kind::Refused)),
            ),
            (
                "[thrd:GroupCoordinator]: GroupCoordinator: 127.0.0.1:1: Connect to ipv4#127.0.0.1:1 failed: \
                 Connection refused (after 0ms in state CONNECT)",
                Some(("127.0.0.1:1", Kind::Refused)),
            ),
            (
                "[thrd:[::1]:1/7]: [::1]:1/7: Connect to ipv6#[::1]:1 failed: Connection refused (after 0ms in state \
                 CONNECT)",
                Some(("[::1]:1", Kind::Refused)),
            ),
            (
                "10.0.0.1:9092/bootstrap: Connection setup timed out in state CONNECT (after 10001ms in state CONNECT)",
                Some(("10.0.0.1:9092", Kind::Unreachable)),
            ),
            (
                "10.0.0.1:9092/bootstrap: Connection setup timed out in state APIVERSION_QUERY (after 10001ms in …)",
                Some(("10.0.0.1:9092", Kind::Silent)),
            ),
            (
                "sasl_plaintext://h:1/bootstrap: SASL authentication error: Authentication failed during \
                 authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256 (after 211ms in state \
                 AUTH_REQ)",
                Some(("h:1", Kind::Credentials)),
            ),
            (
                "sasl_plaintext://h:1/bootstrap: SASL authentication error: SaslAuthenticateRequest failed: Local: \
                 Broker transport failure (after 0ms in state DOWN)",
                None,
            ),
            (
                "ssl://h:1/bootstrap: SSL handshake failed: ssl/statem/statem_clnt.c:2092: error:0A000086:SSL \
                 routines::certificate verify failed: broker certificate could not be verified",
                Some(("h:1", Kind::Certificate)),
            ),
            ("h:1/1: Disconnected: connection closed by peer (after 600000ms in state UP)", None),
            (
                "h:1/1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 3ms in state UP)",
                Some(("h:1", Kind::SaslExpected)),
            ),
            ("sasl_ssl://h:1/1: Disconnected: connection closed by peer (after 3ms in state UP)", None),
            (
                "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected: connection reset by peer (after 0ms in state \
                 APIVERSION_QUERY, 17 identical error(s) suppressed)",
                Some(("h:1", Kind::TlsExpected)),
            ),
            (
                "ssl://h:1/bootstrap: Disconnected: connection reset by peer (after 0ms in state APIVERSION_QUERY)",
                Some(("h:1", Kind::CertificateWanted)),
            ),
            ("nothing of the kind", None),
        ];
        for (line, expected) in table {
            let found = Failure::of(FACILITY, line).map(|failure| (failure.address, failure.kind));
            assert_eq!(found, expected, "{line}");
            assert_eq!(Failure::of("REQTMOUT", line), None);
        }
    }

    #[test]
    fn a_peer_that_is_no_broker_is_known_by_its_first_bytes() {
        for (bytes, kind) in [(b"HTTP", Kind::NotKafka), (b"\x15\x03\x03\x00", Kind::TlsExpected)] {
            let size = u32::from_be_bytes(*bytes);
            let line = format!(
                "h:1/bootstrap: Receive failed: Invalid response size {size} (0..100000000): increase \
                 receive.message.max.bytes (after 1ms in state APIVERSION_QUERY)"
            );
            assert_eq!(Failure::of(FACILITY, &line).map(|failure| failure.kind), Some(kind), "{line}");
        }
    }

    #[test]
    fn the_mechanisms_that_a_broker_offers_are_quoted() {
        let line = "sasl_plaintext://h:1/bootstrap: SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported \
                    SASL mechanism: broker's supported mechanisms: PLAIN,SCRAM-SHA-256 (after 3ms in state \
                    AUTH_HANDSHAKE)";
        let failure = Failure::of(FACILITY, line).unwrap();
        assert_eq!((failure.kind, failure.detail), (Kind::Mechanism, "PLAIN,SCRAM-SHA-256"));
    }
}
