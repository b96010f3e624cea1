//! Stage 5: publishes an event and waits for its acknowledgement.

use domain::wire::Framing;
use domain::{Letter, Position, UserEvent};
use kafka::publish::{Error, Outgoing, Publisher};

use crate::Rejection;

/// Publishes `event` in `framing` on `topic`, and returns its position once Kafka has acknowledged it.
///
/// # Errors
/// [`Rejection::NotAcknowledged`] or [`Rejection::Overloaded`]. The sender then retries.
pub(crate) async fn publish(
    publisher: &Publisher,
    event: &UserEvent,
    framing: Framing,
    topic: &str,
    traceparent: Option<&str>,
) -> Result<Position, Rejection> {
    publisher.publish(Outgoing::framed(event, framing, topic, traceparent)).await.map_err(|error| refuse(&error))
}

/// The part of a late event that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Event,
    /// The user was forgotten: only the arrival of the event is recorded, without data of the user.
    HeadersOnly,
}

/// Header: the position of the newer record on `vcc.users`.
const SUPERSEDED_BY: &str = "rollcall-superseded-by";

/// Writes a late `event` to `topic`, with the position of the record that superseded it and the trace of the delivery.
///
/// # Errors
/// As [`publish`].
pub(crate) async fn put_aside(
    publisher: &Publisher,
    event: &UserEvent,
    framing: Framing,
    topic: &str,
    traceparent: Option<&str>,
    newer: Position,
    whole: Whole,
) -> Result<(), Rejection> {
    let mut record = Outgoing::framed(event, framing, topic, traceparent);
    record.headers.push((SUPERSEDED_BY.to_owned(), newer.to_string().into_bytes()));
    if whole == Whole::HeadersOnly {
        record.value = None;
    }
    publisher.publish(record).await.map(drop).map_err(|error| refuse(&error))
}

/// Writes `letter` to `topic`, before the sender is answered.
///
/// # Errors
/// As [`publish`].
pub(crate) async fn keep(publisher: &Publisher, letter: &Letter, topic: &str) -> Result<(), Rejection> {
    publisher.publish(Outgoing::letter(letter, topic)).await.map(drop).map_err(|error| refuse(&error))
}

fn refuse(error: &Error) -> Rejection {
    match error {
        Error::QueueFull => Rejection::Overloaded,
        Error::NotAcknowledged { .. } | Error::PositionUnknown { .. } | Error::Fatal { .. } => {
            tracing::warn!(error = error as &dyn std::error::Error, "a record was not acknowledged");
            Rejection::NotAcknowledged
        }
        // A retry does not help by itself, but the sender's event must not be lost: the sender retries while an
        // operator fixes the cause.
        Error::Refused { .. } | Error::Closed => {
            tracing::error!(error = error as &dyn std::error::Error, "a record cannot be published");
            Rejection::NotAcknowledged
        }
    }
}

/// Returns `value` if it is a valid `traceparent` of W3C Trace Context, version 00.
pub(crate) fn valid_traceparent(value: &str) -> Option<&str> {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else { return None };
    let well_formed = *version == "00" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    let all_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    (well_formed && !all_zero(trace) && !all_zero(parent)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_of_version_00_are_passed_on_and_nothing_else() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(valid_traceparent(valid), Some(valid));
        for invalid in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(valid_traceparent(invalid), None, "{invalid}");
        }
    }
}
