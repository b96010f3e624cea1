//! Answers that are compressed for those who ask for it.

use std::io::Read as _;

use testkit::broker::Log;
use testkit::event::{event, user};
use testkit::{Answer, Http};

use crate::support::Service;

const USERS: i64 = 50;
const NDJSON: (&str, &str) = ("accept", "application/x-ndjson");
const PAGE: (&str, &str) = ("accept", "text/html");
const GZIP: (&str, &str) = ("accept-encoding", "gzip, deflate, br");

/// Returns the body as the server had it before it was compressed.
fn unpacked(answer: &Answer) -> String {
    assert_eq!(answer.header("content-encoding"), Some("gzip"), "{:?}", answer.headers);
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_every_kind_are_compressed_where_that_is_asked_for() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    for second in 0..USERS {
        kafka.event(&event(None, user(second, &format!("Name {second}")), second)).await;
    }
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    for second in 1..=9 {
        let (old, new) = (user(0, &format!("Name {}", second - 1)), user(0, &format!("Name {second}")));
        let at = kafka.event(&event(Some(old), new, USERS + second)).await;
        assert_eq!(service.get(&format!("/users/0?at_least={at}")).await.status, 200);
    }
    let http = Http::to(service.http);
    for (path, accept) in [
        ("/users", ("accept", "*/*")),
        ("/users", NDJSON),
        ("/users?q=name&sort=name", ("accept", "*/*")),
        ("/users/0/history", ("accept", "*/*")),
        ("/openapi.json", ("accept", "*/*")),
        ("/", PAGE),
        ("/page/main.js", ("accept", "*/*")),
        ("/docs/swagger-ui.css", ("accept", "*/*")),
    ] {
        let plain = http.get_with(path, &[accept]).await.unwrap();
        assert_eq!((plain.status.as_u16(), plain.header("content-encoding")), (200, None), "{path}");
        let packed = http.get_with(path, &[accept, GZIP]).await.unwrap();
        let text = unpacked(&packed);
        assert!(packed.body.len() < text.len() / 2, "{path}: {} of {}", packed.body.len(), text.len());
        if path.starts_with("/users") {
            // `asOf` is of each answer.
            assert_eq!(text.matches("Name ").count(), plain.body_text().matches("Name ").count(), "{path}");
        } else {
            assert_eq!(text, plain.body_text(), "{path}");
        }
        for answer in [&plain, &packed] {
            let vary = answer.header("vary").unwrap();
            assert!(vary.contains("accept-encoding"), "{path}: no cache gives one for the other: {vary}");
            assert!(answer.header("cache-control").unwrap().contains("no-cache"), "{path}");
        }
        if let Some(tag) = plain.header("etag") {
            assert!(tag.starts_with("W/"), "{path}: {tag} is of both codings");
            assert_eq!(packed.header("etag"), Some(tag), "{path}");
            let known = http.get_with(path, &[accept, GZIP, ("if-none-match", tag)]).await.unwrap();
            assert_eq!((known.status.as_u16(), known.body.len()), (304, 0), "{path}");
            assert_eq!(known.header("content-encoding"), None, "{path}");
            assert!(known.header("vary").unwrap().contains("accept-encoding"), "{path}");
        }
    }
    service.stop().await;
}
