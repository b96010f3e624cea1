use std::convert::Infallible;
use std::io::Read as _;

use axum::Router;
use axum::body::Bytes;
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use tower::layer::layer_fn;

use super::*;

/// A text that becomes shorter, of several steps.
fn long() -> String {
    (0..100_000).map(|number| format!("{number},")).collect()
}

fn router() -> Router {
    let of = |media: &'static str, text: String| get(move || async move { ([(CONTENT_TYPE, media)], text) });
    let streamed = || async {
        let parts = long().into_bytes().chunks(1_000).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        let body = Body::from_stream(stream::iter(parts).map(Ok::<_, Infallible>));
        ([(CONTENT_TYPE, "application/x-ndjson")], body)
    };
    let compressing = places();
    let untouched = ([(CONTENT_TYPE, "text/plain"), (CACHE_CONTROL, "no-store, no-transform")], long());
    Router::new()
        .route("/long", of("application/json", long()))
        .route("/streamed", get(streamed))
        .route("/page", of("text/html; charset=utf-8", long()))
        .route("/short", of("application/json", "1".repeat(1_399)))
        .route("/picture", of("image/png", long()))
        .route("/events", of("text/event-stream", long()))
        .route("/untouched", get(|| async { untouched }))
        .route("/failed", get(|| async { (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain")], long()) }))
        .layer(layer_fn(move |within| Gzip { places: Arc::clone(&compressing), within }))
}

async fn ask(router: &Router, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

const GZIP: (&str, &str) = ("accept-encoding", "gzip, deflate, br, zstd");

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

async fn bytes(response: Response) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_long_text_is_compressed_for_those_who_ask() {
    let router = router();
    for path in ["/long", "/streamed", "/page"] {
        let answer = ask(&router, "GET", path, &[GZIP]).await;
        assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip", "{path}");
        assert_eq!(answer.headers().get(CONTENT_LENGTH), None, "{path}");
        let (compressed, plain) = (bytes(answer).await, bytes(ask(&router, "GET", path, &[]).await).await);
        assert!(compressed.len() * 2 < plain.len(), "{path}: {} of {}", compressed.len(), plain.len());
        assert_eq!((unpacked(&compressed), plain), (long(), long().into()), "{path}");
        let head = ask(&router, "HEAD", path, &[GZIP]).await;
        assert_eq!(head.headers()[CONTENT_ENCODING], "gzip", "HEAD {path}");
        assert_eq!(head.headers().get(CONTENT_LENGTH), None, "HEAD {path}");
        assert!(bytes(head).await.is_empty(), "HEAD {path}");
    }
}

#[tokio::test]
async fn other_answers_are_sent_as_they_are() {
    let router = router();
    for path in ["/short", "/picture", "/events", "/untouched", "/failed", "/nothing"] {
        let answer = ask(&router, "GET", path, &[GZIP]).await;
        assert_eq!(answer.headers().get(CONTENT_ENCODING), None, "{path}");
    }
    for headers in [
        &[][..],
        &[("accept-encoding", "br")],
        &[GZIP, ("sec-fetch-site", "cross-site")],
        &[GZIP, ("sec-fetch-site", "same-site")],
    ] {
        let answer = ask(&router, "GET", "/long", headers).await;
        assert_eq!(answer.headers().get(CONTENT_ENCODING), None, "{headers:?}");
        assert!(answer.headers().contains_key(CONTENT_LENGTH), "{headers:?}");
    }
    for site in ["same-origin", "none"] {
        let answer = ask(&router, "GET", "/long", &[GZIP, ("sec-fetch-site", site)]).await;
        assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip", "{site}");
    }
}

#[tokio::test]
async fn so_many_are_compressed_at_once_and_no_more() {
    let router = router();
    let mut held = Vec::new();
    for _ in 0..COMPRESSING_MAX {
        held.push(ask(&router, "GET", "/long", &[GZIP]).await);
    }
    assert!(held.iter().all(|answer| answer.headers().contains_key(CONTENT_ENCODING)));
    assert_eq!(ask(&router, "GET", "/long", &[GZIP]).await.headers().get(CONTENT_ENCODING), None);
    held.pop();
    assert_eq!(ask(&router, "GET", "/long", &[GZIP]).await.headers()[CONTENT_ENCODING], "gzip");
}

#[tokio::test]
async fn what_is_there_is_sent_while_the_rest_is_waited_for() {
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"first\n"))]);
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let mut body = GzipBody::new(Body::from_stream(first.chain(stream::pending())), place);
    let mut sent = Vec::new();
    let mut decoded = [0; 6];
    while flate2::read::GzDecoder::new(&sent[..]).read_exact(&mut decoded).is_err() {
        sent.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(&decoded, b"first\n");
}

#[tokio::test]
async fn a_body_that_fails_does_not_end_well() {
    let parts = stream::iter([Ok(Bytes::from_static(b"first\n")), Err(std::io::Error::other("the table is gone"))]);
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    assert!(GzipBody::new(Body::from_stream(parts), place).collect().await.is_err());
}
