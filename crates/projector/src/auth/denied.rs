//! Why a request is denied: one closed set, with the labels of its metric.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::follow::Followed as _;
use super::keys::Keys;
use super::table::TokenTable;

/// Why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Denied {
    /// It has no token: no `Authorization`, or one that is not of a bearer.
    NoToken,
    /// It has several fields `Authorization`.
    SeveralTokens,
    /// Its token is neither in the file nor a JWT that can be read.
    UnknownToken,
    /// Its JWT is not signed as its key is used, or not signed at all.
    Algorithm,
    /// No key signs as its JWT says.
    UnknownKey,
    /// As before, and the keys of the issuer cannot be fetched.
    KeysUnavailable,
    Signature,
    Issuer,
    Audience,
    /// A claim is missing, or has another form.
    Claims,
    Expired,
    NotYetValid,
    /// The principal has not the scope that the route needs.
    Scope,
    /// It is for a host that is not this one.
    Host,
    /// The principal has as many requests in flight as its share.
    Requests,
    /// The principal has as many streams as its share.
    Streams,
}

impl Denied {
    const EACH: [Self; 16] = [
        Self::NoToken,
        Self::SeveralTokens,
        Self::UnknownToken,
        Self::Algorithm,
        Self::UnknownKey,
        Self::KeysUnavailable,
        Self::Signature,
        Self::Issuer,
        Self::Audience,
        Self::Claims,
        Self::Expired,
        Self::NotYetValid,
        Self::Scope,
        Self::Host,
        Self::Requests,
        Self::Streams,
    ];

    /// Returns the label in metrics and in the trail.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::SeveralTokens => "several_tokens",
            Self::UnknownToken => "unknown_token",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claims => "claims",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Scope => "scope",
            Self::Host => "host",
            Self::Requests => "requests",
            Self::Streams => "streams",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

/// The numbers of who was denied, and of tokens and keys that could not be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Denials {
    denied: Family<ReasonLabel, Counter>,
    failed_reads: Family<SourceLabel, Counter>,
}

impl Denials {
    pub(crate) fn register(&self, registry: &mut Registry) {
        for denied in Denied::EACH {
            drop(self.denied.get_or_create(&ReasonLabel { reason: denied.label() }));
        }
        for source in [TokenTable::SOURCE, Keys::SOURCE] {
            drop(self.failed_reads.get_or_create(&SourceLabel { source }));
        }
        registry.register("rollcall_projector_denied", "Requests denied, by reason", self.denied.clone());
        registry.register(
            "rollcall_projector_auth_failed_reads",
            "Reads of tokens or keys that could not be used, by source",
            self.failed_reads.clone(),
        );
    }

    pub(crate) fn count(&self, denied: Denied) {
        self.denied.get_or_create(&ReasonLabel { reason: denied.label() }).inc();
    }

    /// Counts one more read of a source that could not be used.
    pub(super) fn failed_read(&self, source: &'static str) {
        self.failed_reads.get_or_create(&SourceLabel { source }).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_label_of_its_own() {
        let labels: BTreeSet<&str> = Denied::EACH.into_iter().map(Denied::label).collect();
        assert_eq!(labels.len(), Denied::EACH.len());
    }
}
