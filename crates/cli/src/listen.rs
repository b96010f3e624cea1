//! Binds ports. A failure names the setting to change.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Binds `address`; `setting` is the setting to change on failure.
///
/// # Errors
/// One sentence with the address and the setting.
pub(crate) async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!("{address} is taken by another process; choose another with {setting}"),
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("this user may not listen on {address}; choose another with {setting}")
        }
        _ => anyhow::anyhow!("cannot listen on {address} ({error}); choose another with {setting}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_what_to_change() {
        let taken = bind(([127, 0, 0, 1], 0).into(), "--port").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address, "--port").await.unwrap_err().to_string();
        assert_eq!(error, format!("{address} is taken by another process; choose another with --port"));
    }
}
