//! Posts to an https address: a server is trusted by the authorities of a file.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::pin::Pin;

use http::StatusCode;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::X509;
use simulator::history::{History, Population};
use simulator::post::{Answer, Post};
use testkit::tls::self_signed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_openssl::SslStream;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

/// Answers every request on a port, which it returns.
async fn serve(certificate: &X509, key: &PKey<Private>) -> u16 {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_certificate(certificate).unwrap();
    builder.set_private_key(key).unwrap();
    let (acceptor, listener) = (builder.build(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
            // A client that does not trust the server ends the handshake.
            if Pin::new(&mut stream).accept().await.is_ok() {
                let _request = stream.read(&mut [0; 4096]).await;
                let _sent = stream.write_all(ANSWER).await;
                let _ended = stream.shutdown().await;
            }
        }
    });
    port
}

#[tokio::test]
async fn an_https_address_is_posted_to() {
    let (certificate, key) = self_signed("localhost");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate.to_pem().unwrap()).unwrap();
    let url = format!("https://localhost:{}/hook?secret-key=x", serve(&certificate, &key).await);
    let notice = History::new(Population {
        seed: 1,
        users: 1,
        first_user: "1".parse().unwrap(),
        start: domain::UnixMillis::from_millis(1_700_000_000_000),
        events_per_second: 1.0,
        passwords: false,
    })
    .advance();
    let trusted = Post::new(&url, None, Some(file.path())).unwrap().deliver(&notice).await;
    assert!(matches!(trusted, Answer::Status(StatusCode::OK, _)), "{trusted:?}");
    let unknown = Post::new(&url, None, None).unwrap().deliver(&notice).await;
    assert_eq!(unknown, Answer::None("not connected"));
}
