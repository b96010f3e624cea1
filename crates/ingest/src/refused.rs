//! The last record that Kafka refused for a reason that a retry does not change: ingest is not ready meanwhile.

use std::time::Duration;

use kafka::publish::Error;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a refusal counts. A service that is not ready gets no deliveries, and could not notice that it is over.
const STANDS: Duration = Duration::from_secs(60);

/// The last refusal.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<Option<Last>>);

#[derive(Debug)]
struct Last {
    at: Instant,
    reason: String,
    /// The topic, where the reason is that there was none.
    missing: Option<String>,
}

impl Refused {
    /// Notes what became of a record.
    pub(crate) fn note<T>(&self, published: &Result<T, Error>) {
        match published {
            Ok(_) => *self.0.lock() = None,
            Err(Error::Refused { topic, source }) => {
                let missing = source.is_topic_missing().then(|| topic.clone());
                *self.0.lock() = Some(Last { at: Instant::now(), reason: source.to_string(), missing });
            }
            Err(
                Error::QueueFull
                | Error::NotAcknowledged { .. }
                | Error::PositionUnknown { .. }
                | Error::Fatal { .. }
                | Error::Closed,
            ) => {}
        }
    }

    /// Notes that the cluster has described a topic, asked at `asked_at`: an earlier refusal because there was no such
    /// topic is over.
    pub(crate) fn is_there(&self, topic: &str, asked_at: Instant) {
        let mut last = self.0.lock();
        if last.as_ref().is_some_and(|last| last.missing.as_deref() == Some(topic) && last.at <= asked_at) {
            *last = None;
        }
    }

    /// Returns the reason for which records are refused now.
    pub(crate) fn reason(&self, now: Instant) -> Option<String> {
        let last = self.0.lock();
        last.as_ref().filter(|last| now.duration_since(last.at) < STANDS).map(|last| last.reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stands_until_a_record_is_accepted_or_for_a_while() {
        let (refused, now) = (Refused::default(), Instant::now());
        assert_eq!(refused.reason(now), None);
        refused.note::<()>(&Err(Error::QueueFull));
        assert_eq!(refused.reason(now), None, "a queue that is full empties by itself");
        // A property that there is not stands for any fault.
        let options = kafka::ClientOptions::new("");
        let source = kafka::client::Probe::new(&with_a_property_that_is_none(options), "t").unwrap_err();
        let fault = || Err(Error::Refused { topic: "t".to_owned(), source: source.clone() });
        refused.note::<()>(&fault());
        assert_eq!(refused.reason(Instant::now()), Some(source.to_string()));
        assert_eq!(refused.reason(Instant::now() + STANDS), None);
        refused.note(&Ok(()));
        assert_eq!(refused.reason(Instant::now()), None);
    }

    #[tokio::test]
    async fn a_refusal_for_want_of_a_topic_is_over_when_the_topic_is_there() {
        let (refused, before) = (Refused::default(), Instant::now());
        let broker = kafka::embedded::EmbeddedBroker::start(&[("late", 1)]).unwrap();
        let probe = kafka::client::Probe::new(&broker.client_options(), "users").unwrap();
        let source = probe.cluster_answers(STANDS).await.unwrap_err();
        probe.close().await;
        refused.note::<()>(&Err(Error::Refused { topic: "users".to_owned(), source }));
        let now = Instant::now();
        refused.is_there("users", before);
        refused.is_there("late", now);
        assert!(refused.reason(now).is_some(), "asked before, or about another topic");
        refused.is_there("users", now);
        assert_eq!(refused.reason(now), None);
    }

    fn with_a_property_that_is_none(mut options: kafka::ClientOptions) -> kafka::ClientOptions {
        options.properties.insert("nonsense".to_owned(), "1".to_owned());
        options
    }
}
