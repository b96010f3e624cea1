//! Asks where the log ends, at intervals, beside everything else: neither records nor a shutdown wait for an answer.

use std::sync::Arc;
use std::time::Duration;

use domain::LogId;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kafka::topics::{self, Watermarks};
use tokio::time::{Interval, MissedTickBehavior};

use crate::facts::Answer;
use crate::shared::Shared;

/// How long the cluster may take to answer. With the interval it bounds how long a silence goes unnoticed.
const LOOK_DEADLINE: Duration = Duration::from_secs(3);

/// The questions about one log.
pub(super) struct Looker {
    shared: Arc<Shared>,
    log: LogId,
    interval: Interval,
    asking: Option<BoxFuture<'static, Looked>>,
}

/// What came of a question.
pub(super) enum Looked {
    Answered {
        answer: Answer,
        partitions: usize,
    },
    /// These are the ends of another log, because the topic was created again; the tail notices it, too.
    OtherLog,
    Silent(topics::Error),
}

impl Looker {
    pub(super) fn new(shared: &Arc<Shared>, log: &LogId) -> Self {
        let mut interval = tokio::time::interval(shared.options.look_interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval.reset();
        Self { shared: Arc::clone(shared), log: log.clone(), interval, asking: None }
    }

    /// Lets the next question be asked at once.
    pub(super) fn look_now(&mut self) {
        self.interval.reset_immediately();
    }

    /// Waits for the next answer.
    ///
    /// Cancel-safe: a question goes on when the call is dropped.
    pub(super) async fn next(&mut self) -> Looked {
        let asking = match &mut self.asking {
            Some(asking) => asking,
            None => {
                self.interval.tick().await;
                self.asking.insert(look(Arc::clone(&self.shared), self.log.clone()).boxed())
            }
        };
        let looked = asking.await;
        self.asking = None;
        looked
    }
}

async fn look(shared: Arc<Shared>, log: LogId) -> Looked {
    let asked_at = shared.now();
    let asked = async {
        let ends = shared.ends.now(LOOK_DEADLINE).await?;
        Ok::<_, topics::Error>((ends, shared.logs.now(LOOK_DEADLINE).await?))
    };
    match asked.await {
        Ok((_, found)) if found != log => Looked::OtherLog,
        Ok((ends, _)) => {
            let found: Vec<Watermarks> = ends.values().flatten().copied().collect();
            let holds = shared.ends.holds(&found).await;
            Looked::Answered { answer: Answer::new(asked_at, &ends, holds), partitions: ends.len() }
        }
        Err(error) => Looked::Silent(error),
    }
}
