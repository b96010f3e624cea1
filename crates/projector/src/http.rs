//! The HTTP side: routes, and the way of a request through them.
//!
//! ```text
//! request ──▶ wait (at_least) ──▶ users | changes | status ──▶ Projection ──▶ render ──▶ JSON, NDJSON or events
//! ```
//!
//! `params` has the parameters of requests, `bodies` the documented bodies of answers, and `docs` lists the handlers.

mod api;

mod refusal;

mod at_least;

mod filter;

mod params;

mod bodies;

mod accept;

mod wait;

mod render;

mod users;

mod list;

mod changes;

mod status;

mod docs;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH, LINK, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method};
use service::{Problem, Shutdown};
use tower::layer::layer_fn;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::projection::Projection;
use api::Api;
use wait::Wait;

/// How long a browser keeps the answer to its preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);

const ALLOWED: &str = "GET, HEAD";

/// The routes that the OpenAPI document has.
#[cfg(test)]
const ROUTES: [&str; 7] = [
    "/users",
    "/users/{userId}",
    "/users/by-username/{username}",
    "/users/by-email/{email}",
    "/users/by-extension/{extension}",
    "/changes",
    "/status",
];

/// Returns the routes of the service, whose streams end with the shutdown. Web pages of these origins may read the
/// answers.
pub(crate) fn router(projection: Projection, shutdown: Shutdown, cors_origins: &[String]) -> Router {
    let api = Arc::new(Api { projection, shutdown });
    let routes = Router::new()
        .route("/users", get(list::list))
        .route("/users/{userId}", get(users::one))
        .route("/users/by-username/{username}", get(users::by_username))
        .route("/users/by-email/{email}", get(users::by_email))
        .route("/users/by-extension/{extension}", get(users::by_extension))
        .route("/changes", get(changes::changes))
        .route("/status", get(status::status))
        .layer(layer_fn({
            let api = Arc::clone(&api);
            move |within| Wait { api: Arc::clone(&api), within }
        }))
        .route("/openapi.json", get(docs::document))
        .route("/docs", get(docs::to_page))
        .route("/docs/", get(docs::index))
        .route("/docs/{file}", get(docs::page))
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed(ALLOWED) })
        .fallback(|| async { Problem::not_found() })
        .with_state(api);
    if cors_origins.is_empty() { routes } else { routes.layer(cors(cors_origins)) }
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([ACCEPT, IF_NONE_MATCH, HeaderName::from_static("last-event-id")])
        .expose_headers([ETAG, LINK, RETRY_AFTER, wait::POSITIONS])
        .max_age(PREFLIGHT_MAX_AGE)
}
