//! The shell of gate and keeper: reads the topic, answers the requests, and appends repairs.

mod group;

mod metrics;

mod round;

mod scribe;

use std::collections::BTreeSet;
use std::time::Duration;

use domain::topics::Names;
use domain::wire::Flat;
use domain::{Checkpoint, LogId, UnixMillis};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kafka::publish::Publisher;
use kafka::tail::{self, Limits, Tail, TailEvent};
use kafka::topics::{self, Description, LogProbe, Watermarks};
use kafka::{ClientOptions, Record};
use service::registry::{Schemas, Unsettled};
use service::{Metrics, Shutdown};
use tokio::time::Instant;

use crate::gate::Gate;
use crate::keeper::{self, Action, Plan, Repair};
use crate::{Retention, Table};

use group::Group;
use metrics::Gauges;
use round::{Repairer, Round};
use scribe::{Happened, Scribe, StateGauges};

/// The pause before the topic is read again from its beginning after an error.
const START_OVER_AFTER: Duration = Duration::from_secs(2);
/// The time limit to describe the topic and its ends.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(10);
/// The longest time that the service's stop waits for a tail that is being opened. Opening cannot be cancelled, and
/// takes longer than this while the cluster is unreachable.
const OPENING_MAX: Duration = Duration::from_secs(5);

/// The reason why the topic cannot be followed now.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Described(#[from] topics::Error),
    #[error(transparent)]
    Read(#[from] tail::Error),
    #[error(transparent)]
    Schema(#[from] Unsettled),
}

/// Reads the whole topic once, for gate and keeper, and appends repairs.
#[derive(Debug)]
pub struct Upkeep {
    options: ClientOptions,
    topic: String,
    schemas: Schemas,
    gate: Gate,
    gauges: Gauges,
    /// `None` where this replica does not repair.
    repairer: Option<Repairer>,
    state: Option<State>,
}

/// The state topic that is written beside the repairs.
#[derive(Debug)]
struct State {
    names: Names,
    flat: Flat,
    gauges: StateGauges,
}

impl Upkeep {
    /// Returns the upkeep of the topic of users. Without a publisher it does not repair.
    pub fn new(
        options: ClientOptions,
        topics: Names,
        publisher: Option<Publisher>,
        now: fn() -> UnixMillis,
        metrics: &Metrics,
    ) -> Self {
        let (gauges, logs) = (Gauges::register(metrics), LogProbe::new(&options, &topics.users));
        let repairer = publisher.map(|publisher| Repairer {
            options: options.clone(),
            topics: topics.clone(),
            schemas: Schemas::default(),
            logs: logs.clone(),
            publisher,
            now,
            counters: gauges.keeper.clone(),
        });
        let (topic, schemas) = (topics.users, Schemas::default());
        Self { options, topic, schemas, gate: Gate::new(logs, metrics), gauges, repairer, state: None }
    }

    /// Writes the state topic too, where `topics` names one and this replica repairs.
    pub fn with_state_topic(mut self, topics: &Names, flat: Flat, metrics: &Metrics) -> Self {
        if topics.state.is_some() {
            self.state = Some(State { names: topics.clone(), flat, gauges: StateGauges::register(metrics) });
        }
        self
    }

    /// Returns the writer of the state topic for one pass over the topic of users.
    fn scribe(&self, log: &LogId, partitions: i32) -> Option<Scribe> {
        let State { names, flat, gauges } = self.state.as_ref()?;
        Scribe::new(self.repairer.clone()?, names, log.clone(), *flat, partitions, gauges.clone())
    }

    /// Reads records that name their schemas by ids.
    pub fn with_schemas(mut self, schemas: &Schemas) -> Self {
        self.schemas = schemas.clone();
        if let Some(repairer) = &mut self.repairer {
            repairer.schemas = schemas.clone();
        }
        self
    }

    /// Returns the gate, for the requests.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Follows the topic until `shutdown`, and has left the group when it returns. An error withdraws the gate, and the
    /// topic is read again from its beginning.
    pub async fn run(self, shutdown: Shutdown) {
        while !shutdown.is_requested() {
            if let Err(error) = self.open(&shutdown).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the gate is withdrawn and the topic is read again"
                );
            }
            self.gate.withdraw();
            pause(&shutdown, START_OVER_AFTER).await;
        }
    }

    /// Opens a tail and follows it until `shutdown`. The tail is closed in every case.
    async fn open(&self, shutdown: &Shutdown) -> Result<(), Error> {
        let opening = async {
            let tail = Tail::open(&self.options, &self.topic, Checkpoint::default(), Limits::default()).await?;
            // After the tail, which ends if these are of another log.
            let description = topics::describe(&self.options, &self.topic, DESCRIBE_DEADLINE).await?;
            let ends = topics::watermarks(&self.options, &self.topic, DESCRIBE_DEADLINE).await?;
            // The connection is there by the time that a judgement or a repair asks.
            self.gate.logs().now(DESCRIBE_DEADLINE).await?;
            Ok::<_, Error>((description, ends, tail))
        };
        let mut opening = std::pin::pin!(opening);
        let opened = tokio::select! {
            opened = &mut opening => Some(opened),
            () = shutdown.requested() => tokio::time::timeout(OPENING_MAX, opening).await.ok(),
        };
        let Some(opened) = opened else { return Ok(()) };
        let (description, ends, mut tail) = opened?;
        let mut group = Group::new(self);
        let mut follower = Follower::new(self, tail.log().clone(), &description, ends);
        let followed = tokio::select! {
            () = shutdown.requested() => Ok(()),
            Err(error) = follower.follow(&mut tail, &mut group, shutdown) => Err(error),
        };
        follower.end().await;
        group.leave().await;
        tail.close().await;
        followed
    }
}

async fn pause(shutdown: &Shutdown, duration: Duration) {
    tokio::select! {
        () = shutdown.requested() => {}
        () = tokio::time::sleep(duration) => {}
    }
}

/// One pass over the topic from its beginning.
struct Follower<'u> {
    upkeep: &'u Upkeep,
    log: LogId,
    plan: Plan,
    began: Instant,
    /// The ends of the partitions when the pass started.
    ends: Vec<Watermarks>,
    partitions: i32,
    /// Partitions that have not been read to their end yet.
    ahead: BTreeSet<i32>,
    round: Option<BoxFuture<'static, Round>>,
    /// Records with an id that must be looked up. Meanwhile nothing more is read. The gate stays in force: what it
    /// answers cannot be refuted by records that it has not read.
    held: Option<BoxFuture<'static, Result<Vec<Record>, Unsettled>>>,
    scribe: Option<Scribe>,
}

impl<'u> Follower<'u> {
    fn new(upkeep: &'u Upkeep, log: LogId, description: &Description, ends: Vec<Watermarks>) -> Self {
        let partitions = i32::try_from(ends.len()).unwrap_or(i32::MAX);
        let ahead = ends.iter().map(|end| end.partition).collect();
        let plan = Plan::new(partitions, Retention::of(description.settings.as_ref()));
        let (began, scribe) = (Instant::now(), upkeep.scribe(&log, partitions));
        Self { upkeep, log, plan, began, ends, partitions, ahead, round: None, held: None, scribe }
    }

    /// Returns only with an error.
    async fn follow(
        &mut self,
        tail: &mut Tail,
        group: &mut Group<'_>,
        shutdown: &Shutdown,
    ) -> Result<std::convert::Infallible, Error> {
        loop {
            let wait = self.act(shutdown);
            let is_read = self.ahead.is_empty();
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
                () = sleep_until(wait) => {}
            }
            self.upkeep.gauges.set(&self.plan, &self.upkeep.gate, &self.ends);
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
                self.reach(partition);
            }
            TailEvent::PartitionsAdded(added) => {
                self.partitions += i32::try_from(added.len()).unwrap_or(0);
                let widened = keeper::Event::Widened { partitions: self.partitions };
                self.plan.on(&widened, self.began.elapsed());
                if let Some(scribe) = &mut self.scribe {
                    scribe.widened(self.partitions);
                }
                if !self.ahead.is_empty() {
                    self.ahead.extend(&added);
                }
            }
        }
    }

    /// The partition has been read to its end.
    fn reach(&mut self, partition: i32) {
        self.plan.on(&keeper::Event::EndReached { partition }, self.began.elapsed());
        if let Some(scribe) = &mut self.scribe {
            scribe.users_ended(partition);
        }
        if self.ahead.remove(&partition) && self.ahead.is_empty() {
            self.plan.begin();
            self.upkeep.gate.put_in_force(&self.log);
        }
    }

    fn take_records(&mut self, records: &[Record]) {
        let (upkeep, now) = (self.upkeep, self.began.elapsed());
        upkeep.gate.update(|table| records.iter().for_each(|record| self.take_record(table, record, now)));
        // Where records come one after the other, the reader never reports an end: the one at start counts then.
        if self.ahead.is_empty() {
            return;
        }
        let reached: Vec<i32> = upkeep.gate.look(|table| {
            let has_reached = |end: &&Watermarks| table.checkpoint().next(end.partition) >= Some(end.high);
            let ahead = self.ends.iter().filter(|end| self.ahead.contains(&end.partition));
            ahead.filter(has_reached).map(|end| end.partition).collect()
        });
        for partition in reached {
            self.reach(partition);
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
        let lost = round.lost.into_iter().map(|user_id| keeper::Event::Lost { user_id });
        let copied = round.copied.into_iter().map(|(user_id, at)| keeper::Event::Copied { user_id, at });
        for event in lost.chain(copied) {
            self.plan.on(&event, self.began.elapsed());
        }
    }

    /// Waits for repairs in progress. They end soon after the shutdown.
    async fn end(self) {
        if let Some(round) = self.round {
            round.await;
        }
        if let Some(mut scribe) = self.scribe {
            scribe.close().await;
        }
    }
}

async fn next_of(scribe: &mut Option<Scribe>, wait: Option<Instant>) -> Happened {
    match scribe {
        Some(scribe) => scribe.next(wait).await,
        None => std::future::pending().await,
    }
}

async fn ready<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(wait: Option<Instant>) {
    match wait {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
