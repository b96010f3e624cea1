//! `at_least` and `wait_ms`, the parameters that every GET takes.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use domain::position::parse_with_epoch;
use domain::{Position, Positions, TopicId};
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
    /// Wait until the records at these positions are in the table: `<topic id>/<partition>:<offset>[@<leader epoch>]`,
    /// several parted by commas after one topic id, or the value of the header `Rollcall-Positions`. Without a topic id
    /// they are of the topic that the table is of. A position of another topic, or of no partition of this one, is 409.
    // The forms for hands, without a topic, are no part of the pattern: once the topic was created again, they name
    // other records.
    #[param(pattern = "^([A-Za-z0-9_-]{21}[AQgw]/([0-9]{1,9}:[0-9]{1,18}(@[0-9]{1,9})?\
                   (,[0-9]{1,9}:[0-9]{1,18}(@[0-9]{1,9})?)*|[A-Za-z0-9_-]+))?$")]
    at_least: Option<String>,
    /// How long to wait for them in milliseconds, 30000 at most; then 503.
    #[param(minimum = 0, maximum = 30_000, default = 5_000)]
    wait_ms: Option<u64>,
}

/// `at_least` and `wait_ms`, read.
#[derive(Debug)]
pub(super) struct AtLeastQuery {
    /// The topic of the positions, where it is named.
    pub(super) topic: Option<TopicId>,
    /// As it is written: positions of another topic need not be read.
    text: String,
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
        let text = at_least.unwrap_or_default();
        Ok(Self { topic: topic_of(&text)?, text, wait_max: parse_wait(wait_ms.as_deref())? })
    }

    /// Returns the positions, with the leader epochs that are named.
    pub(super) fn positions(&self) -> Result<Vec<(Position, Option<i32>)>, Refusal> {
        parse_positions(&self.text).map(|(_, positions)| positions)
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

/// Returns the refusal of a text that names no positions.
fn unexpected<E>(_: E) -> Refusal {
    let expected = "at_least: expected <topic id>/<partition>:<offset>, as in `position` of an answer, several of a \
                    topic parted by commas, or the value of the header Rollcall-Positions";
    Refusal::Parameter(expected.to_owned())
}

fn topic_of(text: &str) -> Result<Option<TopicId>, Refusal> {
    let named = text.split_once('/').map(|(topic, _)| topic.parse());
    named.transpose().map_err(unexpected)
}

type Named = (Option<TopicId>, Vec<(Position, Option<i32>)>);

/// One position, or one of each partition: parted by commas, or as [`Positions`] are written.
fn parse_positions(text: &str) -> Result<Named, Refusal> {
    if text.is_empty() {
        return Ok((None, Vec::new()));
    }
    let topic = topic_of(text)?;
    let places = text.split_once('/').map_or(text, |(_, places)| places);
    if topic.is_some() && !places.contains(':') {
        let Positions { topic, checkpoint } = text.parse().map_err(unexpected)?;
        let last = checkpoint.entries().filter(|(_, next, _)| *next > 0);
        let last = last.map(|(partition, next, epoch)| (Position { partition, offset: next - 1 }, epoch));
        return Ok((Some(topic), last.collect()));
    }
    let places: Result<_, _> = places.split(',').map(parse_with_epoch).collect();
    Ok((topic, places.map_err(unexpected)?))
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
    fn positions_are_one_or_several_with_a_topic_or_without() {
        const TOPIC: TopicId = TopicId::from_bytes([1; 16]);
        let at = |partition, offset| Position { partition, offset };
        let list = Positions { topic: TOPIC, checkpoint: "0:18@3,1:7,2:0".parse().unwrap() };
        for (text, expected) in [
            (String::new(), (None, vec![])),
            ("0:17".to_owned(), (None, vec![(at(0, 17), None)])),
            ("0:17@3,1:6".to_owned(), (None, vec![(at(0, 17), Some(3)), (at(1, 6), None)])),
            (format!("{TOPIC}/0:17@3"), (Some(TOPIC), vec![(at(0, 17), Some(3))])),
            (format!("{TOPIC}/0:17@3,1:6"), (Some(TOPIC), vec![(at(0, 17), Some(3)), (at(1, 6), None)])),
            (list.to_string(), (Some(TOPIC), vec![(at(0, 17), Some(3)), (at(1, 6), None)])),
        ] {
            assert_eq!(parse_positions(&text).unwrap(), expected, "{text}");
        }
        for text in [",", "0:17,", "17", "0:-1", "x", "x/0:17", "/0:17", "0:17@", &format!("{TOPIC}/x")] {
            let Refusal::Parameter(said) = parse_positions(text).unwrap_err() else { panic!("{text}") };
            assert!(said.starts_with("at_least: expected <topic id>/<partition>:<offset>"), "{said}");
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
