//! The last record that Kafka refused for a reason that a retry does not change: ingest is not ready meanwhile.

use std::time::Duration;

use kafka::publish::Error;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a refusal counts. A service that is not ready gets no deliveries, and could not notice that it is over.
const STANDS: Duration = Duration::from_secs(60);

/// The reason of the last refusal.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<Option<(Instant, String)>>);

impl Refused {
    /// Notes what became of a record.
    pub(crate) fn note<T>(&self, published: &Result<T, Error>) {
        match published {
            Ok(_) => *self.0.lock() = None,
            Err(Error::Refused { source, .. }) => *self.0.lock() = Some((Instant::now(), source.to_string())),
            Err(
                Error::QueueFull
                | Error::NotAcknowledged { .. }
                | Error::PositionUnknown { .. }
                | Error::Fatal { .. }
                | Error::Closed,
            ) => {}
        }
    }

    /// Returns the reason for which records are refused now.
    pub(crate) fn reason(&self, now: Instant) -> Option<String> {
        self.0.lock().clone().filter(|(at, _)| now.duration_since(*at) < STANDS).map(|(_, reason)| reason)
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

    fn with_a_property_that_is_none(mut options: kafka::ClientOptions) -> kafka::ClientOptions {
        options.properties.insert("nonsense".to_owned(), "1".to_owned());
        options
    }
}
