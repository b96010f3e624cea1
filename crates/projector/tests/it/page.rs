//! `/` and the files of the page.

use projector::{NewToken, Scopes};
use tempfile::TempDir;
use testkit::broker::Log;

use crate::support::{Service, get, request};

/// What a browser says that it takes.
const BROWSER: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")];

/// A service whose data is for those alone who have the token.
async fn closed(kafka: &Log, store: &TempDir) -> Service {
    let token = NewToken::from_random([1; 32]).line(&"desk".parse().unwrap(), Scopes::ALL);
    let service = Service::start_with(kafka, store, |raw| {
        raw.auth.token_file = store.path().join("tokens");
        std::fs::write(&raw.auth.token_file, token + "\n").unwrap();
        raw.store.dir = store.path().join("table");
    });
    let service = service.await;
    service.ready().await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_a_page_for_browsers_and_a_list_for_others() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = closed(&kafka, &store).await;
    let page = get(service.http, "/", &BROWSER).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert!(page.body_text().contains("href=\"docs/\""), "{}", page.body_text());

    let list = service.get("/").await;
    assert_eq!(list.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(list.body_text().contains("GET /users/{userId}"));
    for answer in [&page, &list] {
        assert_eq!(answer.header("vary"), Some("accept-encoding, accept"), "no cache gives one for the other");
    }
    assert_eq!(service.get("/users").await.status, 401, "the page shows nobody's data");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_the_page_are_for_everybody_and_sent_once() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = closed(&kafka, &store).await;
    let page = get(service.http, "/", &BROWSER).await;
    let loaded: Vec<&str> =
        page.body_text().split('"').filter(|text| text.starts_with("page/") && !text.contains(' ')).collect();
    assert!(!loaded.is_empty());
    for file in ["", loaded[0]] {
        let path = format!("/{file}");
        let first = get(service.http, &path, &BROWSER).await;
        assert_eq!((first.status.as_u16(), first.header("cache-control")), (200, Some("no-cache")), "{path}");
        let tag = first.header("etag").unwrap();
        let again = get(service.http, &path, &[BROWSER[0], ("if-none-match", tag)]).await;
        assert_eq!((again.status.as_u16(), again.header("etag")), (304, Some(tag)), "{path}");
        assert_eq!(request(service.http, "HEAD", &path, &BROWSER).await.header("etag"), Some(tag), "{path}");
    }
    for file in &loaded {
        assert_eq!(service.get(&format!("/{file}")).await.status, 200, "{file}");
    }
    for path in ["/page/nothing.js", "/page/", "/page/index.html", "/page/../openapi.json"] {
        assert_eq!(service.get(path).await.status, 404, "{path}");
    }
    service.stop().await;
}
