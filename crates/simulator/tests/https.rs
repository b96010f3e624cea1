//! Posts to an https address: a server is trusted by the authorities of a file.

use http::StatusCode;
use simulator::history::{History, Population};
use simulator::post::{Answer, Post};
use testkit::tls::{self_signed, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[tokio::test]
async fn an_https_address_is_posted_to() {
    let server = self_signed("localhost");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), server.0.to_pem().unwrap()).unwrap();
    let url = format!("https://localhost:{}/hook?secret-key=x", serve(&server).await);
    let url_of_tls = url.clone();
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
    assert_eq!(
        unknown,
        Answer::None("not connected: the certificate is not trusted; --ca-file names other authorities")
    );

    let plain = TcpListener::bind("localhost:0").await.unwrap();
    let url = format!("https://localhost:{}/hook", plain.local_addr().unwrap().port());
    let answering = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        let mut hello = [0; 16];
        stream.read_exact(&mut hello).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Until the client has gone.
        drop(stream.read_to_end(&mut Vec::new()).await);
    });
    let to_plain = Post::new(&url, None, None).unwrap().deliver(&notice).await;
    assert_eq!(to_plain, Answer::None("not connected: the port does not speak TLS; use http://"));
    answering.await.unwrap();

    let without = url_of_tls.replace("https://", "http://");
    let to_tls = Post::new(&without, None, None).unwrap().deliver(&notice).await;
    assert_eq!(to_tls, Answer::None("connection lost: the port speaks TLS; use https://"));

    let unknown = Post::new("http://receiver.invalid/hook", None, None).unwrap().deliver(&notice).await;
    assert_eq!(unknown, Answer::None("not connected: the host name cannot be resolved"));

    let nobody = TcpListener::bind("localhost:0").await.unwrap().local_addr().unwrap();
    let refused = Post::new(&format!("http://{nobody}/hook"), None, None).unwrap().deliver(&notice).await;
    assert_eq!(refused, Answer::None("not connected: nothing listens there"));
}
