//! The answer to a sender whose event is in Kafka.

use axum::Json;
use axum::response::{IntoResponse, Response};
use domain::roll::Standing;
use domain::{TopicPosition, UserEvent};
use serde::Serialize;

/// The status of an accepted event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// On `vcc.users`.
    Stored,
    /// On `vcc.users.late`: `vcc.users` already had a newer event of the user.
    Superseded,
    /// On `vcc.users` since an earlier delivery.
    Duplicate,
}

/// The body of a 200.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    status: Status,
    event_id: String,
    user_id: i64,
    /// `<topic id>/<partition>:<offset>` on `vcc.users`: of the event's record, or of the one that superseded it.
    position: String,
}

impl Status {
    pub(crate) const ALL: [Self; 3] = [Self::Stored, Self::Superseded, Self::Duplicate];

    /// Returns the status of a delivery that stands so to its user.
    pub(crate) fn of(standing: Standing) -> Self {
        match standing {
            Standing::News => Self::Stored,
            Standing::Known(_) => Self::Duplicate,
            Standing::Older(_) | Standing::Forgotten(_) => Self::Superseded,
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Superseded => "superseded",
            Self::Duplicate => "duplicate",
        }
    }
}

impl Answer {
    pub(crate) fn status(&self) -> Status {
        self.status
    }

    pub(crate) fn new(status: Status, event: &UserEvent, position: TopicPosition) -> Self {
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
