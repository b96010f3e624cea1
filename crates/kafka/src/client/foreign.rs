//! Looks at a peer that the client library cannot understand. The library tells only in which state of its own protocol
//! the connection ended, from which a wrong port cannot be told from a wrong `security.protocol`.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};

use crate::trouble::{Kind, Trouble};

/// The time limit of each step, where there is no other: the peer has just answered the library.
pub(super) const STEP_MAX: Duration = Duration::from_secs(2);
/// How long a peer may take to refuse a client without a certificate. One that takes longer refuses the request.
const ALERT_WAIT: Duration = Duration::from_millis(300);
/// A request that every HTTP server answers, and that a Kafka broker refuses.
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// The beginning of the answer.
const ANSWER: &[u8] = b"HTTP/";

/// Returns what the peer speaks, if it was seen to be another protocol than Kafka's. Blocks, at each step as long as
/// `step_max`.
///
/// A server that waits for the end of a request that it does not understand is silent as a broker is that is paused.
pub(super) fn protocol(trouble: &Trouble, step_max: Duration) -> Option<&'static str> {
    match trouble.kind {
        Kind::TlsExpected | Kind::PlaintextExpected | Kind::Silent => plain(&trouble.address, step_max),
        Kind::CertificateWanted => plain(&trouble.address, step_max).or_else(|| secured(&trouble.address, step_max)),
        _ => None,
    }
}

fn plain(address: &str, step_max: Duration) -> Option<&'static str> {
    speaks_http(&mut connect(address, step_max)?).then_some("it speaks HTTP")
}

/// A broker that wants a certificate says so after the handshake, before it is asked anything.
fn secured(address: &str, step_max: Duration) -> Option<&'static str> {
    let stream = connect(address, step_max)?;
    let mut connector = SslConnector::builder(SslMethod::tls_client()).ok()?;
    // Nothing is sent but a request without content, and nothing of the answer is believed.
    connector.set_verify(SslVerifyMode::NONE);
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let mut stream = connector.build().connect(host, stream).ok()?;
    stream.get_ref().set_read_timeout(Some(ALERT_WAIT)).ok()?;
    let mut said = [0];
    match stream.read(&mut said) {
        Err(error) if is_timeout(&error) => {
            stream.get_ref().set_read_timeout(Some(step_max)).ok()?;
            speaks_http(&mut stream).then_some("it speaks HTTP over TLS")
        }
        // An alert.
        Err(_) => None,
        Ok(_) => Some("it speaks another protocol over TLS"),
    }
}

fn connect(address: &str, step_max: Duration) -> Option<TcpStream> {
    let address = address.to_socket_addrs().ok()?.next()?;
    let stream = TcpStream::connect_timeout(&address, step_max).ok()?;
    stream.set_read_timeout(Some(step_max)).ok()?;
    stream.set_write_timeout(Some(step_max)).ok()?;
    Some(stream)
}

fn speaks_http(stream: &mut (impl Read + Write)) -> bool {
    let mut answer = [0; ANSWER.len()];
    stream.write_all(REQUEST).is_ok() && stream.read_exact(&mut answer).is_ok() && answer == ANSWER
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
