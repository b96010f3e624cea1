//! A request as received.

use std::net::IpAddr;

/// The head of a request to the webhook's path, before its sender is checked and before its body is read.
///
/// The query is not printed, because it can contain secrets.
pub struct RawRequest {
    /// The query of the URL as received, percent-encoded. Empty when there is none.
    pub query: String,
    /// The address of the connection's peer.
    pub peer: IpAddr,
    /// The values of the request's `X-Forwarded-For` fields, in order.
    pub forwarded_for: Vec<String>,
}

impl std::fmt::Debug for RawRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawRequest").field("peer", &self.peer).finish_non_exhaustive()
    }
}
