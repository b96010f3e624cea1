//! `/openapi.json`, made from the handlers, and `/docs`, the same for people: Swagger UI, its files in the binary, so
//! that it works where there is no other network.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use service::Problem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, serve};

use super::accept::{self, IfNoneMatch};
use super::answers::EveryAnswer;
use super::bodies::{ProblemBody, UserBody, UserMatchesBody, UserPageBody};
use super::history::HistoryBody;
use super::page::REVALIDATED;
use super::{changes, history, list, status, users};

/// Where the document is, seen from the page: relative, so that both work below a path of a proxy.
const DOCUMENT: &str = "../openapi.json";

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
        history::history,
        changes::changes,
        status::status
    ),
    components(schemas(UserBody, UserPageBody, UserMatchesBody, HistoryBody, ProblemBody)),
    // Relative to the document's own address.
    servers((url = ".")),
    modifiers(&EveryAnswer, &Bearer),
    security(("bearer" = []), ())
)]
struct Document;

/// The scheme by which readers prove who they are, where it is demanded.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let description = "A token of the service's file, or a JWT of its issuer. Scopes: `users:read` (users), \
                           `users:contact` (telephone numbers, e-mail), `users:pay` (wages, and members that the \
                           vendor's table does not have), `changes:read` (`/changes`), `status:read` (`/status`). \
                           Where everybody may read, none is needed.";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

pub(super) async fn document(known: IfNoneMatch) -> Response {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
        let text = Document::openapi().to_json().expect("a document made by a derive is JSON");
        Bytes::from(text)
    });
    static TAG: LazyLock<String> = LazyLock::new(|| accept::etag_of(&TEXT));
    (REVALIDATED, known.answer(TAG.clone(), "application/json", || Body::from(TEXT.clone()))).into_response()
}

pub(super) async fn to_page() -> Redirect {
    // Relative, as every link: a proxy may put all of this below a path.
    Redirect::permanent("docs/")
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
            (REVALIDATED, [(CONTENT_TYPE, media)], file.bytes.into_owned()).into_response()
        }
        Ok(None) | Err(_) => Problem::not_found().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

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

    /// Returns the operations with their paths.
    fn operations(document: &Value) -> Vec<(&String, &Value)> {
        document["paths"].as_object().unwrap().iter().map(|(path, item)| (path, &item["get"])).collect()
    }

    #[test]
    fn every_operation_has_its_own_name_and_no_parameter_an_example() {
        let document = document();
        let names: BTreeSet<&str> = operations(&document)
            .into_iter()
            .map(|(_, operation)| operation["operationId"].as_str().unwrap())
            .collect();
        let expected = [
            "findUsersByEmail",
            "findUsersByExtension",
            "findUsersByUsername",
            "getStatus",
            "getUser",
            "getUserHistory",
            "listUsers",
            "streamChanges",
        ];
        assert!(names.into_iter().eq(expected));
        // The page fills an example in, and a position of an example is of another topic: 409.
        for (path, operation) in operations(&document) {
            for parameter in operation["parameters"].as_array().unwrap() {
                assert_eq!(parameter.get("example"), None, "{path}: {parameter}");
                let is_list = parameter["schema"]["type"][0] == "array" || parameter["schema"]["type"] == "array";
                assert!(!is_list || parameter["explode"] == false, "parted by commas: {path}: {parameter}");
            }
        }
    }

    #[test]
    fn every_refusal_is_a_problem_and_every_header_is_named() {
        let document = document();
        for (path, operation) in operations(&document) {
            let responses = operation["responses"].as_object().unwrap();
            for status in ["400", "401", "403", "409", "421", "429", "500", "503"] {
                assert!(responses.contains_key(status), "{path}: {status}");
            }
            for (status, response) in responses {
                let media: Vec<&String> =
                    response["content"].as_object().into_iter().flat_map(|all| all.keys()).collect();
                let is_problem = status.as_str() >= "400" && status != "431";
                assert_eq!(media == ["application/problem+json"], is_problem, "{path}: {status}: {media:?}");
            }
            for header in ["Rollcall-Positions", "Rollcall-As-Of"] {
                assert!(responses["200"]["headers"][header].is_object(), "{path}: {header}");
            }
            assert!(responses["503"]["headers"]["Retry-After"].is_object(), "{path}");
            assert!(responses["403"]["headers"]["WWW-Authenticate"].is_object(), "{path}");
        }
        let one = &document["paths"]["/users/{userId}"]["get"];
        assert!(one["responses"]["200"]["headers"]["ETag"].is_object());
        assert!(one["responses"]["304"]["headers"]["ETag"].is_object());
        let parameters = one["parameters"].as_array().unwrap();
        let named = |name: &str| parameters.iter().find(|parameter| parameter["name"] == name).unwrap();
        assert_eq!(named("If-None-Match")["in"], "header");
        let id = &named("userId")["schema"];
        assert_eq!((&id["minimum"], &id["maximum"]), (&0.into(), &domain::SAFE_INTEGER_MAX.into()));
        let schemas = &document["components"]["schemas"];
        assert!(schemas["Problem"]["properties"]["pointer"].is_object());
    }

    #[test]
    fn values_of_a_closed_set_are_enumerated() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        let phases = ["starting", "stored", "rebuilding", "catching-up", "indexing", "following", "failed", "ended"];
        assert_eq!(schemas["Phase"]["enum"], serde_json::json!(phases));
        assert_eq!(schemas["GapState"]["enum"], serde_json::json!(["awaited", "lost"]));
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
