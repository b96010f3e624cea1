//! Stage 5: appends an event where its standing says, and waits for the acknowledgement.

use std::time::Duration;

use domain::headers::TRACEPARENT;
use domain::roll::Standing;
use domain::topics::Names;
use domain::wire::Framing;
use domain::{Letter, LogId, TopicPosition, UserEvent};
use kafka::publish::{Error, Outgoing, Publisher};
use kafka::topics::LogProbe;
use service::trace::Traceparent;

use crate::Rejection;

/// The topics that events are written to, and the framing of their values.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'d> {
    pub publisher: &'d Publisher,
    pub topics: &'d Names,
    pub framing: Framing,
    /// The log of the topic of users that standings are of, and that events are expected to go to.
    pub log: &'d LogId,
    pub logs: &'d LogProbe,
}

/// How long the cluster may take to say which log a topic's name stands for.
pub const IDENTIFY_DEADLINE: Duration = Duration::from_secs(5);
/// How often an event is appended whose position cannot be named, because the topic was created again meanwhile. A
/// repetition does no harm.
const ATTEMPTS_MAX: usize = 2;

/// Header: the position of the newer record on `vcc.users`, with its topic.
const SUPERSEDED_BY: &str = "rollcall-superseded-by";

impl Destination<'_> {
    /// Writes `event` with the headers `added` to its own, and returns its position on `vcc.users`, once Kafka has
    /// acknowledged it. An event that is stored already is not written again. One that is superseded goes to the late
    /// topic, with the position of the record that superseded it, which is returned. Of a forgotten user only the
    /// arrival is recorded there, without data of the user.
    ///
    /// # Errors
    /// When Kafka does not acknowledge.
    pub async fn store(
        &self,
        event: &UserEvent,
        standing: Standing,
        added: &[(&str, String)],
    ) -> Result<TopicPosition, Error> {
        let Self { publisher, topics, framing, log, .. } = *self;
        let record = |topic: &str| {
            let mut record = Outgoing::framed(event, framing, topic, None);
            record.headers.extend(added.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into_bytes())));
            record
        };
        let aside = |newer: TopicPosition| {
            let mut record = record(&topics.late);
            record.headers.push((SUPERSEDED_BY.to_owned(), newer.to_string().into_bytes()));
            record
        };
        match standing {
            Standing::News => self.append(record(&topics.users)).await,
            Standing::Known(position) => Ok(log.topic.at(position)),
            Standing::Older(newer) => {
                let newer = log.topic.at(newer);
                publisher.publish(aside(newer)).await.map(|_| newer)
            }
            Standing::Forgotten(marker) => {
                let marker = log.topic.at(marker);
                publisher.publish(Outgoing { value: None, ..aside(marker) }).await.map(|_| marker)
            }
        }
    }
}

impl Destination<'_> {
    /// Appends a record to the topic of users. The topic is the same log before the record was sent and when it was
    /// acknowledged, so the record is on that log.
    async fn append(&self, record: Outgoing) -> Result<TopicPosition, Error> {
        let mut before = self.log.clone();
        for _ in 0..ATTEMPTS_MAX {
            // Answered while the record is on its way.
            self.logs.ask_ahead(IDENTIFY_DEADLINE);
            let position = self.publisher.publish(&record).await?;
            match self.logs.now(IDENTIFY_DEADLINE).await {
                Ok(log) if log == before => return Ok(log.topic.at(position)),
                Ok(log) => before = log,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "it is not known which log an event was stored on");
                    break;
                }
            }
        }
        Err(Error::PositionUnknown { topic: record.topic })
    }
}

/// Returns the header of a delivery's trace.
pub(crate) fn traced(traceparent: Option<&Traceparent>) -> Vec<(&'static str, String)> {
    traceparent.map(|trace| (TRACEPARENT, trace.to_string())).into_iter().collect()
}

/// Writes `letter` to `topic`, with the headers `added` to its own, before the sender is answered.
///
/// # Errors
/// [`Rejection::NotAcknowledged`], [`Rejection::RefusedByKafka`] or [`Rejection::Overloaded`]. The sender then retries.
pub(crate) async fn keep(
    publisher: &Publisher,
    letter: &Letter,
    topic: &str,
    added: Vec<(&str, String)>,
) -> Result<(), Rejection> {
    let mut record = Outgoing::letter(letter, topic);
    record.headers.extend(added.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())));
    publisher.publish(record).await.map(drop).map_err(|error| refuse(&error))
}

/// Returns the answer to a sender whose event was not acknowledged.
pub(crate) fn refuse(error: &Error) -> Rejection {
    match error {
        Error::QueueFull => Rejection::Overloaded,
        Error::NotAcknowledged { .. } | Error::PositionUnknown { .. } | Error::Fatal { .. } => {
            tracing::warn!(error = error as &dyn std::error::Error, "a record was not acknowledged");
            Rejection::NotAcknowledged
        }
        // A retry does not help by itself, but the sender's event must not be lost: the sender retries while an
        // operator fixes the cause.
        Error::Refused { .. } => {
            tracing::error!(error = error as &dyn std::error::Error, "a record cannot be published");
            Rejection::RefusedByKafka
        }
        Error::Closed => Rejection::NotAcknowledged,
    }
}
