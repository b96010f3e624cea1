//! Compresses answers for those who ask for it (`Accept-Encoding: gzip`).
//!
//! Left as they are: short answers, those whose media type is compressed already, and those that forbid it
//! (`no-transform`), as the stream of changes does. Every entity tag is weak, so that one tag is of all codings (RFC
//! 9110, 8.8.3).
//!
//! The length of a compressed answer tells something of what is in it, to one who sees it pass by and has a word in it
//! (BREACH): a list repeats its filters in `next`, beside telephone numbers. Who has such a word is a page of another
//! site, by which a browser asks. The browser says so (`Sec-Fetch-Site`), and gets the answer as it is.

mod body;

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use service::answer::{Finish, Finishing};
use tokio::sync::Semaphore;
use tower::Service;

use super::accept;
use body::GzipBody;

/// The length in bytes from which on an answer is compressed: a shorter one fits a packet as it is.
const BYTES_MIN: u64 = 1_400;
/// How many answers are compressed at once, each with some 300 KB of memory; further ones are sent as they are.
const COMPRESSING_MAX: usize = 64;
/// The beginnings of the media types that become shorter.
const TEXTS: [&str; 4] = ["application/json", "application/x-ndjson", "text/", "image/svg+xml"];
const EVENT_STREAM: &str = "text/event-stream";

/// Compresses the answers of the inner service.
#[derive(Clone, Debug)]
pub(super) struct Gzip<S> {
    pub(super) places: Arc<Semaphore>,
    pub(super) within: S,
}

/// Returns the places that the routes of a service share.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(COMPRESSING_MAX))
}

impl<S: Service<Request, Response = Response>> Service<Request> for Gzip<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Finishing<S::Future, Compress>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.within.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let headers = request.headers();
        let is_asked = accept::wants_gzip(headers) && !is_of_another_site(headers);
        let places = is_asked.then(|| Arc::clone(&self.places));
        Finishing::new(self.within.call(request), Compress(places))
    }
}

/// Returns whether a page of another site has the browser ask.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

/// Compresses an answer if that is asked for.
#[derive(Debug)]
pub(super) struct Compress(Option<Arc<Semaphore>>);

impl Finish for Compress {
    fn finish(self, response: &mut Response) {
        let Some(places) = self.0.filter(|_| becomes_shorter(response)) else { return };
        let Ok(place) = places.try_acquire_owned() else { return };
        let headers = response.headers_mut();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.remove(CONTENT_LENGTH);
        let plain = std::mem::take(response.body_mut());
        *response.body_mut() = Body::new(GzipBody::new(plain, place));
    }
}

fn becomes_shorter(response: &Response) -> bool {
    let headers = response.headers();
    let names = |name, value: &str| {
        let value_of = headers.get(name).and_then(|found| HeaderValue::to_str(found).ok());
        value_of.is_some_and(|found| found.contains(value))
    };
    let media = headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let is_text = TEXTS.iter().any(|text| media.starts_with(text)) && !media.starts_with(EVENT_STREAM);
    // The answer to HEAD has its body still: it is taken away when the length is known, if it is.
    let length = response.body().size_hint().exact();
    response.status() == StatusCode::OK
        && is_text
        && length.is_none_or(|length| length >= BYTES_MIN)
        && !headers.contains_key(CONTENT_ENCODING)
        && !names(CACHE_CONTROL, "no-transform")
}

#[cfg(test)]
mod tests;
