//! A round of repairs: reads the records of the states again, and appends them.

use std::collections::BTreeSet;

use domain::roll::Roll;
use domain::{UnixMillis, UserId};
use kafka::ClientOptions;
use kafka::publish::Publisher;
use service::Shutdown;

use super::metrics::RepairCounters;
use crate::keeper::refetch::refetch;
use crate::keeper::{Fetched, needed, repair};

/// The clients that a repair needs.
#[derive(Clone, Debug)]
pub(super) struct Repairer {
    pub(super) options: ClientOptions,
    pub(super) topic: String,
    pub(super) publisher: Publisher,
    pub(super) now: fn() -> UnixMillis,
    pub(super) counters: RepairCounters,
}

/// The result of a round. A failed repair is tried again after its back-off, whatever the error: Kafka may later accept
/// a record that it refuses now (a permission, a limit).
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Keys whose records no longer exist.
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
                    "a record was compacted away before it was appended again: was the keeper away for longer than \
                     min.compaction.lag.ms?"
                );
                round.lost.push(*user_id);
                continue;
            };
            appends.push(self.publisher.publish(record));
        }
        // Records that are queued by then are flushed when the service stops.
        let appended = tokio::select! {
            () = shutdown.requested() => return round,
            appended = futures_util::future::join_all(appends) => appended,
        };
        let failures: Vec<_> = appended.iter().filter_map(|appended| appended.as_ref().err()).collect();
        self.counters.appended.inc_by((appended.len() - failures.len()) as u64);
        self.counters.failed.inc_by(failures.len() as u64);
        if let Some(error) = failures.first() {
            // One line for all: an outage, or a missing permission, fails them together and every time.
            tracing::warn!(
                repairs.failed = failures.len(),
                error = *error as &dyn std::error::Error,
                "repairs were not acknowledged and are tried again"
            );
        }
        round
    }

    /// Reads the records that carry the states. Returns `None` when they cannot be read now.
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
