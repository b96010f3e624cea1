//! The client over TLS: a server is trusted by the authorities of a file, and by its name.

#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::path::Path;
use std::time::Duration;

use http::Method;
use service::client::{Credentials, Endpoint, Error};
use testkit::tls::{self_signed, serve};

async fn status(url: &str, authorities: Option<&Path>) -> Result<u16, Error> {
    let endpoint = Endpoint::new(url, Credentials::None, authorities, Duration::from_secs(30)).unwrap();
    let answer = endpoint.send(Method::GET, "/x", "application/json", None).await?;
    Ok(answer.status.as_u16())
}

#[tokio::test]
async fn a_server_is_trusted_by_the_file_and_by_its_name() {
    let server = self_signed("localhost");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), server.0.to_pem().unwrap()).unwrap();
    let port = serve(&server).await;
    let named = format!("https://localhost:{port}");
    assert_eq!(status(&named, Some(file.path())).await.unwrap(), 200);
    let unknown = status(&named, None).await.unwrap_err();
    assert_reason(&unknown, "an authority that is not trusted here (self-signed certificate); name a file with that");
    let other_name = status(&format!("https://127.0.0.1:{port}"), Some(file.path())).await.unwrap_err();
    assert_reason(&other_name, "its certificate is of another host; use a name that the certificate has");
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Open until the client has read it: a close with bytes unread would reset the connection.
        let _ended = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new()).await;
    });
    let plain = status(&format!("https://localhost:{port}"), None).await.unwrap_err();
    assert_reason(&plain, "it does not speak TLS on this port; use http://");
}

fn assert_reason(error: &Error, reason: &str) {
    let Error::Tls { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains(reason), "{source}");
    assert!(!source.to_string().contains("error:"), "OpenSSL's own text: {source}");
}
