//! The reason why a broker cannot be used, and its remedy. Pure.
//!
//! librdkafka's error codes do not tell the reasons apart: nearly all are `_TRANSPORT`. Its log lines of facility
//! `FAIL` do, by texts that have not changed for years ([`line`]).

mod line;

use std::fmt;

pub(crate) use line::Failure;

/// The reason why a broker cannot be used, and its remedy: a bounded number of kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub kind: Kind,
    /// The broker, `host:port`.
    pub address: String,
    /// Whether the address comes from the cluster itself and not from `kafka.bootstrap`.
    pub advertised: bool,
    /// A part of the library's text that the sentence quotes.
    detail: String,
}

/// The kinds of reasons, in order: of several reasons of one cluster the last one says most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The broker accepts the connection and then says nothing.
    Silent,
    /// Nothing comes back from the address.
    Unreachable,
    Refused,
    NoSuchHost,
    /// This client uses plaintext, and the listener seems to expect TLS.
    TlsExpected,
    /// This client uses TLS, and the listener expects plaintext.
    PlaintextExpected,
    /// The peer speaks another protocol.
    NotKafka,
    SaslExpected,
    SaslUnexpected,
    /// The certificate of the broker is refused for a reason that the library does not tell.
    Certificate,
    /// The certificate of the broker comes from an authority that is not trusted here.
    UnknownAuthority,
    /// The certificate of the broker is of another host.
    OtherName,
    CertificateExpired,
    /// The broker asks for a certificate of the client.
    CertificateWanted,
    /// The broker refuses the certificate of the client.
    CertificateRefused,
    Mechanism,
    Credentials,
}

impl Trouble {
    /// Returns the reason of a failure. `has_certificate`: the client has a certificate to show.
    pub(crate) fn of(failure: &Failure<'_>, has_certificate: bool) -> Self {
        let kind = match failure.kind {
            Kind::CertificateWanted if has_certificate => Kind::CertificateRefused,
            kind => kind,
        };
        let (address, detail) = (failure.address.to_owned(), failure.detail.to_owned());
        Self { kind, address, advertised: false, detail }
    }

    /// Returns the trouble of a connection that was still in a state of its setup when time was up.
    pub(crate) fn in_state(address: &str, state: &str) -> Self {
        let kind = line::kind_of_state(state);
        Self { kind, address: address.to_owned(), advertised: false, detail: String::new() }
    }

    /// Returns the same trouble of an address that the cluster advertises.
    pub(crate) fn advertised(self) -> Self {
        Self { advertised: true, ..self }
    }

    /// Returns the trouble with the reason for which OpenSSL has refused the certificate of the broker.
    pub(crate) fn with_certificate_error(self, error: Option<i32>) -> Self {
        match (self.kind, error) {
            (Kind::Certificate, Some(error)) => Self { kind: line::kind_of_certificate_error(error), ..self },
            _ => self,
        }
    }

    /// Returns the trouble with what the peer was seen to speak, if that is known and is not Kafka.
    pub(crate) fn with_protocol(self, protocol: Option<&str>) -> Self {
        match protocol {
            Some(protocol) => Self { kind: Kind::NotKafka, detail: protocol.to_owned(), ..self },
            None => self,
        }
    }

    /// Returns whether waiting can help: the broker may start, or its name become known.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            Kind::Silent | Kind::Unreachable | Kind::Refused | Kind::NoSuchHost => true,
            Kind::TlsExpected
            | Kind::PlaintextExpected
            | Kind::NotKafka
            | Kind::SaslExpected
            | Kind::SaslUnexpected
            | Kind::Certificate
            | Kind::UnknownAuthority
            | Kind::OtherName
            | Kind::CertificateExpired
            | Kind::CertificateWanted
            | Kind::CertificateRefused
            | Kind::Mechanism
            | Kind::Credentials => false,
        }
    }

    fn reason(&self) -> &'static str {
        match self.kind {
            Kind::Silent => "accepts the connection and does not answer",
            Kind::Unreachable => "cannot be reached: nothing comes back from the address",
            Kind::Refused => "refuses the connection: no broker listens there",
            Kind::NoSuchHost => "has a host name that cannot be resolved",
            Kind::TlsExpected => "closes a plaintext connection: its listener seems to expect TLS",
            Kind::PlaintextExpected => "does not speak TLS: its listener expects plaintext",
            Kind::NotKafka => "does not answer as Kafka does",
            Kind::SaslExpected => "closes a connection that has not logged in: its listener expects SASL",
            Kind::SaslUnexpected => "expects no SASL on this listener",
            Kind::Certificate => "shows a certificate that cannot be verified",
            Kind::UnknownAuthority => "shows a certificate of an authority that is not trusted here",
            Kind::OtherName => "shows a certificate of another host",
            Kind::CertificateExpired => "shows a certificate that is not valid now",
            Kind::CertificateWanted => "asks for a client certificate, and none is set",
            Kind::CertificateRefused => "refuses the client certificate",
            Kind::Mechanism => "does not offer the SASL mechanism that is set",
            Kind::Credentials => "refuses the login: the user is unknown, or the password or token is wrong",
        }
    }

    fn remedy(&self) -> &'static str {
        match self.kind {
            Kind::Silent => {
                "check that the broker is neither paused nor overloaded, that the port is a Kafka listener, and that \
                 `security.protocol` is that of the listener"
            }
            Kind::Unreachable => "check the address, the route and the firewalls",
            Kind::Refused => "check the port, and that the broker runs",
            Kind::NoSuchHost => "check the spelling and the DNS of this machine",
            Kind::TlsExpected => {
                "set `security.protocol` to SSL or SASL_SSL in `kafka.properties`, or use another port"
            }
            Kind::PlaintextExpected => {
                "set `security.protocol` to PLAINTEXT or SASL_PLAINTEXT in `kafka.properties`, or use another port"
            }
            Kind::NotKafka => "check the port: it is not that of a Kafka listener",
            Kind::SaslExpected => {
                "set `security.protocol` to SASL_SSL or SASL_PLAINTEXT, and `sasl.mechanism`, `sasl.username` and \
                 `sasl.password`"
            }
            Kind::SaslUnexpected => "set `security.protocol` to SSL or PLAINTEXT, or use the port of a SASL listener",
            Kind::Certificate => {
                "set `ssl.ca.location` to the authority of the cluster, and use a name in the certificate"
            }
            Kind::UnknownAuthority => "set `ssl.ca.location` to the certificate of the cluster's authority",
            Kind::OtherName => "use a name that is in the certificate",
            Kind::CertificateExpired => "check the clocks, and renew the certificate of the broker",
            Kind::CertificateWanted => "set `ssl.certificate.location` and `ssl.key.location`",
            Kind::CertificateRefused => {
                "check that it is valid now, and that the broker trusts the authority that issued it"
            }
            Kind::Mechanism => "set `sasl.mechanism` to one that the broker offers",
            Kind::Credentials => {
                "check `sasl.username` and `sasl.password`, or `kafka.oauth`, and that the cluster has the user"
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.advertised {
            f.write_str("the cluster answers, but the address that it advertises, ")?;
        }
        write!(f, "{}{} {}", self.address, if self.advertised { "," } else { "" }, self.reason())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        write!(f, "; {}", self.remedy())?;
        if self.advertised {
            f.write_str("; `advertised.listeners` of the broker sets that address")?;
        }
        Ok(())
    }
}
