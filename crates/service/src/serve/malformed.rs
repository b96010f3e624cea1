//! Requests that are refused before the router sees them. hyper answers them itself, without a body: the reason is in
//! the log and in a metric.

use std::net::SocketAddr;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::telemetry::LineLimit;

/// The most lines a minute for each reason: a stranger can send any number of requests.
const LINES_MAX: u64 = 20;
/// How hyper names the field of a body's transfer coding in its errors.
const TRANSFER_CODING_FIELD: &str = "transfer-encoding";

/// The malformed requests of a listener.
#[derive(Debug)]
pub(super) struct Malformed {
    counted: Family<Labels, Counter>,
    lines: [LineLimit; Reason::EACH.len()],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    reason: &'static str,
}

/// Why a request is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// Its head or its target is over the limit.
    TooLarge,
    /// Its last transfer coding is not chunked, so nobody knows where the body ends (RFC 9112, 6.3).
    TransferCoding,
    /// It is not HTTP, or breaks its grammar.
    Malformed,
}

impl Default for Malformed {
    fn default() -> Self {
        Self { counted: Family::default(), lines: Reason::EACH.map(|_| LineLimit::new(LINES_MAX)) }
    }
}

impl Malformed {
    pub(super) fn register(&self, registry: &mut Registry) {
        // Each is there from zero.
        for reason in Reason::EACH {
            drop(self.counted.get_or_create(&Labels { reason: reason.label() }));
        }
        let help = "Requests refused because they are malformed, before they were a request of any route";
        registry.register("rollcall_http_malformed_requests", help, self.counted.clone());
    }

    /// Notes a request that hyper has refused with this error.
    pub(super) fn note(&self, error: &hyper::Error, peer: SocketAddr) {
        let reason = Reason::of(error);
        let label = reason.label();
        self.counted.get_or_create(&Labels { reason: label }).inc();
        let counted = self.lines[reason as usize].count(Instant::now());
        if counted.left_out_before > 0 {
            tracing::info!(rejection = label, left_out = counted.left_out_before, "more requests were refused");
        }
        if counted.is_written {
            tracing::info!(rejection = label, reason = %error, network.peer.address = %peer.ip(), "request refused");
        }
    }
}

impl Reason {
    const EACH: [Self; 3] = [Self::TooLarge, Self::TransferCoding, Self::Malformed];

    fn of(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::TooLarge
        } else if error.to_string().contains(TRANSFER_CODING_FIELD) {
            Self::TransferCoding
        } else {
            Self::Malformed
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "head_too_large",
            Self::TransferCoding => "transfer_coding",
            Self::Malformed => "malformed",
        }
    }
}
