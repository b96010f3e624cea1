//! The header fields of a request that say which answers it takes, and which it has: each may come in several lines,
//! which are one list (RFC 9110, 5.3).

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

pub(super) const NDJSON: &str = "application/x-ndjson";
/// The other ranges that take JSON, the most specific first.
const JSON_RANGES: [&str; 3] = ["application/json", "application/*", "*/*"];
/// The ranges that take plain text.
const TEXT_RANGES: [&str; 3] = ["text/plain", "text/*", "*/*"];

/// Returns whether NDJSON is to be answered rather than JSON.
pub(super) fn wants_ndjson(headers: &HeaderMap) -> bool {
    prefers(headers, NDJSON, JSON_RANGES)
}

/// Returns whether a page is to be answered rather than text.
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    prefers(headers, "text/html", TEXT_RANGES)
}

/// Returns whether an answer is to be compressed: gzip is not refused, and the plain text not liked better (RFC 9110,
/// 12.5.3).
pub(super) fn wants_gzip(headers: &HeaderMap) -> bool {
    let quality = |coding| members(headers.get_all(ACCEPT_ENCODING)).find_map(|member| quality(member, coding));
    let gzip = ["gzip", "x-gzip", "*"].into_iter().find_map(quality);
    gzip.is_some_and(|gzip| gzip > 0.0 && gzip >= quality("identity").unwrap_or_default())
}

/// Returns whether a media type is to be answered rather than the usual one: it is named, not refused, and the other,
/// by the most specific of the ranges that take it, is not liked better.
fn prefers(headers: &HeaderMap, media: &str, usual: [&str; 3]) -> bool {
    let quality = |range: &str| members(headers.get_all(ACCEPT)).find_map(|member| quality(member, range));
    let usual = usual.into_iter().find_map(quality).unwrap_or_default();
    quality(media).is_some_and(|named| named > 0.0 && named >= usual)
}

/// Returns how much `member` likes that range, 0 to 1; `None` when it is of another.
fn quality(member: &str, range: &str) -> Option<f32> {
    let mut parts = member.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(range) {
        return None;
    }
    let weight = parts.find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")));
    Some(weight.and_then(|weight| weight.parse().ok()).unwrap_or(1.0))
}

/// The entity tags that the client has already.
#[derive(Debug, Default)]
pub(super) struct IfNoneMatch(Vec<HeaderValue>);

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get_all(IF_NONE_MATCH).iter().cloned().collect()))
    }
}

impl IfNoneMatch {
    /// Answers with the whole, or with 304 to a client that has it already (RFC 9110, 13.1.2).
    pub(super) fn answer(&self, etag: String, media: &'static str, whole: impl FnOnce() -> Body) -> Response {
        let is_known = self.names(&etag);
        let etag = [(ETAG, HeaderValue::try_from(etag).expect("an entity tag makes a header"))];
        if is_known {
            return (StatusCode::NOT_MODIFIED, etag).into_response();
        }
        (etag, [(CONTENT_TYPE, HeaderValue::from_static(media))], whole()).into_response()
    }

    /// Returns whether it names the tag: RFC 9110 compares weakly there.
    fn names(&self, etag: &str) -> bool {
        let etag = opaque(etag);
        members(&self.0).any(|tag| tag == "*" || opaque(tag) == etag)
    }
}

/// Returns an entity tag of the bytes alone. It is weak, since it is of all codings of them.
pub(super) fn etag_of(bytes: &[u8]) -> String {
    format!("W/\"{}\"", hex::encode(&Sha256::digest(bytes)[..16]))
}

/// Returns the tag without the mark of a weak one.
fn opaque(tag: &str) -> &str {
    tag.trim_start_matches("W/")
}

/// The members of the list that all lines make.
fn members<'l>(lines: impl IntoIterator<Item = &'l HeaderValue>) -> impl Iterator<Item = &'l str> {
    lines.into_iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_is_a_list_or_a_star() {
        let names = |lines: &[&'static str]| {
            IfNoneMatch(lines.iter().map(|line| HeaderValue::from_static(line)).collect()).names("W/\"0-17\"")
        };
        for yes in ["\"0-17\"", "W/\"0-17\"", "\"1-1\", \"0-17\"", "*"] {
            assert!(names(&[yes]), "{yes}");
            assert!(names(&["\"2-2\"", yes]) && names(&[yes, "\"2-2\""]), "{yes} beside another line");
        }
        for no in ["\"0-18\"", "0-17", ""] {
            assert!(!names(&[no]) && !names(&[no, no]), "{no}");
        }
        assert!(!names(&[]));
    }

    #[test]
    fn ndjson_is_what_is_asked_for_by_name_and_liked_best() {
        let wants = |lines: &[&'static str]| {
            wants_ndjson(&lines.iter().map(|line| (ACCEPT, HeaderValue::from_static(line))).collect())
        };
        for yes in [
            &["application/x-ndjson"][..],
            &["Application/X-NDJSON"],
            &["application/x-ndjson; q=0.5"],
            &["text/html, application/x-ndjson"],
            &["text/html", "application/x-ndjson"],
            &["application/x-ndjson, */*;q=0.8"],
            &["application/json, application/x-ndjson"],
            &["application/json;q=0.5, application/x-ndjson;q=0.7, */*"],
        ] {
            assert!(wants(yes), "{yes:?}");
        }
        for no in [
            &[][..],
            &["*/*"],
            &["application/json"],
            &["application/x-ndjson;q=0"],
            &["application/x-ndjson; Q=0.000, */*"],
            &["application/json, application/x-ndjson;q=0.1"],
            &["application/x-ndjson;q=0.1", "*/*"],
            &["application/x-ndjson-like"],
        ] {
            assert!(!wants(no), "{no:?}");
        }
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let wants = |lines: &[&'static str]| {
            wants_gzip(&lines.iter().map(|line| (ACCEPT_ENCODING, HeaderValue::from_static(line))).collect())
        };
        for yes in [
            &["gzip"][..],
            &["gzip, deflate, br, zstd"],
            &["br", "GZIP;q=0.1"],
            &["x-gzip"],
            &["*"],
            &["gzip;q=0.5, identity;q=0.5"],
            &["identity;q=0, *;q=0.5"],
        ] {
            assert!(wants(yes), "{yes:?}");
        }
        for no in [
            &[][..],
            &[""],
            &["identity"],
            &["br, deflate"],
            &["gzip;q=0"],
            &["gzip;q=0, *"],
            &["*;q=0"],
            &["gzip;q=0.5, identity"],
            &["gzipped"],
        ] {
            assert!(!wants(no), "{no:?}");
        }
    }

    #[test]
    fn a_page_is_for_those_who_name_it() {
        let wants = |line: &'static str| wants_html(&[(ACCEPT, HeaderValue::from_static(line))].into_iter().collect());
        let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for yes in [firefox, "text/html", "Text/HTML;level=1", "*/*, text/html"] {
            assert!(wants(yes), "{yes}");
        }
        for no in ["*/*", "text/*", "application/json", "text/html;q=0", "text/plain, text/html;q=0.5", ""] {
            assert!(!wants(no), "{no}");
        }
        assert!(!wants_html(&HeaderMap::new()));
    }
}
