//! `at_least`: an answer that is no older than what the asker knows of.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{FromRequestParts, Query, Request};
use axum::response::{IntoResponse, Response};
use domain::Position;
use futures_util::future::{BoxFuture, Either};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Uri};
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;
use service::answer::{Finish, Finishing};
use tower::Service;

use super::refusal::Refusal;
use super::{Api, WAIT_DEFAULT, WAIT_MAX};

#[derive(Debug, Default, Deserialize)]
struct Asked {
    at_least: Option<String>,
    wait_ms: Option<String>,
}

/// The same, where a request takes no other parameter: one that is misspelt is refused, and not passed over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedAlone {
    #[serde(rename = "at_least")]
    _at_least: Option<String>,
    #[serde(rename = "wait_ms")]
    _wait_ms: Option<String>,
}

/// Shows that a request has no parameter but those that [`Wait`] has seen to.
#[derive(Debug)]
pub(super) struct OnlyAtLeast;

impl<S: Sync> FromRequestParts<S> for OnlyAtLeast {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        if parts.uri.query().is_some() {
            let _asked: Query<AskedAlone> = Query::try_from_uri(&parts.uri)?;
        }
        Ok(Self)
    }
}

/// Where the answer's table stood: the last position of each partition, as `at_least` takes them. A reader that hands them on
/// to another replica never goes back in time.
pub(super) const POSITIONS: HeaderName = HeaderName::from_static("rollcall-positions");

/// Lets a request through once every position it names is in the table, and says in the answer where the table stood before.
#[derive(Clone, Debug)]
pub(super) struct Wait<S> {
    pub(super) api: Arc<Api>,
    pub(super) within: S,
}

impl<S> Service<Request> for Wait<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Finishing<S::Future, Stood>, BoxFuture<'static, Result<Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.within.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The common request names no position, and is not made to pay for those that do.
        if !request.uri().query().is_some_and(|query| query.contains("at_least") || query.contains("wait_ms")) {
            let stood = Stood::now(&self.api);
            return Either::Left(Finishing::new(self.within.call(request), stood));
        }
        // The one that is ready goes along, and a copy stays (tower's `Service`, "Be careful when cloning inner services").
        let copy = self.within.clone();
        let mut within = std::mem::replace(&mut self.within, copy);
        let api = Arc::clone(&self.api);
        Either::Right(Box::pin(async move {
            if let Err(refusal) = until_reached(&api, request.uri()).await {
                return Ok(refusal.into_response());
            }
            let stood = Stood::now(&api);
            Finishing::new(within.call(request), stood).await
        }))
    }
}

/// Where the table stood when a request was let through.
#[derive(Debug)]
pub(super) struct Stood(Option<HeaderValue>);

impl Stood {
    fn now(api: &Api) -> Self {
        Self(api.projection.committed().positions.clone())
    }
}

impl Finish for Stood {
    fn finish(self, response: &mut Response) {
        if let Some(positions) = self.0 {
            response.headers_mut().insert(POSITIONS, positions);
        }
    }
}

async fn until_reached(api: &Api, uri: &Uri) -> Result<(), Refusal> {
    let Query(Asked { at_least, wait_ms }) = Query::try_from_uri(uri)?;
    let positions = parse_positions(at_least.as_deref().unwrap_or_default())?;
    let wait_max = parse_wait(wait_ms.as_deref())?;
    let _waiting = Waiting::new(&api.projection.metrics().waiters);
    let began = tokio::time::Instant::now();
    for position in positions {
        if !api.projection.may_have_partition(position.partition, wait_max.saturating_sub(began.elapsed())).await {
            return Err(Refusal::Parameter(format!("at_least: the topic has no partition {}", position.partition)));
        }
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
