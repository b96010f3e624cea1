//! A round of the keeper: reads records again, and appends or copies them.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::topics::Names;
use domain::wire::{Flat, Framed as _, Ids};
use domain::{Letter, LogId, Original, Position, TopicId, TopicPosition, UnixMillis, UserId};
use kafka::publish::{Outgoing, Publisher};
use kafka::topics::LogProbe;
use kafka::{ClientOptions, Record};
use service::Shutdown;
use service::registry::Schemas;
use service::telemetry::chain;

use super::metrics::KeeperCounters;
use super::scribe::StateGauges;
use crate::keeper::refetch::refetch;
use crate::keeper::{Fetched, Originals, Repair};
use crate::state_topic::Correction;

/// How long a round waits for the cluster's word that the topic is still the log that was read.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(5);

/// The clients that a repair needs.
#[derive(Clone, Debug)]
pub(super) struct Repairer {
    pub(super) options: ClientOptions,
    pub(super) topics: Names,
    pub(super) schemas: Schemas,
    pub(super) logs: LogProbe,
    pub(super) publisher: Publisher,
    pub(super) now: fn() -> UnixMillis,
    pub(super) counters: KeeperCounters,
}

/// The result of a round. A failed repair or copy is tried again after its back-off, whatever the error: Kafka may
/// later accept a record that it refuses now (a permission, a limit).
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Keys whose records no longer exist.
    pub(super) lost: Vec<UserId>,
    /// The positions of what was appended.
    pub(super) appended: Vec<Position>,
    /// Unreadable records that were copied, or no longer exist.
    pub(super) copied: Vec<(UserId, Position)>,
}

impl Repairer {
    /// Appends the states again, unless `shutdown` comes first. They are of `log`: nothing is appended to another.
    pub(super) async fn repair(self, log: LogId, repairs: Vec<Repair>, shutdown: Shutdown) -> Round {
        let needed = repairs.iter().flat_map(Repair::needed).collect();
        let Some(mut fetched) = self.fetch(&log, needed, &shutdown).await else { return Round::default() };
        // The states come from records that were read, so their ids are known.
        let originals = Originals::translate(&mut fetched, &self.schemas.known());
        let mut round = Round::default();
        let mut appends = Vec::new();
        for repair in repairs {
            let Some(records) = repair.records(&fetched, &self.topics.users, (self.now)()) else {
                self.counters.lost.inc();
                tracing::error!(
                    user.id = %repair.user_id,
                    kafka.partition = repair.state.position().partition,
                    kafka.offset = repair.state.position().offset,
                    "a record was compacted away before it was appended again: was the keeper away for longer than \
                     min.compaction.lag.ms?"
                );
                round.lost.push(repair.user_id);
                continue;
            };
            let done = if repair.is_renewal { &self.counters.renewals } else { &self.counters.repairs };
            appends.extend(records.into_iter().map(|record| originals.restore(record)).map(|record| async {
                let published = self.publisher.publish(record).await;
                done.inc_by(published.is_ok().into());
                published
            }));
        }
        // Records that are queued by then are flushed when the service stops.
        let appended = tokio::select! {
            () = shutdown.requested() => return round,
            appended = futures_util::future::join_all(appends) => appended,
        };
        let mut failures = Vec::new();
        for appended in appended {
            match appended {
                Ok(at) => round.appended.push(at),
                Err(error) => failures.push(error),
            }
        }
        self.counters.failed.inc_by(failures.len() as u64);
        if let Some(error) = failures.first() {
            // One line for all: an outage, or a missing permission, fails them together and every time.
            tracing::warn!(
                repairs.failed = failures.len(),
                error = error as &dyn std::error::Error,
                "repairs were not acknowledged and are tried again"
            );
        }
        round
    }

    /// Appends what keys of the state topic lack, unless `shutdown` comes first. A key whose source no longer exists
    /// waits for another record.
    pub(super) async fn correct(
        self,
        log: LogId,
        corrections: Vec<Correction>,
        flat: Flat,
        topic: String,
        gauges: StateGauges,
        shutdown: Shutdown,
    ) -> Round {
        let sources: BTreeSet<Position> = corrections.iter().filter_map(Correction::source).collect();
        let Some(mut fetched) = self.fetch(&log, sources, &shutdown).await else { return Round::default() };
        let ids = self.schemas.known();
        fetched.values_mut().for_each(|record| record.translate(&ids));
        let (mut round, mut appends) = (Round::default(), Vec::new());
        for correction in corrections {
            match correction.records(&fetched, flat, &topic, (self.now)()) {
                Some(records) => appends.extend(records.into_iter().map(|record| self.publisher.publish(record))),
                None => round.lost.push(correction.user_id),
            }
        }
        let appended = tokio::select! {
            () = shutdown.requested() => return round,
            appended = futures_util::future::join_all(appends) => appended,
        };
        let count = appended.len();
        let mut failure = None;
        for appended in appended {
            match appended {
                Ok(at) => round.appended.push(at),
                Err(error) => failure = Some(error),
            }
        }
        gauges.written.inc_by(round.appended.len() as u64);
        gauges.failed.inc_by((count - round.appended.len()) as u64);
        if let Some(error) = failure {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "records of the state topic were not acknowledged and are tried again"
            );
        }
        round
    }

    /// Copies the values of unreadable records of `log` to the dead letters, unless `shutdown` comes first. A record
    /// counts as copied when Kafka has acknowledged its letter.
    pub(super) async fn copy(self, log: LogId, records: Vec<(UserId, Position)>, shutdown: Shutdown) -> Round {
        let needed = records.iter().map(|(_, at)| *at).collect();
        let Some(mut fetched) = self.fetch(&log, needed, &shutdown).await else { return Round::default() };
        let ids = self.schemas.known();
        let copies = records.into_iter().map(|(user_id, at)| {
            let letter = fetched.remove(&at).and_then(|record| letter(user_id, record, log.topic, &ids));
            self.copy_one(user_id, at, letter)
        });
        let copied = tokio::select! {
            () = shutdown.requested() => return Round::default(),
            copied = futures_util::future::join_all(copies) => copied,
        };
        let mut round = Round::default();
        let mut failures = Vec::new();
        for copied in copied {
            match copied {
                Ok(copied) => round.copied.push(copied),
                Err(error) => failures.push(error),
            }
        }
        self.counters.not_copied.inc_by(failures.len() as u64);
        if let Some(error) = failures.first() {
            tracing::warn!(
                copies.failed = failures.len(),
                error = error as &dyn std::error::Error,
                "copies of unreadable records were not acknowledged and are tried again"
            );
        }
        round
    }

    /// Returns the record, once its letter is acknowledged. There is no letter where the record no longer exists.
    async fn copy_one(
        &self,
        user_id: UserId,
        at: Position,
        letter: Option<Letter>,
    ) -> Result<(UserId, Position), kafka::publish::Error> {
        if let Some(letter) = letter {
            // The letter is kept from now on, however old the record is.
            let timestamp = (self.now)();
            self.publisher
                .publish(Outgoing { timestamp, ..Outgoing::letter(&letter, &self.topics.dead_letter) })
                .await?;
            self.counters.copied.inc();
            tracing::warn!(
                user.id = %user_id,
                kafka.partition = at.partition,
                kafka.offset = at.offset,
                "an unreadable record was copied to the dead letters"
            );
        }
        Ok((user_id, at))
    }

    /// Reads the records at these positions of `log` again. Returns `None` when they cannot be read now, or the topic
    /// is not confirmed to be that log.
    async fn fetch(&self, log: &LogId, positions: BTreeSet<Position>, shutdown: &Shutdown) -> Option<Fetched> {
        let (options, topic, stop) = (self.options.clone(), self.topics.users.clone(), shutdown.clone());
        let fetched =
            tokio::task::spawn_blocking(move || refetch(&options, &topic, &positions, || !stop.is_requested()));
        let fetched = match fetched.await.expect("reading records does not panic") {
            Ok(fetched) => fetched?,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "records to append again cannot be read now");
                return None;
            }
        };
        let is_same = self.logs.now(CONFIRM_DEADLINE).await.as_ref() == Ok(log);
        if !is_same {
            tracing::warn!("repairs wait until the topic is confirmed to be the log that was read");
        }
        is_same.then_some(fetched)
    }
}

/// Returns the copy of an unreadable record.
fn letter(user_id: UserId, record: Record, topic: TopicId, ids: &Ids) -> Option<Letter> {
    let mut translated = record.clone();
    translated.translate(ids);
    let reason = chain(&translated.read().err()?);
    let position = TopicPosition { topic, position: record.position, epoch: record.leader_epoch };
    Some(Letter::of_record(record.value?, Original { user_id, position }, reason, record.timestamp))
}
