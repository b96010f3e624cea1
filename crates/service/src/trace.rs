//! The trace of a request, as W3C Trace Context has it: taken from its header `traceparent`, or made. Every line that
//! is logged while the request is answered has it.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use http::HeaderMap;
use tower::Service;
use tracing::Instrument as _;
use tracing::instrument::Instrumented;

/// The name of the header, of requests and of records.
const HEADER: &str = domain::headers::TRACEPARENT;
const TRACE_BYTES: usize = 16;
const PARENT_BYTES: usize = 8;
/// The length of version 00: `00-<trace>-<parent>-<flags>`. Later versions may have more behind it.
const LENGTH: usize = 55;

/// A `traceparent` of version 00.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traceparent(String);

impl Traceparent {
    /// Returns the trace of a request with these headers, or a new one if they have none, several, or one that is not
    /// valid.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(HEADER).iter();
        let only = given.next().filter(|_| given.next().is_none());
        only.and_then(|value| Self::parse(value.to_str().ok()?)).unwrap_or_else(Self::new)
    }

    /// Returns the value if it is valid. One of a later version is written as version 00.
    fn parse(value: &str) -> Option<Self> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let parts: Vec<&str> = known.split('-').collect();
        let [version, trace, parent, flags] = parts.as_slice() else { return None };
        let has = |part: &str, length| part.len() == length && part.bytes().all(is_hex);
        let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
        let well_formed =
            has(version, 2) && has(trace, 2 * TRACE_BYTES) && has(parent, 2 * PARENT_BYTES) && has(flags, 2);
        let as_version = match *version {
            "ff" => false,
            "00" => more.is_empty(),
            _ => more.is_empty() || more.starts_with('-'),
        };
        let valid = well_formed && as_version && !is_zero(trace) && !is_zero(parent);
        valid.then(|| Self(format!("00-{trace}-{parent}-{flags}")))
    }

    /// Returns a new trace, which nobody has decided to sample.
    fn new() -> Self {
        // Without random bytes all new traces are one. No request is refused for that.
        // Keys of this thread that the system has drawn, and a counter. A trace is no secret, and is made for each
        // request.
        let [high, low, parent] = [(); 3].map(|()| RandomState::new().hash_one(()));
        Self(format!("00-{high:016x}{low:016x}-{parent:016x}-00"))
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Puts its trace into each request to the inner service, and into what is logged meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Traced<S> {
    pub(crate) within: S,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Traced<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.within.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let traceparent = Traceparent::of(request.headers());
        // At the level of errors, so that a filter that shows any line shows its trace.
        let span = tracing::error_span!("request", %traceparent);
        request.extensions_mut().insert(traceparent);
        let answered = span.in_scope(|| self.within.call(request));
        answered.instrument(span)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(values: &[&str]) -> String {
        let value = |value: &&str| (http::HeaderName::from_static(HEADER), HeaderValue::from_str(value).unwrap());
        Traceparent::of(&values.iter().map(value).collect()).to_string()
    }

    #[test]
    fn a_valid_trace_is_passed_on() {
        assert_eq!(of(&[VALID]), VALID);
        let later = VALID.replacen("00", "cc", 1);
        for later in [later.clone(), format!("{later}-what-comes-later")] {
            assert_eq!(of(&[&later]), VALID, "{later} is read as version 00");
        }
    }

    #[test]
    fn a_request_without_a_valid_trace_gets_a_new_one() {
        let upper = VALID.to_uppercase();
        let longer = format!("{VALID}-more");
        let later = VALID.replacen("00", "cc", 1) + "more";
        let nothing: [&[&str]; 8] = [
            &[],
            &[""],
            &[VALID, VALID],
            &[&upper],
            &[&longer],
            &[&later],
            &["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
            &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
        ];
        for given in nothing {
            let new = of(given);
            assert!(Traceparent::parse(&new).is_some_and(|parsed| parsed.to_string() == new), "{new}");
            assert!(!given.contains(&new.as_str()) && new != of(given), "each gets its own: {new}");
        }
        assert!(Traceparent::parse("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01").is_none());
        assert!(Traceparent::parse(&"\u{e4}".repeat(40)).is_none(), "cut within a character");
    }
}
