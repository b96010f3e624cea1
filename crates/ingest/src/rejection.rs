//! The reasons to refuse a request: one closed set, with one mapping to status, label and text.

use std::time::Duration;

use http::StatusCode;
use service::Problem;

/// The reason why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the secret is wrong or missing")]
    Unauthenticated,
    #[error("the source address is not allowed")]
    AddressNotAllowed,
    #[error("there is no such path")]
    NotFound,
    #[error("the method is not POST")]
    MethodNotAllowed,
    #[error("the request has no length")]
    LengthRequired,
    #[error("the body is over the limit")]
    BodyTooLarge,
    #[error("the body took too long")]
    BodyTimeout,
    #[error("the body ended early")]
    BodyIncomplete,
    /// The body could not be decrypted.
    #[error("the body cannot be decrypted: {reason}")]
    Undecryptable { reason: &'static str },
    /// The body is not a user event. `pointer` (RFC 6901) is the place; `reason` describes the fault and quotes no
    /// value.
    #[error("the body is not a user event: {pointer:?} {reason}")]
    NotAnEvent { pointer: String, reason: String },
    #[error("too many requests wait")]
    Overloaded,
    #[error("Kafka has not acknowledged the record")]
    NotAcknowledged,
}

/// The pause that the sender is asked for. Its own first retry comes after a minute anyway.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The methods of the webhook's path, for `Allow`.
const ALLOWED_METHODS: &str = "POST";

impl Rejection {
    /// The labels of all rejections.
    pub const LABELS: [&'static str; 12] = [
        "unauthenticated",
        "address_not_allowed",
        "not_found",
        "method_not_allowed",
        "length_required",
        "body_too_large",
        "body_timeout",
        "body_incomplete",
        "undecryptable",
        "not_an_event",
        "overloaded",
        "not_acknowledged",
    ];

    /// Returns the label of the rejection in metrics: one of [`Rejection::LABELS`].
    pub fn label(&self) -> &'static str {
        self.label_and_status().0
    }

    pub fn status(&self) -> StatusCode {
        self.label_and_status().1
    }

    fn label_and_status(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED),
            Self::AddressNotAllowed => ("address_not_allowed", StatusCode::FORBIDDEN),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::LengthRequired => ("length_required", StatusCode::LENGTH_REQUIRED),
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::BodyTimeout => ("body_timeout", StatusCode::REQUEST_TIMEOUT),
            Self::BodyIncomplete => ("body_incomplete", StatusCode::BAD_REQUEST),
            Self::Undecryptable { .. } => ("undecryptable", StatusCode::BAD_REQUEST),
            Self::NotAnEvent { .. } => ("not_an_event", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE),
            Self::NotAcknowledged => ("not_acknowledged", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Returns the problem for the sender. It does not help an attacker, and names the place of a fault in the body.
    pub fn problem(&self) -> Problem {
        let problem = Problem::new(self.status());
        match self {
            Self::Unauthenticated | Self::AddressNotAllowed | Self::NotFound | Self::Undecryptable { .. } => problem,
            Self::MethodNotAllowed => Problem::method_not_allowed(ALLOWED_METHODS),
            Self::LengthRequired => problem.detail("send Content-Length, or a chunked body"),
            Self::BodyTooLarge | Self::BodyTimeout | Self::BodyIncomplete => problem.detail(self.to_string()),
            Self::NotAnEvent { pointer, reason } => problem.pointer(pointer.clone()).detail(reason.clone()),
            Self::Overloaded | Self::NotAcknowledged => problem.detail(self.to_string()).retry_after(RETRY_AFTER),
        }
    }

    /// Returns whether the body is kept as a dead letter: the sender will repeat the same body, and it may matter.
    pub fn is_kept(&self) -> bool {
        match self {
            Self::Undecryptable { .. } | Self::NotAnEvent { .. } => true,
            Self::Unauthenticated
            | Self::AddressNotAllowed
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::LengthRequired
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::BodyIncomplete
            | Self::Overloaded
            | Self::NotAcknowledged => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_are_those_of_all_rejections() {
        let all = [
            Rejection::Unauthenticated,
            Rejection::AddressNotAllowed,
            Rejection::NotFound,
            Rejection::MethodNotAllowed,
            Rejection::LengthRequired,
            Rejection::BodyTooLarge,
            Rejection::BodyTimeout,
            Rejection::BodyIncomplete,
            Rejection::Undecryptable { reason: "" },
            Rejection::NotAnEvent { pointer: String::new(), reason: String::new() },
            Rejection::Overloaded,
            Rejection::NotAcknowledged,
        ];
        assert_eq!(all.each_ref().map(Rejection::label), Rejection::LABELS);
    }
}
