//! The answers to those who are denied (RFC 6750, section 3). They say no more than a rightful reader needs.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use service::{Problem, busy};

use crate::auth::Denied;

/// After how long one may ask again who was denied for the time being.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Returns the answer to a denied request. A browser's `EventSource` comes again by itself where waiting helps.
pub(super) fn answer(denied: Denied, is_event_source: bool) -> Response {
    let later = |status, detail| if is_event_source { busy::event(detail) } else { later(status, detail) };
    let (status, challenge, detail) = match denied {
        Denied::NoToken => {
            (StatusCode::UNAUTHORIZED, "Bearer realm=\"rollcall\"", "expected a token as Authorization: Bearer")
        }
        Denied::SeveralTokens => (
            StatusCode::BAD_REQUEST,
            "Bearer realm=\"rollcall\", error=\"invalid_request\"",
            "expected one Authorization",
        ),
        Denied::Expired => {
            let challenge = "Bearer realm=\"rollcall\", error=\"invalid_token\", \
                             error_description=\"the token has expired\"";
            (StatusCode::UNAUTHORIZED, challenge, "the token has expired")
        }
        Denied::UnknownToken
        | Denied::Algorithm
        | Denied::UnknownKey
        | Denied::Signature
        | Denied::Issuer
        | Denied::Audience
        | Denied::Claims
        | Denied::NotYetValid => {
            let challenge = "Bearer realm=\"rollcall\", error=\"invalid_token\"";
            (StatusCode::UNAUTHORIZED, challenge, "the token is not valid")
        }
        Denied::Scope => {
            let challenge = "Bearer realm=\"rollcall\", error=\"insufficient_scope\"";
            (StatusCode::FORBIDDEN, challenge, "a scope is missing")
        }
        Denied::Host => {
            let detail = "the request is for a host that `http.allowed_hosts` does not name; without that setting, a \
                          listener on the loopback is asked by the names of the loopback only";
            return Problem::new(StatusCode::MISDIRECTED_REQUEST).detail(detail).into_response();
        }
        Denied::KeysUnavailable => {
            return later(StatusCode::SERVICE_UNAVAILABLE, "the keys of the issuer are not available");
        }
        Denied::Requests => return later(StatusCode::TOO_MANY_REQUESTS, "too many requests of this principal"),
        Denied::Streams => return later(StatusCode::TOO_MANY_REQUESTS, "too many streams of this principal"),
    };
    let problem = Problem::new(status).detail(detail);
    ([(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))], problem).into_response()
}

fn later(status: StatusCode, detail: &str) -> Response {
    Problem::new(status).detail(detail).retry_after(RETRY_AFTER).into_response()
}
