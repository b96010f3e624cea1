//! `at_least`: an answer that is no older than what the asker knows of.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::Position;
use http::{HeaderName, Uri};
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;

use super::refusal::Refusal;
use super::{Api, WAIT_DEFAULT, WAIT_MAX};

#[derive(Debug, Default, Deserialize)]
struct Wait {
    at_least: Option<String>,
    wait_ms: Option<String>,
}

/// Where the answer's table stood: the last position of each partition, as `at_least` takes them. A reader that hands them on
/// to another replica never goes back in time.
pub(super) const POSITIONS: HeaderName = HeaderName::from_static("rollcall-positions");

/// Lets a request through once every position it names is in the table, and says in the answer where the table stood before.
pub(super) async fn wait(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    // The common request names none, and is not made to pay for those that do.
    if request.uri().query().is_some_and(|query| query.contains("at_least") || query.contains("wait_ms"))
        && let Err(refusal) = until_reached(&api, request.uri()).await
    {
        return refusal.into_response();
    }
    let positions = api.projection.committed().positions.clone();
    let mut response = next.run(request).await;
    if let Some(positions) = positions {
        response.headers_mut().insert(POSITIONS, positions);
    }
    response
}

async fn until_reached(api: &Api, uri: &Uri) -> Result<(), Refusal> {
    let Query(Wait { at_least, wait_ms }) = Query::try_from_uri(uri)?;
    let positions = parse_positions(at_least.as_deref().unwrap_or_default())?;
    let wait_max = parse_wait(wait_ms.as_deref())?;
    let _waiting = Waiting::new(&api.projection.metrics().waiters);
    let began = tokio::time::Instant::now();
    for position in positions {
        api.projection.wait_for(position, wait_max.saturating_sub(began.elapsed())).await?;
    }
    Ok(())
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

/// Counts a request that waits until it is dropped.
struct Waiting(Gauge);

impl Waiting {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
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
