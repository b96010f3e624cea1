//! HTTP errors as RFC 9457 Problem Details.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem: the answer to a failed request.
///
/// `type` is always `about:blank`, for which RFC 9457 defines `title` as the phrase of the status. `detail` describes
/// the individual problem. For a fault in a body, `pointer` is the JSON Pointer (RFC 6901) of its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: Option<String>,
    pointer: Option<String>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
}

impl Problem {
    pub fn new(status: StatusCode) -> Self {
        Self { status, detail: None, pointer: None, retry_after: None, allow: None }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Adds `Retry-After`, in whole seconds, at least one.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Returns 404, for a router's fallback.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND).detail("there is no such path")
    }

    /// Returns 405 with the allowed methods.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("expected one of these methods: {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED).detail(detail) }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }
}

#[derive(Serialize)]
struct Body<'p> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'p str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail.as_deref(),
            pointer: self.pointer.as_deref(),
        };
        let json = serde_json::to_vec(&body).expect("a struct of texts and a number is JSON");
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn body(problem: Problem) -> (Response<()>, String) {
        let (parts, body) = problem.into_response().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(parts, ()), String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_problem_names_status_reason_and_place() {
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY).detail("not a number").pointer("/new/userId");
        let (response, json) = body(problem).await;
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(
            json,
            concat!(
                r#"{"type":"about:blank","title":"Unprocessable Entity","status":422,"#,
                r#""detail":"not a number","pointer":"/new/userId"}"#
            )
        );
    }

    #[tokio::test]
    async fn headers_say_when_to_come_back_and_how() {
        let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE).retry_after(Duration::from_millis(10));
        assert_eq!(body(busy).await.0.headers()[RETRY_AFTER], "1");
        let (response, json) = body(Problem::method_not_allowed("POST, PUT")).await;
        assert_eq!(response.headers()[ALLOW], "POST, PUT");
        assert!(json.contains(r#""detail":"expected one of these methods: POST, PUT""#), "{json}");
    }
}
