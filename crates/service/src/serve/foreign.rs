//! Connections that begin with another protocol than their port speaks. Somebody has set up a proxy or a client
//! wrongly, and looks for the reason here: the peer has an error alone.

use std::net::SocketAddr;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::telemetry::Seldom;

/// How many bytes of a connection show its protocol.
pub(super) const FIRST_BYTES: usize = 12;

/// The beginning of a PROXY header of version 1 and 2 (haproxy.org, proxy-protocol.txt).
const PROXY_TEXT: &[u8] = b"PROXY ";
const PROXY_BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The beginning of HTTP/2's preface (RFC 9113, 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2";
/// The beginning of a TLS record with a handshake: its type and the major version (RFC 8446, 5.1).
const TLS: &[u8] = b"\x16\x03";

/// What the first bytes of a connection look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    ProxyHeader,
    Http2,
    Tls,
    Http,
    Unknown,
}

/// The connections of a listener that began with another protocol.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    counted: Family<Labels, Counter>,
    /// A limit for each protocol, so that none holds back another.
    reported: [Seldom; Protocol::EACH.len()],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    protocol: &'static str,
}

impl Foreign {
    pub(super) fn register(&self, registry: &mut Registry) {
        // Each is there from zero.
        for protocol in Protocol::EACH {
            drop(self.counted.get_or_create(&Labels { protocol: protocol.described().0 }));
        }
        let help = "Connections that began with another protocol than their port speaks";
        registry.register("rollcall_http_foreign_connections", help, self.counted.clone());
    }

    /// Notes a connection without TLS whose first bytes are no request, and returns whether they are none. A request
    /// that is merely malformed is HTTP all the same.
    pub(super) fn came_without_tls(&self, first: &[u8], peer: SocketAddr) -> bool {
        let protocol = Protocol::of(first);
        let is_foreign = protocol != Protocol::Http;
        if is_foreign {
            self.note(protocol, peer);
        }
        is_foreign
    }

    /// Notes a connection whose TLS handshake failed. One that began as TLS failed for another reason.
    pub(super) fn came_with_tls(&self, first: &[u8], peer: SocketAddr) {
        match Protocol::of(first) {
            Protocol::Tls => {}
            protocol => self.note(protocol, peer),
        }
    }

    fn note(&self, protocol: Protocol, peer: SocketAddr) {
        let (label, text) = protocol.described();
        self.counted.get_or_create(&Labels { protocol: label }).inc();
        if self.reported[protocol as usize].is_due() {
            tracing::warn!(%peer, protocol = label, "{text}");
        }
    }
}

impl Protocol {
    const EACH: [Self; 5] = [Self::ProxyHeader, Self::Http2, Self::Tls, Self::Http, Self::Unknown];

    fn of(first: &[u8]) -> Self {
        if first.starts_with(PROXY_TEXT) || first.starts_with(PROXY_BINARY) {
            Self::ProxyHeader
        } else if first.starts_with(HTTP2) {
            Self::Http2
        } else if first.starts_with(TLS) {
            Self::Tls
        } else if is_request(first) {
            Self::Http
        } else {
            Self::Unknown
        }
    }

    fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::ProxyHeader => (
                "proxy",
                "a connection began with a PROXY header, which is not read here: switch the proxy protocol off, and \
                 have the proxy send X-Forwarded-For",
            ),
            Self::Http2 => ("http2", "a connection began with HTTP/2, on a port that speaks HTTP/1.1 only"),
            Self::Tls => {
                ("tls", "a connection began with TLS, on a port without: use http://, or set http.tls_certificate_file")
            }
            Self::Http => ("http", "a connection began with HTTP, on a port that speaks TLS: use https://"),
            Self::Unknown => ("unknown", "a connection began with bytes that are of no protocol known here"),
        }
    }
}

/// Returns whether the bytes begin a request of HTTP/1: a method and a target.
fn is_request(first: &[u8]) -> bool {
    let method = first.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let rest = first.get(method..).unwrap_or_default();
    let is_cut = rest.is_empty() && first.len() == FIRST_BYTES;
    let is_target = [&b" /"[..], b" *", b" h"].iter().any(|begins| rest.starts_with(begins) || rest == b" ");
    method > 0 && (is_cut || is_target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_show_the_protocol() {
        for (first, protocol) in [
            (&b"PROXY TCP4 1"[..], Protocol::ProxyHeader),
            (b"PROXY UNKNOW", Protocol::ProxyHeader),
            (b"\r\n\r\n\0\r\nQUIT\n", Protocol::ProxyHeader),
            (b"PRI * HTTP/2", Protocol::Http2),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\x01", Protocol::Tls),
            (b"GET / HTTP/9", Protocol::Http),
            (b"POST /webhoo", Protocol::Http),
            (b"OPTIONS * HT", Protocol::Http),
            (b"GET http://a", Protocol::Http),
            (b"PROPPATCH /a", Protocol::Http),
            (b"SSH-2.0-Open", Protocol::Unknown),
            (b"HELO mail.ex", Protocol::Unknown),
            (b"\0\0\0 \0\x12\0\0\0\0\0\x01", Protocol::Unknown),
            (b" ", Protocol::Unknown),
            (b"", Protocol::Unknown),
        ] {
            assert_eq!(Protocol::of(first), protocol, "{}", first.escape_ascii());
        }
    }
}
