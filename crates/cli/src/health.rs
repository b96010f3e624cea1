//! `rollcall health`: the health check of a container, whose image needs no shell and no other program for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use http::StatusCode;

use crate::fetch::ProjectorClient;
use crate::output;

/// The time limit of the answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Asks a service on this machine whether it is ready; the exit status is 0 if it is
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the admin listener is: 127.0.0.1:8090 of ingest, 127.0.0.1:8091 of the projector, unless set otherwise.
    /// If it listens on all addresses, the loopback is asked
    #[arg(long, value_name = "HOST:PORT", env = "ROLLCALL_ADMIN__LISTEN", default_value = "127.0.0.1:8090")]
    admin: SocketAddr,
    /// Asks whether it is alive instead
    #[arg(long)]
    live: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = ProjectorClient::new(&format!("http://{}", on_this_machine(args.admin)), None)?;
    let path = if args.live { "/livez" } else { "/readyz" };
    let answer = tokio::time::timeout(ANSWER_WAIT_MAX, client.bytes(path));
    let (status, body) = answer.await.with_context(|| format!("{} has not answered in time", client.base()))??;
    let body = String::from_utf8_lossy(&body);
    output::print(&format!("{}\n", body.trim_end()))?;
    Ok(if status == StatusCode::OK { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the address to ask where a listener has `address`.
fn on_this_machine(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_asked_at_the_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:8090", "127.0.0.1:8090"),
            ("[::]:8091", "[::1]:8091"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("10.1.2.3:8090", "10.1.2.3:8090"),
        ] {
            let listens: SocketAddr = listens.parse().expect("an address");
            assert_eq!(on_this_machine(listens).to_string(), asked);
        }
    }
}
