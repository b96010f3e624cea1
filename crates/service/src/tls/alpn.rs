//! The version of HTTP that a client and the server agree on in the handshake (ALPN, RFC 7301).

use std::sync::OnceLock;

use openssl::ex_data::Index;
use openssl::ssl::{AlpnError, Ssl, SslRef, select_next_proto};

const HTTP2: &[u8] = b"h2";
/// In the order of preference, each after its length.
const WITH_HTTP2: &[u8] = b"\x02h2\x08http/1.1";
const WITHOUT_HTTP2: &[u8] = b"\x08http/1.1";

/// Returns the place of the mark of a connection on which HTTP/2 may be spoken.
fn mark() -> Index<Ssl, ()> {
    static MARK: OnceLock<Index<Ssl, ()>> = OnceLock::new();
    *MARK.get_or_init(|| Ssl::new_ex_index().expect("an index is a number and a pointer"))
}

/// Lets a client have HTTP/2 on this connection.
pub(super) fn allow_http2(connection: &mut Ssl) {
    connection.set_ex_data(mark(), ());
}

/// Selects a protocol. A client that names neither version speaks HTTP/1.1.
pub(super) fn select<'c>(connection: &mut SslRef, client: &'c [u8]) -> Result<&'c [u8], AlpnError> {
    let server = if connection.ex_data(mark()).is_some() { WITH_HTTP2 } else { WITHOUT_HTTP2 };
    select_next_proto(server, client).ok_or(AlpnError::NOACK)
}

/// Returns whether HTTP/2 was selected.
pub(crate) fn is_http2(connection: &SslRef) -> bool {
    connection.selected_alpn_protocol() == Some(HTTP2)
}
