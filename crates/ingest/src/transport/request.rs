//! A request as it came.

use std::net::IpAddr;

/// The head of a request to the webhook's path, before anything is known of its sender and before any of its body is
/// read.
///
/// Its query can hold secrets: it does not print it.
pub struct RawRequest {
    /// The query of the URL as it came, percent-encoded; empty when there was none.
    pub query: String,
    /// The address that the connection came from.
    pub peer: IpAddr,
    /// The values of the request's `X-Forwarded-For` fields, in their order.
    pub forwarded_for: Vec<String>,
}

impl std::fmt::Debug for RawRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawRequest").field("peer", &self.peer).finish_non_exhaustive()
    }
}
