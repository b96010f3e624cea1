//! The answer when a place is missing, to each kind of client so that it comes again.

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::Problem;

const EVENT_STREAM: &str = "text/event-stream";
/// How long the client is asked to wait.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Returns 503 with `Retry-After`. A browser's `EventSource` never comes again after that, and names events in
/// `Accept`: it gets a stream with one event, `busy`, and the time after which to come again.
pub fn answer(headers: &HeaderMap, detail: &str) -> Response {
    if !names_events(headers) {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE).detail(detail).retry_after(RETRY_AFTER).into_response();
    }
    event(detail)
}

/// Returns a stream with one event, `busy`, and the time after which to come again.
pub fn event(detail: &str) -> Response {
    let data = serde_json::json!({ "reason": detail });
    let events = format!("retry: {}\nevent: busy\ndata: {data}\n\n", RETRY_AFTER.as_millis());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
    ];
    (headers, events).into_response()
}

/// Returns whether `Accept` names events, as that of an `EventSource` does.
pub fn names_events(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut ranges = lines.flat_map(|line| line.split(',')).filter_map(|member| member.split(';').next());
    ranges.any(|range| range.trim().eq_ignore_ascii_case(EVENT_STREAM))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn an_event_source_is_asked_to_come_again_and_others_get_503() {
        for (accept, status) in [("text/event-stream", 200), ("*/*", 503), ("text/html, Text/Event-Stream;q=0.5", 200)]
        {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            let (head, body) = answer(&headers, "full").into_parts();
            assert_eq!(head.status, status, "{accept}");
            let body = body.collect().await.unwrap().to_bytes();
            let is_event = body == "retry: 10000\nevent: busy\ndata: {\"reason\":\"full\"}\n\n";
            assert_eq!(is_event, status == 200, "{accept}: {body:?}");
            assert_eq!(head.headers.get("retry-after").is_some(), status == 503);
        }
        assert_eq!(answer(&HeaderMap::new(), "full").status(), 503);
    }
}
