//! Asks where the topic ends, at intervals: a reader does not notice that an open transaction holds it back.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kafka::ClientOptions;
use kafka::topics::{EndsProbe, Hold, Watermarks};
use tokio::time::{Interval, MissedTickBehavior};

/// The interval of the questions.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long the cluster may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// The questions of one pass over the topic.
pub(super) struct Looker {
    ends: EndsProbe,
    interval: Interval,
    asking: Option<BoxFuture<'static, Looked>>,
}

/// The ends that are known, and who is held back. Empty where the cluster has not answered.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) ends: Vec<Watermarks>,
    pub(super) holds: Vec<Hold>,
}

impl Looker {
    pub(super) fn new(options: &ClientOptions, topic: &str) -> Self {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ends: EndsProbe::new(options, topic), interval, asking: None }
    }

    /// Waits for the next answer.
    ///
    /// Cancel-safe: a question goes on when the call is dropped.
    pub(super) async fn next(&mut self) -> Looked {
        let asking = match &mut self.asking {
            Some(asking) => asking,
            None => {
                self.interval.tick().await;
                self.asking.insert(look(self.ends.clone()).boxed())
            }
        };
        let looked = asking.await;
        self.asking = None;
        looked
    }

    /// Closes the connections.
    pub(super) async fn close(self) {
        if let Some(asking) = self.asking {
            asking.await;
        }
        self.ends.close().await;
    }
}

async fn look(ends: EndsProbe) -> Looked {
    match ends.now(DEADLINE).await {
        Ok(found) => {
            let found: Vec<Watermarks> = found.into_values().filter_map(Result::ok).collect();
            let holds = ends.holds(&found).await;
            Looked { ends: found, holds }
        }
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "the ends of the topic are not known now");
            Looked::default()
        }
    }
}
