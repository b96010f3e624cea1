//! Posts to an https address: a server is trusted by the authorities of a file.

use http::StatusCode;
use simulator::history::{History, Population};
use simulator::post::{Answer, Post};
use testkit::tls::{self_signed, serve};

#[tokio::test]
async fn an_https_address_is_posted_to() {
    let server = self_signed("localhost");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), server.0.to_pem().unwrap()).unwrap();
    let url = format!("https://localhost:{}/hook?secret-key=x", serve(&server).await);
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
