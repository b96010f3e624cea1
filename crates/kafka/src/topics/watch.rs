//! Checks whether a topic is still the log that a reader began with, and whether it has new partitions.
//!
//! librdkafka reads on where a topic was deleted and created again, or where another cluster answers at the address: at
//! the old offsets, among other records. So a reader has each round of records confirmed before it passes them on.

use std::sync::Arc;
use std::time::Duration;

use domain::LogId;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::time::Instant;

use super::Error;
use super::admin::{log_of, shape_of};
use crate::ClientOptions;
use crate::client::{Renewed, TracingContext};
use crate::native::authorize;

/// How long an answer holds. A topic cannot be deleted and made again in this time: Kafka 4.3, all on one machine, took
/// 60 ms for it, and 190 until the first record was on the new one.
pub(super) const HOLDS_FOR: Duration = Duration::from_millis(20);
/// The interval of checks of a quiet topic.
const INTERVAL: Duration = Duration::from_secs(5);
/// The interval of checks of a topic that was missing at the last one.
const MISSING_INTERVAL: Duration = Duration::from_secs(1);
/// How long a topic may be missing. A broker that has just started may not know it yet. (librdkafka itself reports a
/// missing topic after 30 s, `topic.metadata.propagation.max.ms`.)
const MISSING_MAX: Duration = Duration::from_secs(3);
/// The longest time that one check may block the reader.
const DEADLINE: Duration = Duration::from_secs(2);

/// The topic differs from the one that was read before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    Missing { topic: String },
    Replaced { topic: String },
}

/// Whether the topic is the same as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmed {
    Yes,
    /// The cluster does not answer, or does not know the topic at this moment.
    NotYet,
}

pub(crate) struct Watch {
    /// Its own connection: a broker answers the requests of one connection in turn, and a fetch takes as long as
    /// nothing comes.
    client: Arc<Renewed<BaseConsumer<TracingContext>>>,
    topic: String,
    seen: Seen,
    look_at: Instant,
}

/// The log that a reader began with, and whether the last check found it.
struct Seen {
    log: LogId,
    /// When the last question began that was answered with this log.
    confirmed_at: Option<Instant>,
    missing_since: Option<Instant>,
}

impl Watch {
    /// Starts to watch the log that the topic's name stands for now.
    ///
    /// # Errors
    /// If the topic does not exist or the cluster does not answer in time.
    pub(crate) fn begin(options: &ClientOptions, topic: &str, deadline: Duration) -> Result<Self, Error> {
        let client = Renewed::new(options, ClientOptions::inquirer);
        let asked = client.get().map_err(Error::Client)?;
        let log = log_of(&asked, topic, deadline)?;
        let seen = Seen { log, confirmed_at: None, missing_since: None };
        Ok(Self { client, topic: topic.to_owned(), seen, look_at: Instant::now() + INTERVAL })
    }

    /// Returns the connection, for other questions about the topic.
    pub(crate) fn client(&self) -> Arc<Renewed<BaseConsumer<TracingContext>>> {
        Arc::clone(&self.client)
    }

    /// Returns the log that is watched.
    pub(crate) fn log(&self) -> &LogId {
        &self.seen.log
    }

    /// Asks whether the topic is still that log, unless the last answer holds.
    ///
    /// # Errors
    /// If it is another one, or has been missing for too long.
    pub(crate) fn confirm(&mut self) -> Result<Confirmed, Changed> {
        let began = Instant::now();
        if self.seen.holds_at(began) {
            return Ok(Confirmed::Yes);
        }
        let asked = ask(&self.client, |client| log_of(client, &self.topic, DEADLINE));
        self.seen.judge(&self.topic, asked, began)
    }

    /// Returns the number of partitions if a check was due and the cluster answered.
    ///
    /// # Errors
    /// As [`Watch::confirm`].
    pub(crate) fn look(&mut self) -> Result<Option<i32>, Changed> {
        if Instant::now() < self.look_at {
            return Ok(None);
        }
        let confirmed = self.confirm()?;
        let interval = if self.seen.missing_since.is_some() { MISSING_INTERVAL } else { INTERVAL };
        self.look_at = Instant::now() + interval;
        match confirmed {
            // The reader handles an outage.
            Confirmed::NotYet => Ok(None),
            Confirmed::Yes => {
                let shape = ask(&self.client, |client| shape_of(client, &self.topic, DEADLINE));
                Ok(shape.ok().map(|shape| shape.partitions))
            }
        }
    }
}

/// Puts a question to the cluster, with a token that is valid: it may be long since the last question.
pub(super) fn ask<A>(
    client: &Renewed<BaseConsumer<TracingContext>>,
    question: impl FnOnce(&BaseConsumer<TracingContext>) -> Result<A, Error>,
) -> Result<A, Error> {
    let asked = client.get().map_err(Error::Client)?;
    authorize(asked.client()).map_err(Error::Client)?;
    let answer = question(&asked);
    // librdkafka queues its log lines and errors on the client. Without polling they would accumulate.
    while asked.poll(Duration::ZERO).is_some() {}
    client.heard(!answer.as_ref().is_err_and(Error::is_transient));
    answer
}

impl Seen {
    fn holds_at(&self, now: Instant) -> bool {
        self.confirmed_at.is_some_and(|at| now < at + HOLDS_FOR)
    }

    /// Takes the answer to a question that began at `began`.
    fn judge(&mut self, topic: &str, asked: Result<LogId, Error>, began: Instant) -> Result<Confirmed, Changed> {
        self.confirmed_at = None;
        match asked {
            Ok(log) if log == self.log => {
                (self.confirmed_at, self.missing_since) = (Some(began), None);
                Ok(Confirmed::Yes)
            }
            Ok(_) => Err(Changed::Replaced { topic: topic.to_owned() }),
            Err(Error::Missing { topic }) => {
                let since = *self.missing_since.get_or_insert(began);
                if began.duration_since(since) < MISSING_MAX {
                    return Ok(Confirmed::NotYet);
                }
                Err(Changed::Missing { topic })
            }
            Err(Error::NotCreated { .. } | Error::NotDescribed { .. } | Error::Client(_)) => Ok(Confirmed::NotYet),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::TopicId;
    use rdkafka::error::RDKafkaErrorCode as Code;

    use super::*;

    const TOPIC: &str = "users";

    fn log(cluster: &str, id: u8) -> LogId {
        LogId { cluster: cluster.to_owned(), topic: TopicId::from_bytes([id; 16]) }
    }

    fn seen() -> Seen {
        Seen { log: log("c", 1), confirmed_at: None, missing_since: None }
    }

    #[test]
    fn another_id_or_cluster_is_another_log() {
        let replaced = Err(Changed::Replaced { topic: TOPIC.to_owned() });
        let silent = || Err(Error::NotDescribed { topic: TOPIC.to_owned(), source: Code::OperationTimedOut.into() });
        for (asked, expected) in [
            (Ok(log("c", 1)), Ok(Confirmed::Yes)),
            (silent(), Ok(Confirmed::NotYet)),
            (Ok(log("c", 2)), replaced.clone()),
            (Ok(log("d", 1)), replaced),
        ] {
            assert_eq!(seen().judge(TOPIC, asked.clone(), Instant::now()), expected, "{asked:?}");
        }
    }

    #[test]
    fn an_answer_holds_from_its_question_on_until_another_is_given() {
        let (mut seen, start) = (seen(), Instant::now());
        assert!(!seen.holds_at(start));
        seen.judge(TOPIC, Ok(log("c", 1)), start).unwrap();
        assert!(seen.holds_at(start + HOLDS_FOR / 2));
        assert!(!seen.holds_at(start + HOLDS_FOR));
        seen.judge(TOPIC, Err(Error::Missing { topic: TOPIC.to_owned() }), start).unwrap();
        assert!(!seen.holds_at(start));
    }

    #[test]
    fn a_topic_may_be_missing_for_a_while() {
        let (mut seen, start) = (seen(), Instant::now());
        let missing = || Err(Error::Missing { topic: TOPIC.to_owned() });
        let gone = Err(Changed::Missing { topic: TOPIC.to_owned() });
        assert_eq!(seen.judge(TOPIC, missing(), start), Ok(Confirmed::NotYet));
        assert_eq!(seen.judge(TOPIC, missing(), start + MISSING_MAX / 2), Ok(Confirmed::NotYet));
        assert_eq!(seen.judge(TOPIC, Ok(log("c", 1)), start + MISSING_MAX / 2), Ok(Confirmed::Yes));
        assert_eq!(seen.judge(TOPIC, missing(), start + MISSING_MAX), Ok(Confirmed::NotYet), "counted from here");
        assert_eq!(seen.judge(TOPIC, missing(), start + MISSING_MAX * 2), gone);
    }
}
