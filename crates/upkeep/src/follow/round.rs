//! A round of repairs: the records that the states are of are read again and appended.

use std::collections::BTreeSet;

use domain::roll::Roll;
use domain::{UnixMillis, UserId};
use kafka::ClientOptions;
use kafka::publish::Publisher;
use service::Shutdown;

use super::metrics::RepairCounters;
use crate::keeper::refetch::refetch;
use crate::keeper::{Fetched, needed, repair};

/// What repairs are made with.
#[derive(Clone, Debug)]
pub(super) struct Repairer {
    pub(super) options: ClientOptions,
    pub(super) topic: String,
    pub(super) publisher: Publisher,
    pub(super) now: fn() -> UnixMillis,
    pub(super) counters: RepairCounters,
}

/// What came of a round. A repair that failed is tried again when its back-off is over, whatever the error: what Kafka refuses
/// today (a permission, a limit) it may take tomorrow.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Keys whose records are gone.
    pub(super) lost: Vec<UserId>,
}

impl Repairer {
    /// Appends the states again, unless `shutdown` comes first.
    pub(super) async fn repair(self, states: Vec<(UserId, Roll)>, shutdown: Shutdown) -> Round {
        let Some(fetched) = self.fetch(&states, &shutdown).await else { return Round::default() };
        let mut round = Round::default();
        let mut appends = Vec::new();
        for (user_id, state) in &states {
            let Some(record) = repair(*user_id, state, &fetched, &self.topic, (self.now)()) else {
                self.counters.lost.inc();
                tracing::error!(
                    user.id = %user_id,
                    kafka.partition = state.position().partition,
                    kafka.offset = state.position().offset,
                    "a record of a user was compacted away before it was appended again: was the keeper away for longer \
                     than min.compaction.lag.ms?"
                );
                round.lost.push(*user_id);
                continue;
            };
            appends.push(self.publisher.publish(record));
        }
        // What is in the producer's queue by then is flushed when the service stops.
        let appended = tokio::select! {
            () = shutdown.requested() => return round,
            appended = futures_util::future::join_all(appends) => appended,
        };
        let failures: Vec<_> = appended.iter().filter_map(|appended| appended.as_ref().err()).collect();
        self.counters.appended.inc_by((appended.len() - failures.len()) as u64);
        self.counters.failed.inc_by(failures.len() as u64);
        if let Some(error) = failures.first() {
            // One line for them all: an outage fails them together, and so does a missing permission, every time.
            tracing::warn!(
                repairs.failed = failures.len(),
                error = *error as &dyn std::error::Error,
                "repairs were not acknowledged and are tried again"
            );
        }
        round
    }

    /// Reads the records that carry the states; `None` when they cannot be read now.
    async fn fetch(&self, states: &[(UserId, Roll)], shutdown: &Shutdown) -> Option<Fetched> {
        let positions: BTreeSet<_> = states.iter().flat_map(|(_, state)| needed(state)).collect();
        let (options, topic, stop) = (self.options.clone(), self.topic.clone(), shutdown.clone());
        let fetched =
            tokio::task::spawn_blocking(move || refetch(&options, &topic, &positions, || !stop.is_requested()));
        match fetched.await.expect("reading records does not panic") {
            Ok(fetched) => fetched,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "records to append again cannot be read now");
                None
            }
        }
    }
}
