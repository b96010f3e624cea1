//! Why a request is not answered with what it asked for, and what each reason is over HTTP.

use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use domain::{TopicId, TopicPosition};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use service::Problem;

use super::render::DamagedEvent;
use crate::error::Error;
use crate::scopes::Scope;
use crate::store;

/// After how long a reader may ask again for what is not there yet.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The closed set of refusals.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The path names no user id.
    NoUserId(String),
    /// The principal lacks a scope that the route or a parameter demands.
    Scope(Scope),
    /// A parameter is unknown, or its value is not what it must be.
    Parameter(String),
    UnknownUser,
    ForgottenUser,
    Damaged(DamagedEvent),
    /// A position or a cursor is of another topic than the table: one that was created again, or on another cluster.
    OtherTopic {
        named: TopicId,
        held: TopicId,
    },
    /// A position is on a partition that the topic does not have.
    NoPartition(i32),
    /// The record at that position was cut off the log, and another one is there, or will be.
    CutOff(TopicPosition),
    NotReached(TopicPosition),
    NotReady(String),
    /// The store or the projection failed; the log says how.
    Failed,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::NotReady(why) => Self::NotReady(why),
            Error::NotReached { position } => Self::NotReady(format!("the table has not reached {position} in time")),
            Error::Ended => Self::NotReady("the service is stopping".to_owned()),
            Error::Store(store::Error::Interrupted { .. }) => Self::NotReady("the read took too long".to_owned()),
            Error::Store(store::Error::Unindexed(unmade)) => Self::NotReady(unmade.to_string()),
            Error::Store(error) if error.is_damage() => {
                Self::NotReady(format!("{}, and is made again from the log", error.told()))
            }
            Error::Store(error) if error.resource().is_some() => Self::NotReady(error.told().to_owned()),
            error @ (Error::Store(_)
            | Error::Threads(_)
            | Error::Topic { .. }
            | Error::Log(_)
            | Error::Scan(_)
            | Error::Schema(_)
            | Error::Options(_)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a request could not be answered");
                Self::Failed
            }
        }
    }
}

impl From<DamagedEvent> for Refusal {
    fn from(event: DamagedEvent) -> Self {
        Self::Damaged(event)
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        let text = rejection.body_text();
        let reason = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        Self::Parameter(reason.to_owned())
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::Parameter(rejection.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let unavailable =
            |detail: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE).detail(detail).retry_after(RETRY_AFTER);
        let problem = match self {
            Self::Scope(missing) => return lacks(missing),
            Self::NoUserId(reason) | Self::Parameter(reason) => Problem::new(StatusCode::BAD_REQUEST).detail(reason),
            Self::UnknownUser => Problem::not_found().detail("no such user"),
            Self::ForgottenUser => Problem::new(StatusCode::GONE).detail("the user was forgotten"),
            Self::Damaged(event) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR).detail(event.to_string()),
            Self::OtherTopic { named, held } => Problem::new(StatusCode::CONFLICT).detail(format!(
                "the position is of topic {named}, and the table is of topic {held}: the topic was created again, or \
                 is on another cluster"
            )),
            Self::NoPartition(partition) => {
                Problem::new(StatusCode::CONFLICT).detail(format!("at_least: the topic has no partition {partition}"))
            }
            Self::CutOff(position) => Problem::new(StatusCode::CONFLICT)
                .detail(format!("the log was cut: the record at {position} is gone, and another one is at its offset")),
            Self::NotReached(position) => unavailable(format!("the table has not reached {position} in time")),
            Self::NotReady(why) => unavailable(why),
            Self::Failed => Problem::new(StatusCode::INTERNAL_SERVER_ERROR).detail("the table cannot be read"),
        };
        problem.into_response()
    }
}

/// Returns 403 with the scope that is missing (RFC 6750, 3.1).
fn lacks(missing: Scope) -> Response {
    let problem = Problem::new(StatusCode::FORBIDDEN).detail(format!("the scope {missing} is missing"));
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{missing}\"");
    let challenge = HeaderValue::try_from(challenge).expect("the name of a scope makes a header");
    ([(WWW_AUTHENTICATE, challenge)], Extension(missing), problem).into_response()
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::store::{StoreReader, UserFilter, create_tables, to_make};

    #[tokio::test]
    async fn a_look_up_whose_index_is_missing_is_to_be_tried_again_and_says_how_far_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.1.db");
        create_tables(&to_make(&path).unwrap()).unwrap();
        let filter = UserFilter { email: Some("a@b.example".to_owned()), ..UserFilter::default() };
        let unmade = StoreReader::open(&path).unwrap().find(&filter, None, 1).unwrap_err();
        let response = Refusal::from(Error::Store(unmade)).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let detail = "the index users_by_email is still to be made: 0 % of it is, and 0 of 6 indexes are";
        assert_eq!(problem["detail"], detail);
    }
}
