//! A request as it came.

use std::net::IpAddr;

use bytes::Bytes;

/// A request to the webhook's path, before anything is known of its sender.
///
/// Its query and body can hold secrets: it prints neither.
pub struct RawRequest {
    /// The query of the URL as it came, percent-encoded; empty when there was none.
    pub query: String,
    pub body: Bytes,
    /// The address that the connection came from.
    pub peer: IpAddr,
    /// The values of the request's `X-Forwarded-For` fields, in their order.
    pub forwarded_for: Vec<String>,
}

impl std::fmt::Debug for RawRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawRequest")
            .field("peer", &self.peer)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
