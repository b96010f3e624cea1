//! A connection that sends requests one after the other. It reads no more of an answer than it must, so that the load
//! costs little beside the service that it measures.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const HEAD_END: &[u8] = b"\r\n\r\n";
const CONTENT_LENGTH: &[u8] = b"content-length:";
/// A server that ends the connection says so in the answer before.
const CLOSE: &[u8] = b"connection: close";
/// Where the status is in `HTTP/1.1 200 OK`.
const STATUS: std::ops::Range<usize> = 9..12;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    server: SocketAddr,
    stream: TcpStream,
    is_over: bool,
    buffer: Vec<u8>,
    body_at: usize,
}

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    /// If it does not listen.
    pub(crate) async fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = connect(server).await?;
        Ok(Self { server, stream, is_over: false, buffer: Vec::with_capacity(4096), body_at: 0 })
    }

    /// Sends a request, on a new connection if the last answer has ended this one, reads the answer to its end, and
    /// returns its status.
    ///
    /// # Errors
    /// If the connection ends before, or the answer has no length.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        if self.is_over {
            (self.stream, self.is_over) = (connect(self.server).await?, false);
        }
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(head) = Head::of(&self.buffer)? {
                let end = head.length + head.body_bytes;
                while self.buffer.len() < end {
                    if self.stream.read_buf(&mut self.buffer).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                (self.body_at, self.is_over) = (head.length, head.is_last);
                return Ok(head.status);
            }
        }
    }

    /// Returns the body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        &self.buffer[self.body_at..]
    }
}

async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// With the empty line after it.
    length: usize,
    body_bytes: usize,
    /// The server ends the connection after it.
    is_last: bool,
}

impl Head {
    /// Returns the head of an answer, if it is there to its end.
    fn of(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END) else {
            return Ok(None);
        };
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "an answer without status or length");
        let mut lines = bytes[..end].split(|byte| *byte == b'\n');
        let status = lines.next().and_then(|line| line.get(STATUS)).and_then(number).ok_or_else(broken)?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_at_checked(CONTENT_LENGTH.len())?;
            name.eq_ignore_ascii_case(CONTENT_LENGTH).then_some(value.trim_ascii())
        });
        let body_bytes = length.and_then(number).ok_or_else(broken)?;
        let status = u16::try_from(status).map_err(|_| broken())?;
        let is_last =
            bytes[..end].split(|byte| *byte == b'\n').any(|line| line.trim_ascii().eq_ignore_ascii_case(CLOSE));
        Ok(Some(Self { status, length: end + HEAD_END.len(), body_bytes, is_last }))
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Returns the bytes of a GET.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_known_at_its_end_and_not_before() {
        let text = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nContent-Length: 12\r\n\r\n";
        let head = Head { status: 503, length: text.len(), body_bytes: 12, is_last: false };
        assert_eq!(Head::of(text).unwrap(), Some(head));
        assert_eq!(Head::of(&text[..text.len() - 1]).unwrap(), None);
        let last = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nConnection: close\r\n\r\n";
        assert!(Head::of(last).unwrap().is_some_and(|head| head.is_last));
        assert!(Head::of(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
