//! Reads the topic of late deliveries beside the topic of users. A failure here does not fail the table.

use std::time::Duration;

use domain::{Checkpoint, LogId};
use kafka::tail::{self, Tail, TailEvent};
use kafka::{ClientOptions, Record};
use tokio::time::Instant;

/// How often opening the topic is tried.
const OPEN_INTERVAL: Duration = Duration::from_secs(30);

/// The reader of late deliveries, open or to be opened.
#[derive(Default)]
pub(super) struct LateTail {
    tail: Option<Tail>,
    /// When opening may be tried again.
    due: Option<Instant>,
}

impl LateTail {
    /// Returns whether it is time to open the topic.
    pub(super) fn is_due(&self) -> bool {
        self.tail.is_none() && self.due.is_none_or(|due| Instant::now() >= due)
    }

    /// Opens the topic, which may be missing: it is tried again later then. `log` was read up to `from`.
    pub(super) async fn open(&mut self, kafka: &ClientOptions, topic: &str, from: Checkpoint, log: Option<LogId>) {
        self.due = Some(Instant::now() + OPEN_INTERVAL);
        let at_beginning = || Tail::open(kafka, topic, Checkpoint::default(), tail::Limits::default());
        let opened = match Tail::open(kafka, topic, from, tail::Limits::default()).await {
            Ok(tail) if log.as_ref().is_some_and(|log| log != tail.log()) => {
                tail.close().await;
                at_beginning().await
            }
            // Retention has removed the next records, or the log was cut: the rest is read from its beginning, which
            // changes nothing twice.
            Err(tail::Error::PositionOutsideLog { .. } | tail::Error::PartitionMissing { .. }) => at_beginning().await,
            opened => opened,
        };
        match opened {
            Ok(tail) => self.tail = Some(tail),
            Err(error) => report(&error),
        }
    }

    /// Waits for late deliveries, for ever while the topic is not open.
    ///
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<TailEvent, tail::Error> {
        match &mut self.tail {
            Some(tail) => tail.next().await,
            None => std::future::pending().await,
        }
    }

    /// Returns the records of an event, with their log. After an error the topic is opened again later.
    pub(super) async fn records(&mut self, event: Result<TailEvent, tail::Error>) -> Option<(LogId, Vec<Record>)> {
        match event {
            Ok(TailEvent::Records(records)) => Some((self.tail.as_ref()?.log().clone(), records)),
            Ok(TailEvent::EndReached { .. } | TailEvent::PartitionsAdded(_) | TailEvent::Stalled(_)) => None,
            Err(error) => {
                report(&error);
                self.close().await;
                None
            }
        }
    }

    /// Stops reading. No thread of the client outlives the call.
    pub(super) async fn close(&mut self) {
        if let Some(tail) = self.tail.take() {
            tail.close().await;
        }
    }
}

fn report(error: &tail::Error) {
    tracing::debug!(error = error as &dyn std::error::Error, "late deliveries cannot be followed: trying again");
}
