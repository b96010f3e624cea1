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
    assert!(matches!(unknown, Error::Tls { .. }), "{unknown}");
    let other_name = status(&format!("https://127.0.0.1:{port}"), Some(file.path())).await.unwrap_err();
    assert!(matches!(other_name, Error::Tls { .. }), "{other_name}");
}
