//! The HTTP side: routes, and the way of a request through them.
//!
//! ```text
//! request ──▶ hosts ──▶ gzip ──▶ authenticate ──▶ guard (scopes) ──▶ wait (at_least) ──┐
//!       JSON, NDJSON or events ◀── render (fields) ◀── Projection ◀── users | history | changes | status
//! ```
//!
//! `denial` has the answers to those who are denied, `params` the parameters of requests, `bodies` the documented
//! bodies of answers, `docs` lists the handlers, and `page` is for people.

mod api;

mod refusal;

mod guard;

mod denial;

mod authenticate;

mod trail;

mod hosts;

mod fields;

mod at_least;

mod cursor;

mod params;

mod bodies;

mod accept;

mod gzip;

mod wait;

mod render;

mod users;

mod history;

mod list;

mod sse;

mod changes;

mod status;

mod answers;

mod docs;

mod page;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, get};
use domain::headers::TRACEPARENT;
use http::header::{ACCEPT, AUTHORIZATION, ETAG, IF_NONE_MATCH, LINK, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method};
use service::hosts::AllowedHosts;
use service::{Problem, Readiness, Shutdown};
use tower::layer::layer_fn;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::projection::Projection;
use crate::scopes::Scope;
use api::Api;
use authenticate::Authenticate;
use guard::Guard;
use gzip::Gzip;
use hosts::Hosts;
use wait::Wait;

pub(crate) use authenticate::{Admits, Gate};
pub(crate) use trail::Trail;

/// How long a browser keeps the answer to its preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);

const ALLOWED: &str = "GET, HEAD";

/// The routes that the OpenAPI document has.
#[cfg(test)]
const ROUTES: [&str; 8] = [
    "/users",
    "/users/{userId}",
    "/users/{userId}/history",
    "/users/by-username/{username}",
    "/users/by-email/{email}",
    "/users/by-extension/{extension}",
    "/changes",
    "/status",
];

/// Returns the routes of the service, whose streams end with the shutdown. They answer to the `allowed` hosts, and to
/// those whom the gate admits; web pages of these origins may read the answers.
pub(crate) fn router(
    projection: Projection,
    shutdown: Shutdown,
    readiness: Readiness,
    gate: Gate,
    allowed: AllowedHosts,
    cors_origins: &[String],
) -> Router {
    let gate = Arc::new(gate);
    let authenticate = layer_fn({
        let gate = Arc::clone(&gate);
        move |within| Authenticate { gate: Arc::clone(&gate), within }
    });
    // Page and documentation are for everybody: their files show nobody's data.
    let routes = routes(Arc::new(Api { projection, shutdown, readiness })).route_layer(authenticate).merge(documents());
    let routes = routes
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed(ALLOWED) })
        .fallback(|| async { Problem::not_found() });
    let routes = if cors_origins.is_empty() { routes } else { routes.layer(cors(cors_origins)) };
    let compressing = gzip::places();
    routes.layer(layer_fn(move |within| Hosts {
        allowed: allowed.clone(),
        gate: Arc::clone(&gate),
        within: Gzip { places: Arc::clone(&compressing), within },
    }))
}

/// Returns the routes for whichever principal the request has.
fn routes(api: Arc<Api>) -> Router {
    use Scope::{ChangesRead, StatusRead, UsersContact, UsersRead};
    let waiting = |demanded: &'static [Scope], is_stream, method: MethodRouter<Arc<Api>>| {
        let api = Arc::clone(&api);
        let waits = layer_fn(move |within| Wait { api: Arc::clone(&api), is_stream, within });
        method.route_layer(waits).route_layer(layer_fn(move |within| Guard { demanded, within }))
    };
    let guarded = |demanded, method| waiting(demanded, false, method);
    Router::new()
        .route("/users", guarded(&[UsersRead], get(list::list)))
        .route("/users/{userId}", guarded(&[UsersRead], get(users::one)))
        .route("/users/{userId}/history", guarded(&[UsersRead], get(history::history)))
        .route("/users/by-username/{username}", guarded(&[UsersRead], get(users::by_username)))
        .route("/users/by-email/{email}", guarded(&[UsersRead, UsersContact], get(users::by_email)))
        .route("/users/by-extension/{extension}", guarded(&[UsersRead], get(users::by_extension)))
        .route("/changes", waiting(&[ChangesRead], true, get(changes::changes)))
        .route("/status", guarded(&[StatusRead], get(status::status)))
        .with_state(api)
}

fn documents() -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/page/{file}", get(page::file))
        .route("/openapi.json", get(docs::document))
        .route("/docs", get(docs::to_page))
        .route("/docs/", get(docs::index))
        .route("/docs/{file}", get(docs::page))
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
        .allow_headers([
            ACCEPT,
            AUTHORIZATION,
            IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static(TRACEPARENT),
        ])
        .expose_headers([ETAG, LINK, RETRY_AFTER, WWW_AUTHENTICATE, wait::POSITIONS, wait::AS_OF])
        .max_age(PREFLIGHT_MAX_AGE)
}

#[cfg(test)]
mod tests;
