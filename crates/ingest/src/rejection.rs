//! The reasons to refuse a request: one closed set, with one mapping to status, label and text.

use std::fmt;
use std::time::Duration;

use domain::letter;
use domain::order::AHEAD_MAX;
use http::StatusCode;
use service::Problem;

use crate::transport::WINDOW;

/// The reason why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the secret is wrong or missing")]
    Unauthenticated,
    #[error("the source address is not allowed")]
    AddressNotAllowed,
    #[error("there is no such path")]
    NotFound,
    #[error("the method is not allowed")]
    MethodNotAllowed { allow: &'static str },
    #[error("the request has no Host field, or several, or one without a host")]
    Host,
    #[error("the request is for a host that `http.allowed_hosts` does not name")]
    OtherHost,
    #[error("the body has a content coding")]
    ContentCoding,
    #[error("the body has a transfer coding other than chunked")]
    TransferCoding,
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
    /// The event occurred, by its own time, more than [`AHEAD_MAX`] after its receipt.
    #[error("the event occurred {} after its receipt, more than {}: check both clocks", Lead(*by), Lead(AHEAD_MAX))]
    Ahead { by: Duration },
    /// The body was not looked at, because too many bodies of this source could not be read.
    #[error("the source has sent too many bodies that cannot be read")]
    BudgetSpent,
    #[error("too many requests wait")]
    Overloaded,
    #[error("Kafka has not acknowledged the record")]
    NotAcknowledged,
    /// Repetitions succeed once an operator has removed the cause, which the log names.
    #[error("Kafka refuses the record: it is too large for the topic, ingest may not write it, or there is no topic")]
    RefusedByKafka,
}

/// The pause that the sender is asked for. Its own first retry comes after a minute anyway.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The pointer of an event's time.
const TIMESTAMP: &str = "/timestamp";

impl Rejection {
    /// Returns the rejection of a body with this fault at this place. Both can quote names that the sender has chosen,
    /// and are cut to the length of a dead letter's.
    pub(crate) fn not_an_event(pointer: String, reason: String) -> Self {
        Self::NotAnEvent { pointer: letter::cut(pointer), reason: letter::cut(reason) }
    }

    /// The labels of all rejections.
    pub const LABELS: [&'static str; 19] = [
        "unauthenticated",
        "address_not_allowed",
        "not_found",
        "method_not_allowed",
        "host",
        "other_host",
        "content_coding",
        "transfer_coding",
        "length_required",
        "body_too_large",
        "body_timeout",
        "body_incomplete",
        "undecryptable",
        "not_an_event",
        "ahead",
        "budget_spent",
        "overloaded",
        "not_acknowledged",
        "refused_by_kafka",
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
            Self::MethodNotAllowed { .. } => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::Host => ("host", StatusCode::BAD_REQUEST),
            Self::OtherHost => ("other_host", StatusCode::MISDIRECTED_REQUEST),
            Self::ContentCoding => ("content_coding", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::TransferCoding => ("transfer_coding", StatusCode::NOT_IMPLEMENTED),
            Self::LengthRequired => ("length_required", StatusCode::LENGTH_REQUIRED),
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::BodyTimeout => ("body_timeout", StatusCode::REQUEST_TIMEOUT),
            Self::BodyIncomplete => ("body_incomplete", StatusCode::BAD_REQUEST),
            Self::Undecryptable { .. } => ("undecryptable", StatusCode::BAD_REQUEST),
            Self::NotAnEvent { .. } => ("not_an_event", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Ahead { .. } => ("ahead", StatusCode::UNPROCESSABLE_ENTITY),
            Self::BudgetSpent => ("budget_spent", StatusCode::SERVICE_UNAVAILABLE),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE),
            Self::NotAcknowledged => ("not_acknowledged", StatusCode::SERVICE_UNAVAILABLE),
            Self::RefusedByKafka => ("refused_by_kafka", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// Returns the problem for the sender. It does not help an attacker, and names the place of a fault in the body.
    ///
    /// Where bodies are encrypted, every refusal of a body is the same 400. The encryption has no authentication, so
    /// any difference would let a stranger read a captured body by trials.
    pub fn problem(&self, bodies_are_encrypted: bool) -> Problem {
        if bodies_are_encrypted && self.is_kept() {
            return Problem::new(StatusCode::BAD_REQUEST);
        }
        let problem = Problem::new(self.status());
        match self {
            Self::Unauthenticated | Self::AddressNotAllowed | Self::Undecryptable { .. } => problem,
            Self::NotFound => Problem::not_found(),
            Self::MethodNotAllowed { allow } => Problem::method_not_allowed(allow),
            Self::Host | Self::OtherHost | Self::TransferCoding => problem.detail(self.to_string()),
            Self::ContentCoding => problem.detail("send the body as it is, without Content-Encoding"),
            Self::LengthRequired => problem.detail("send Content-Length, or a chunked body"),
            Self::BodyTooLarge | Self::BodyTimeout | Self::BodyIncomplete => problem.detail(self.to_string()),
            Self::NotAnEvent { reason, .. } => problem.pointer(self.pointer()).detail(reason.clone()),
            Self::Ahead { .. } => problem.pointer(self.pointer()).detail(self.to_string()),
            Self::BudgetSpent => problem.detail(self.to_string()).retry_after(WINDOW),
            Self::Overloaded | Self::NotAcknowledged | Self::RefusedByKafka => {
                problem.detail(self.to_string()).retry_after(RETRY_AFTER)
            }
        }
    }

    /// Returns the place of the fault in the body (RFC 6901); empty where there is none.
    pub fn pointer(&self) -> &str {
        self.kept_at().unwrap_or_default()
    }

    /// Returns whether the body is kept as a dead letter: the sender will repeat the same body, and it may matter.
    pub fn is_kept(&self) -> bool {
        self.kept_at().is_some()
    }

    /// Returns the place of the fault in a body that is kept, or `None` if the body is not kept.
    fn kept_at(&self) -> Option<&str> {
        match self {
            Self::NotAnEvent { pointer, .. } => Some(pointer),
            Self::Ahead { .. } => Some(TIMESTAMP),
            Self::Undecryptable { .. } => Some(""),
            Self::Unauthenticated
            | Self::AddressNotAllowed
            | Self::NotFound
            | Self::MethodNotAllowed { .. }
            | Self::Host
            | Self::OtherHost
            | Self::ContentCoding
            | Self::TransferCoding
            | Self::LengthRequired
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::BodyIncomplete
            | Self::BudgetSpent
            | Self::Overloaded
            | Self::NotAcknowledged
            | Self::RefusedByKafka => None,
        }
    }
}

/// A length of time in days, hours, minutes and seconds: `29834 d 2 h 5 min`. Parts that are 0 are left out.
struct Lead(Duration);

impl fmt::Display for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts =
            [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
        let shown: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
        f.write_str(&shown.join(" "))
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
            Rejection::MethodNotAllowed { allow: "POST" },
            Rejection::Host,
            Rejection::OtherHost,
            Rejection::ContentCoding,
            Rejection::TransferCoding,
            Rejection::LengthRequired,
            Rejection::BodyTooLarge,
            Rejection::BodyTimeout,
            Rejection::BodyIncomplete,
            Rejection::Undecryptable { reason: "" },
            Rejection::NotAnEvent { pointer: String::new(), reason: String::new() },
            Rejection::Ahead { by: Duration::ZERO },
            Rejection::BudgetSpent,
            Rejection::Overloaded,
            Rejection::NotAcknowledged,
            Rejection::RefusedByKafka,
        ];
        assert_eq!(all.each_ref().map(Rejection::label), Rejection::LABELS);
    }

    #[test]
    fn an_event_ahead_is_told_by_how_much() {
        let ahead = |seconds| Rejection::Ahead { by: Duration::from_secs(seconds) }.to_string();
        let text = |lead| format!("the event occurred {lead} after its receipt, more than 15 min: check both clocks");
        assert_eq!(ahead(901), text("15 min 1 s"));
        assert_eq!(ahead(3_600), text("1 h"));
        assert_eq!(ahead(2_577_665_105), text("29834 d 2 h 5 min 5 s"));
    }

    #[test]
    fn every_refusal_of_an_encrypted_body_is_one_answer() {
        let kept = [
            Rejection::Undecryptable { reason: "no live key decrypts it" },
            Rejection::NotAnEvent { pointer: "/new".to_owned(), reason: "is missing".to_owned() },
            Rejection::Ahead { by: AHEAD_MAX * 2 },
        ];
        for rejection in &kept {
            assert_eq!(rejection.problem(true), kept[0].problem(true), "{rejection}");
        }
        assert_ne!(kept[1].problem(false), kept[2].problem(false));
        assert_ne!(Rejection::NotFound.problem(true), kept[0].problem(true));
    }
}
