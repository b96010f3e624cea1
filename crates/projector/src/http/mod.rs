//! The HTTP side: who asks what, and how it is answered.
//!
//! ```text
//! request ──▶ wait (at_least) ──▶ users | changes | status ──▶ Projection ──▶ render ──▶ JSON, NDJSON or events
//! ```

mod refusal;

mod wait;

mod render;

mod users;

mod changes;

mod status;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use service::{Problem, Shutdown};

use crate::Projection;

/// How many users a page has if nothing is said.
pub(crate) const PAGE_DEFAULT: usize = 100;
/// How many users a page has at most; whoever wants all of them asks for NDJSON.
pub(crate) const PAGE_MAX: usize = 1_000;
/// How long `at_least` waits if nothing is said.
pub(crate) const WAIT_DEFAULT: Duration = Duration::from_secs(5);
/// How long `at_least` waits at most: longer than any commit takes, shorter than what proxies put up with.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);

/// How often a quiet subscriber hears something: below the minute after which proxies take a connection for dead.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

const ALLOWED: &str = "GET, HEAD";

/// What the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) projection: Projection,
    /// How often a quiet subscriber hears something.
    pub(crate) heartbeat: Duration,
    /// Ends the streams, which would go on for ever.
    pub(crate) shutdown: Shutdown,
}

/// Returns the routes of the service.
pub(crate) fn router(api: Api, _cors_origins: &[String]) -> Router {
    let api = Arc::new(api);
    Router::new()
        .route("/users", get(users::list))
        .route("/users/{userId}", get(users::one))
        .route("/users/by-username/{username}", get(users::by_username))
        .route("/users/by-email/{email}", get(users::by_email))
        .route("/users/by-extension/{extension}", get(users::by_extension))
        .route("/changes", get(changes::changes))
        .route("/status", get(status::status))
        .layer(from_fn_with_state(Arc::clone(&api), wait::wait))
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed(ALLOWED) })
        .fallback(|| async { Problem::not_found() })
        .with_state(api)
}
