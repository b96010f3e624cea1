//! The client over TLS: a server is trusted by the authorities of a file, and by its name.

#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use http::Method;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::X509;
use service::client::{Credentials, Endpoint, Error};
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
            }
        }
    });
    port
}

async fn status(url: &str, authorities: Option<&Path>) -> Result<u16, Error> {
    let endpoint = Endpoint::new(url, Credentials::None, authorities, Duration::from_secs(30)).unwrap();
    let answer = endpoint.send(Method::GET, "/x", "application/json", None).await?;
    Ok(answer.status.as_u16())
}

#[tokio::test]
async fn a_server_is_trusted_by_the_file_and_by_its_name() {
    let (certificate, key) = self_signed("localhost");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate.to_pem().unwrap()).unwrap();
    let port = serve(&certificate, &key).await;
    let named = format!("https://localhost:{port}");
    assert_eq!(status(&named, Some(file.path())).await.unwrap(), 200);
    let unknown = status(&named, None).await.unwrap_err();
    assert!(matches!(unknown, Error::Tls { .. }), "{unknown}");
    let other_name = status(&format!("https://127.0.0.1:{port}"), Some(file.path())).await.unwrap_err();
    assert!(matches!(other_name, Error::Tls { .. }), "{other_name}");
}
