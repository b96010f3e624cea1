//! One pass over the topic: reads it for gate and keeper, and appends what the keeper plans.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::LogId;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kafka::Record;
use kafka::tail::{Tail, TailEvent};
use kafka::topics::{Description, Hold, Watermarks};
use service::Shutdown;
use service::registry::Unsettled;
use tokio::time::Instant;

use super::group::Group;
use super::horizon::Horizon;
use super::look::{Looked, Looker};
use super::round::Round;
use super::scribe::{Happened, Scribe};
use super::{Error, Upkeep, ready, sleep_until};
use crate::gate::Withdrawn;
use crate::keeper::{self, Action, Plan, Repair};
use crate::{Retention, Table};

/// One pass over the topic from its beginning.
pub(super) struct Follower<'u> {
    upkeep: &'u Upkeep,
    log: LogId,
    plan: Plan,
    began: Instant,
    horizon: Horizon,
    looker: Looker,
    partitions: i32,
    round: Option<BoxFuture<'static, Round>>,
    /// Records with an id that must be looked up. Meanwhile nothing more is read. The gate stays in force: what it
    /// answers cannot be refuted by records that it has not read.
    held: Option<BoxFuture<'static, Result<Vec<Record>, Unsettled>>>,
    scribe: Option<Scribe>,
}

impl<'u> Follower<'u> {
    pub(super) fn new(upkeep: &'u Upkeep, log: LogId, description: &Description, ends: &[Watermarks]) -> Self {
        let partitions = i32::try_from(ends.len()).unwrap_or(i32::MAX);
        let (horizon, looker) = (Horizon::new(ends), Looker::new(&upkeep.options, &upkeep.topic));
        let plan = Plan::new(partitions, Retention::of(description.settings.as_ref()));
        let (began, scribe) = (Instant::now(), upkeep.scribe(&log, partitions));
        Self { upkeep, log, plan, began, horizon, looker, partitions, round: None, held: None, scribe }
    }

    /// Returns only with an error.
    pub(super) async fn follow(
        &mut self,
        tail: &mut Tail,
        group: &mut Group<'_>,
        shutdown: &Shutdown,
    ) -> Result<std::convert::Infallible, Error> {
        loop {
            let wait = self.act(shutdown);
            let is_read = self.horizon.is_read();
            let state_wait = self.scribe.as_mut().and_then(|scribe| scribe.act(&self.upkeep.gate, is_read, shutdown));
            tokio::select! {
                owned = group.next() => self.assigned(&owned),
                happened = next_of(&mut self.scribe, state_wait) => {
                    if let Some(scribe) = &mut self.scribe {
                        scribe.take(happened, &self.upkeep.gate).await;
                    }
                }
                event = tail.next(), if self.held.is_none() => self.take(event?),
                records = ready(&mut self.held) => {
                    self.held = None;
                    self.take_records(&records?);
                }
                round = ready(&mut self.round) => self.finish(round),
                looked = self.looker.next() => self.looked(&looked),
                () = sleep_until(wait) => {}
            }
            self.upkeep.gauges.set(&self.plan, &self.upkeep.gate, &self.horizon);
        }
    }

    /// Starts the copies or repairs that are due, unless others are in progress. Returns the time until which to wait.
    fn act(&mut self, shutdown: &Shutdown) -> Option<Instant> {
        let repairer = self.upkeep.repairer.as_ref()?;
        if self.round.is_some() {
            return None;
        }
        let (repairer, shutdown) = (repairer.clone(), shutdown.clone());
        match self.plan.next(self.began.elapsed(), (repairer.now)()) {
            Action::Copy(records) => {
                self.round = Some(repairer.copy(self.log.clone(), records, shutdown).boxed());
                None
            }
            Action::Repair(keys) => {
                let repairs = self.upkeep.gate.look(|table| {
                    let repair = |user_id| Some(Repair::of(user_id, table.key(user_id)?));
                    keys.into_iter().filter_map(repair).collect()
                });
                self.round = Some(repairer.repair(self.log.clone(), repairs, shutdown).boxed());
                None
            }
            Action::WaitUntil(due) => Some(self.began + due),
            Action::Wait => None,
        }
    }

    fn assigned(&mut self, event: &keeper::Event) {
        self.plan.on(event, self.began.elapsed());
        if let Some(scribe) = &mut self.scribe {
            scribe.assigned(event);
        }
    }

    fn take(&mut self, event: TailEvent) {
        match event {
            TailEvent::Records(records) => match self.upkeep.schemas.translated(records) {
                Ok(records) => self.take_records(&records),
                Err(held) => self.held = Some(held),
            },
            TailEvent::EndReached { partition, next_offset } => {
                self.upkeep.gate.update(|table| table.reach(partition, next_offset));
                self.reach(partition, next_offset);
            }
            TailEvent::PartitionsAdded(added) => {
                self.partitions += i32::try_from(added.len()).unwrap_or(0);
                let widened = keeper::Event::Widened { partitions: self.partitions };
                self.plan.on(&widened, self.began.elapsed());
                if let Some(scribe) = &mut self.scribe {
                    scribe.widened(self.partitions);
                }
                if !self.horizon.is_read() {
                    self.horizon.add(&added);
                }
            }
            TailEvent::Stalled(partitions) => {
                self.upkeep.readers.count(&self.upkeep.topic);
                self.horizon.add(&partitions);
                self.upkeep.gate.withdraw_from(&self.log, Withdrawn::Reopened);
            }
        }
    }

    /// The reader has everything below `next` that it can get of a partition.
    fn reach(&mut self, partition: i32, next: i64) {
        let was_read = self.horizon.is_read();
        if !self.horizon.reach(partition, next) {
            return;
        }
        self.plan.on(&keeper::Event::EndReached { partition }, self.began.elapsed());
        if let Some(scribe) = &mut self.scribe {
            scribe.users_ended(partition);
        }
        if !was_read && self.horizon.is_read() {
            self.plan.begin();
            self.upkeep.gate.put_in_force(&self.log);
        }
    }

    /// Nothing is appended to a partition before the reader has read it to its end again.
    fn wait_for_end(&mut self, partition: i32) {
        self.plan.on(&keeper::Event::Read { partition }, self.began.elapsed());
        if let Some(scribe) = &mut self.scribe {
            self.upkeep.gate.look(|table| scribe.user_read(None, partition, table));
        }
    }

    fn next_offset(&self, partition: i32) -> i64 {
        self.upkeep.gate.look(|table| table.checkpoint().next(partition)).unwrap_or(0)
    }

    /// The cluster has said where the topic ends.
    fn looked(&mut self, looked: &Looked) {
        for found in &looked.ends {
            self.horizon.see(found);
        }
        let mut new = Vec::new();
        for hold in &looked.holds {
            if self.horizon.hold(hold, self.next_offset(hold.partition)) {
                self.wait_for_end(hold.partition);
                new.push(*hold);
            }
        }
        if !new.is_empty() {
            tracing::warn!(reason = Hold::all(&new), "the gate is withdrawn and the keeper waits");
            self.upkeep.gate.withdraw_from(&self.log, Withdrawn::HeldBack);
        }
    }

    fn take_records(&mut self, records: &[Record]) {
        let (upkeep, now) = (self.upkeep, self.began.elapsed());
        upkeep.gate.update(|table| records.iter().for_each(|record| self.take_record(table, record, now)));
        let partitions: BTreeSet<i32> = records.iter().map(|record| record.position.partition).collect();
        for partition in partitions {
            if self.horizon.awaits(partition) {
                self.reach(partition, self.next_offset(partition));
            }
        }
    }

    fn take_record(&mut self, table: &mut Table, record: &Record, now: Duration) {
        let user_id = match keeper::read(table, &mut self.plan, record, now) {
            Ok((user_id, applied)) => {
                self.upkeep.gauges.dropped.inc_by(applied.dropped as u64);
                Some(user_id)
            }
            Err(unread) => {
                tracing::debug!(
                    kafka.partition = record.position.partition,
                    kafka.offset = record.position.offset,
                    error = &unread as &dyn std::error::Error,
                    "a record cannot be read"
                );
                None
            }
        };
        if let Some(scribe) = &mut self.scribe {
            scribe.user_read(user_id, record.position.partition, table);
        }
    }

    fn finish(&mut self, round: Round) {
        self.round = None;
        // A record that an open transaction holds back is not seen, and would be appended again and again.
        for at in round.appended {
            if self.next_offset(at.partition) <= at.offset {
                self.wait_for_end(at.partition);
            }
        }
        let lost = round.lost.into_iter().map(|user_id| keeper::Event::Lost { user_id });
        let copied = round.copied.into_iter().map(|(user_id, at)| keeper::Event::Copied { user_id, at });
        for event in lost.chain(copied) {
            self.plan.on(&event, self.began.elapsed());
        }
    }

    /// Waits for repairs in progress. They end soon after the shutdown.
    pub(super) async fn end(self) {
        if let Some(round) = self.round {
            round.await;
        }
        if let Some(mut scribe) = self.scribe {
            scribe.close().await;
        }
        self.looker.close().await;
    }
}

async fn next_of(scribe: &mut Option<Scribe>, wait: Option<Instant>) -> Happened {
    match scribe {
        Some(scribe) => scribe.next(wait).await,
        None => std::future::pending().await,
    }
}
