//! What the sender is told when its event is in Kafka.

use axum::Json;
use axum::response::{IntoResponse, Response};
use domain::{Position, UserEvent};
use serde::Serialize;

/// How an accepted event stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// On `vcc.users`.
    Stored,
}

/// The body of a 200.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    status: Status,
    event_id: String,
    user_id: i64,
    /// `<partition>:<offset>` of the record.
    position: String,
}

impl Status {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
        }
    }
}

impl Answer {
    pub(crate) fn new(status: Status, event: &UserEvent, position: Position) -> Self {
        Self {
            status,
            event_id: event.event_id.to_string(),
            user_id: event.user_id.get(),
            position: position.to_string(),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}
