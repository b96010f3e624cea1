//! `/openapi.json`, made from the handlers, and `/docs`, the same for people: Swagger UI, its files in the binary, so
//! that it works where there is no other network.

use std::sync::{Arc, LazyLock};

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use service::Problem;
use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, serve};

use super::bodies::{ProblemBody, UserBody, UserMatchesBody, UserPageBody};
use super::{changes, list, status, users};

/// Where the document is, for the page.
const DOCUMENT: &str = "/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rollcall projector",
        description = "The current state of every user of the call centre. Any GET takes `at_least` and waits until \
                       that record has been read, so that a reader sees the events it knows of, at any replica. A \
                       user and its weak entity tag depend on the user's events alone, whichever replica answers; \
                       `_meta.position`, gaps and the history of `/changes` depend on the log that it has read."
    ),
    paths(
        users::one,
        list::list,
        users::by_username,
        users::by_email,
        users::by_extension,
        changes::changes,
        status::status
    ),
    components(schemas(UserBody, UserPageBody, UserMatchesBody, ProblemBody))
)]
struct Document;

pub(super) async fn document() -> Response {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
        let text = Document::openapi().to_json().expect("a document made by a derive is JSON");
        Bytes::from(text)
    });
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], TEXT.clone()).into_response()
}

pub(super) async fn to_page() -> Redirect {
    Redirect::permanent("/docs/")
}

pub(super) async fn index() -> Response {
    file("index.html")
}

pub(super) async fn page(Path(name): Path<String>) -> Response {
    file(&name)
}

/// Answers with one of the page's files; a few large ones, each read from the binary and made once.
fn file(name: &str) -> Response {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from(DOCUMENT)));
    match serve(name, Arc::clone(&CONFIG)) {
        Ok(Some(file)) => {
            let Ok(media) = HeaderValue::from_str(&file.content_type) else {
                return Problem::not_found().into_response();
            };
            ([(CONTENT_TYPE, media)], file.bytes.into_owned()).into_response()
        }
        Ok(None) | Err(_) => Problem::not_found().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::{User, UserId};
    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(&Document::openapi().to_json().unwrap()).unwrap()
    }

    #[test]
    fn the_document_is_openapi_3_1_and_has_every_route() {
        let document = document();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        for path in super::super::ROUTES {
            assert!(paths.iter().any(|known| known.as_str() == path), "{path}");
        }
        assert_eq!(paths.len(), super::super::ROUTES.len());
    }

    #[test]
    fn the_documented_user_has_the_fields_that_are_rendered() {
        let schema = &document()["components"]["schemas"]["User"]["properties"];
        let mut documented: BTreeMap<_, _> = schema.as_object().unwrap().iter().collect();
        documented.remove(&"_meta".to_owned());
        let rendered = User::new(UserId::new(1).unwrap()).to_json();
        let names: Vec<&String> = documented.into_keys().collect();
        let mut expected: Vec<&String> = rendered.keys().collect();
        expected.sort();
        assert_eq!(names, expected);
    }
}
