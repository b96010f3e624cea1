//! `at_least` and `wait_ms`, the parameters that every GET takes.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use domain::Position;
use http::Uri;
use http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use super::refusal::Refusal;

/// How long `at_least` waits by default.
const WAIT_DEFAULT: Duration = Duration::from_secs(5);
/// How long `at_least` waits at most: longer than any commit takes, shorter than the patience of proxies.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Their documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the derive alone")]
pub(super) struct AtLeast {
    /// Wait until the records at these positions are in the table: `<partition>:<offset>`, several parted by commas.
    #[param(example = "0:17")]
    at_least: Option<String>,
    /// How long to wait for them in milliseconds, 30000 at most; then 503.
    #[param(minimum = 0, maximum = 30_000, default = 5_000)]
    wait_ms: Option<u64>,
}

/// `at_least` and `wait_ms`, read.
#[derive(Debug)]
pub(super) struct AtLeastQuery {
    pub(super) positions: Vec<Position>,
    pub(super) wait_max: Duration,
}

#[derive(Debug, Default, Deserialize)]
struct RawAtLeast {
    at_least: Option<String>,
    wait_ms: Option<String>,
}

/// The same, where a request takes no other parameter: a misspelt one is refused, and not passed over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AtLeastAlone {
    #[serde(rename = "at_least")]
    _at_least: Option<String>,
    #[serde(rename = "wait_ms")]
    _wait_ms: Option<String>,
}

/// Shows that a request has no parameter but `at_least` and `wait_ms`.
#[derive(Debug)]
pub(super) struct OnlyAtLeast;

impl AtLeastQuery {
    /// Reads both from a request that may have other parameters too.
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let Query(RawAtLeast { at_least, wait_ms }) = Query::try_from_uri(uri)?;
        let positions = parse_positions(at_least.as_deref().unwrap_or_default())?;
        Ok(Self { positions, wait_max: parse_wait(wait_ms.as_deref())? })
    }
}

impl<S: Sync> FromRequestParts<S> for OnlyAtLeast {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        if parts.uri.query().is_some() {
            let _alone: Query<AtLeastAlone> = Query::try_from_uri(&parts.uri)?;
        }
        Ok(Self)
    }
}

/// One position, or one of each partition, parted by commas.
fn parse_positions(text: &str) -> Result<Vec<Position>, Refusal> {
    let parse = |part: &str| part.parse().map_err(|error| Refusal::Parameter(format!("at_least: {error}")));
    text.split(',').filter(|_| !text.is_empty()).map(parse).collect()
}

fn parse_wait(text: Option<&str>) -> Result<Duration, Refusal> {
    let Some(text) = text else { return Ok(WAIT_DEFAULT) };
    let millis = text.parse().ok().map(Duration::from_millis).filter(|wait| *wait <= WAIT_MAX);
    millis.ok_or_else(|| Refusal::Parameter(format!("wait_ms: expected a whole number up to {}", WAIT_MAX.as_millis())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_one_or_several() {
        assert_eq!(parse_positions("").unwrap(), []);
        assert_eq!(parse_positions("0:17").unwrap(), [Position { partition: 0, offset: 17 }]);
        assert_eq!(parse_positions("0:17,1:6").unwrap().len(), 2);
        for text in [",", "0:17,", "17", "0:-1", "x"] {
            assert!(parse_positions(text).is_err(), "{text}");
        }
    }

    #[test]
    fn waiting_has_a_limit() {
        assert_eq!(parse_wait(None).unwrap(), WAIT_DEFAULT);
        assert_eq!(parse_wait(Some("0")).unwrap(), Duration::ZERO);
        assert_eq!(parse_wait(Some("30000")).unwrap(), WAIT_MAX);
        for text in ["30001", "-1", "1s", ""] {
            assert!(parse_wait(Some(text)).is_err(), "{text}");
        }
    }
}
