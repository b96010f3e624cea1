//! The shell of the state topic: reads it to its end, and appends what it lacks.
//!
//! It has a tail and a plan of its own. A fault of the state topic ends neither gate nor keeper: the state topic is
//! opened again after a pause.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::topics::Names;
use domain::wire::Flat;
use domain::{Checkpoint, LogId, Position, UserId};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kafka::placement::partition_for;
use kafka::tail::{self, Limits, Tail, TailEvent};
use kafka::topics::{self, Description};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use service::readers::ReadersReopened;
use service::{Metrics, Shutdown};
use tokio::time::Instant;

use super::round::{Repairer, Round};
use super::{DESCRIBE_DEADLINE, ready, sleep_until};
use crate::gate::Gate;
use crate::keeper::{Action, Event, Plan};
use crate::state_topic::{Correction, Mirror};
use crate::{Retention, Table};

/// The pause before the state topic is opened again after an error.
const REOPEN_AFTER: Duration = Duration::from_secs(10);

/// The metrics of the state topic.
#[derive(Clone, Debug, Default)]
pub(super) struct StateGauges {
    pub(super) behind: Gauge,
    pub(super) written: Counter,
    pub(super) failed: Counter,
}

impl StateGauges {
    pub(super) fn register(metrics: &Metrics) -> Self {
        let gauges = Self::default();
        metrics.register(|registry| {
            let behind = "Users whose last record on the state topic is not their state";
            registry.register("rollcall_state_topic_behind_users", behind, gauges.behind.clone());
            let written = "Records appended to the state topic";
            registry.register("rollcall_state_topic_records", written, gauges.written.clone());
            let failed = "Records of the state topic that Kafka did not acknowledge";
            registry.register("rollcall_state_topic_failed_records", failed, gauges.failed.clone());
        });
        gauges
    }
}

/// The reason why the state topic cannot be followed now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Described(#[from] topics::Error),
    #[error(transparent)]
    Read(#[from] tail::Error),
    #[error("it has {found} partitions, and the topic of users has {expected}: create it again with as many")]
    Partitions { found: i32, expected: i32 },
}

/// The writer of the state topic, beside one pass over the topic of users.
pub(super) struct Scribe {
    repairer: Repairer,
    topic: String,
    /// The log of users that the states are made from.
    users: LogId,
    flat: Flat,
    gauges: StateGauges,
    readers: ReadersReopened,
    began: Instant,
    /// The partitions of the topic of users.
    partitions: i32,
    owned: BTreeSet<i32>,
    /// The partitions of the topic of users that have been read to their end.
    users_ended: BTreeSet<i32>,
    /// Set while the state topic is being opened.
    opening: Option<BoxFuture<'static, Result<(Description, Tail), Error>>>,
    reopen_at: Instant,
    open: Option<Open>,
}

/// The state topic while it is followed.
struct Open {
    tail: Tail,
    mirror: Mirror,
    plan: Plan,
    ended: BTreeSet<i32>,
    /// Every key has been compared once, after both topics were read to their ends.
    is_compared: bool,
    /// The next offset of each partition.
    next: Checkpoint,
    round: Option<BoxFuture<'static, Round>>,
}

/// What a scribe waits for.
pub(super) enum Happened {
    Opened(Result<(Description, Tail), Error>),
    Read(Result<TailEvent, tail::Error>),
    /// A round has ended.
    Corrected(Round),
    Due,
}

impl Scribe {
    pub(super) fn new(
        repairer: Repairer,
        names: &Names,
        users: LogId,
        flat: Flat,
        partitions: i32,
        gauges: StateGauges,
        readers: ReadersReopened,
    ) -> Option<Self> {
        Some(Self {
            repairer,
            topic: names.state.clone()?,
            users,
            flat,
            gauges,
            readers,
            began: Instant::now(),
            partitions,
            owned: BTreeSet::new(),
            users_ended: BTreeSet::new(),
            opening: None,
            reopen_at: Instant::now(),
            open: None,
        })
    }

    /// Waits for what comes next, at most until `wait`.
    ///
    /// Cancel-safe.
    pub(super) async fn next(&mut self, wait: Option<Instant>) -> Happened {
        if let Some(opening) = &mut self.opening {
            let opened = opening.await;
            self.opening = None;
            return Happened::Opened(opened);
        }
        let Some(open) = &mut self.open else {
            tokio::time::sleep_until(self.reopen_at).await;
            return Happened::Due;
        };
        tokio::select! {
            event = open.tail.next() => Happened::Read(event),
            round = ready(&mut open.round) => Happened::Corrected(round),
            () = sleep_until(wait) => Happened::Due,
        }
    }

    /// Takes what has happened.
    pub(super) async fn take(&mut self, happened: Happened, gate: &Gate) {
        let now = self.began.elapsed();
        let error = match (happened, &mut self.open) {
            (Happened::Opened(Ok((description, tail))), _) => {
                let found = description.partitions;
                if found == self.partitions {
                    return self.begin(&description, tail);
                }
                tail.close().await;
                Error::Partitions { found, expected: self.partitions }
            }
            (Happened::Opened(Err(error)), _) => error,
            (Happened::Read(Err(error)), _) => error.into(),
            (Happened::Read(Ok(TailEvent::PartitionsAdded(added))), _) => {
                let found = self.partitions + i32::try_from(added.len()).unwrap_or(0);
                Error::Partitions { found, expected: self.partitions }
            }
            (Happened::Read(Ok(TailEvent::Stalled(_))), _) => return self.readers.count(&self.topic),
            (Happened::Read(Ok(event)), Some(open)) => {
                let home = |user_id| home(user_id, self.partitions);
                gate.look(|table| open.read(event, &self.users_ended, table, home, now));
                return;
            }
            (Happened::Corrected(round), Some(open)) => {
                open.corrected(round, now);
                return;
            }
            (Happened::Read(Ok(_)) | Happened::Corrected(_) | Happened::Due, _) => return,
        };
        tracing::warn!(
            topic = self.topic,
            error = &error as &dyn std::error::Error,
            "the state topic cannot be followed now"
        );
        self.close().await;
        self.reopen_at = Instant::now() + REOPEN_AFTER;
    }

    fn begin(&mut self, description: &Description, tail: Tail) {
        let mut plan = Plan::new(self.partitions, Retention::of(description.settings.as_ref()));
        plan.on(&Event::Assigned(self.owned.iter().copied().collect()), Duration::ZERO);
        let mirror = Mirror::new(self.flat);
        self.open = Some(Open {
            tail,
            mirror,
            plan,
            ended: BTreeSet::new(),
            is_compared: false,
            next: Checkpoint::default(),
            round: None,
        });
    }

    /// Starts what is due: opening the topic, comparing all keys once, a round of corrections. Returns the time until
    /// which to wait.
    pub(super) fn act(&mut self, gate: &Gate, is_users_read: bool, shutdown: &Shutdown) -> Option<Instant> {
        let (now, partitions) = (self.began.elapsed(), self.partitions);
        let Some(open) = &mut self.open else {
            if self.opening.is_none() && Instant::now() >= self.reopen_at {
                self.opening = Some(opened(self.repairer.options.clone(), self.topic.clone()).boxed());
            }
            return None;
        };
        if !open.is_compared {
            if !is_users_read || i32::try_from(open.ended.len()) != Ok(partitions) {
                return None;
            }
            gate.look(|table| open.compare(table, |user_id| home(user_id, partitions), now));
        }
        self.gauges.behind.set(i64::try_from(open.plan.dirty()).unwrap_or(i64::MAX));
        if open.round.is_some() {
            return None;
        }
        match open.plan.next(now, (self.repairer.now)()) {
            Action::Repair(keys) => {
                let corrections = gate.look(|table| {
                    let needed = |user_id: &UserId| {
                        open.mirror.needed(*user_id, table.key(*user_id), home(*user_id, partitions))
                    };
                    keys.iter().map(needed).collect::<Vec<Correction>>()
                });
                let (repairer, topic) = (self.repairer.clone(), self.topic.clone());
                let (users, gauges) = (self.users.clone(), self.gauges.clone());
                let round = repairer.correct(users, corrections, self.flat, topic, gauges, shutdown.clone());
                open.round = Some(round.boxed());
                None
            }
            Action::WaitUntil(due) => Some(self.began + due),
            Action::Copy(_) | Action::Wait => None,
        }
    }

    /// A change of this replica's assignment.
    pub(super) fn assigned(&mut self, event: &Event) {
        match event {
            Event::Assigned(partitions) => self.owned.extend(partitions),
            Event::Revoked(partitions) => self.owned.retain(|partition| !partitions.contains(partition)),
            _ => self.owned.clear(),
        }
        let now = self.began.elapsed();
        if let Some(open) = &mut self.open {
            open.plan.on(event, now);
        }
    }

    /// A record of a user on the topic of users.
    pub(super) fn user_read(&mut self, user_id: Option<UserId>, partition: i32, table: &Table) {
        self.users_ended.remove(&partition);
        let now = self.began.elapsed();
        let Some(open) = &mut self.open else { return };
        open.plan.on(&Event::Read { partition }, now);
        if let Some(user_id) = user_id.filter(|_| open.is_compared) {
            let event = open.mirror.event(user_id, table.key(user_id), home(user_id, self.partitions));
            open.plan.on(&event, now);
        }
    }

    /// A partition of the topic of users was read to its end.
    pub(super) fn users_ended(&mut self, partition: i32) {
        self.users_ended.insert(partition);
        let now = self.began.elapsed();
        if let Some(open) = self.open.as_mut().filter(|open| open.ended.contains(&partition)) {
            open.plan.on(&Event::EndReached { partition }, now);
        }
    }

    /// The topic of users has this number of partitions now. The state topic does not follow by itself.
    pub(super) fn widened(&mut self, partitions: i32) {
        self.partitions = partitions;
        if let Some(open) = &mut self.open {
            open.is_compared = false;
        }
    }

    /// Closes the tail, and waits for records on their way.
    pub(super) async fn close(&mut self) {
        if let Some(open) = self.open.take() {
            if let Some(round) = open.round {
                round.await;
            }
            open.tail.close().await;
        }
    }
}

impl Open {
    fn read(
        &mut self,
        event: TailEvent,
        users_ended: &BTreeSet<i32>,
        table: &Table,
        home: impl Fn(UserId) -> i32,
        now: Duration,
    ) {
        match event {
            TailEvent::Records(records) => {
                for record in &records {
                    let partition = record.position.partition;
                    self.ended.remove(&partition);
                    self.next.reach(partition, record.position.offset + 1);
                    self.plan.on(&Event::Read { partition }, now);
                    let user_id = self.mirror.take(record).filter(|_| self.is_compared);
                    if let Some(user_id) = user_id {
                        let event = self.mirror.event(user_id, table.key(user_id), home(user_id));
                        self.plan.on(&event, now);
                    }
                }
            }
            TailEvent::EndReached { partition, next_offset } => {
                self.next.reach(partition, next_offset);
                self.ended.insert(partition);
                if users_ended.contains(&partition) {
                    self.plan.on(&Event::EndReached { partition }, now);
                }
            }
            TailEvent::PartitionsAdded(_) | TailEvent::Stalled(_) => {}
        }
    }

    fn corrected(&mut self, round: Round, now: Duration) {
        self.round = None;
        // A record that an open transaction holds back is not seen, and would be appended again and again.
        for Position { partition, offset } in round.appended {
            if self.next.next(partition).unwrap_or(0) <= offset {
                self.ended.remove(&partition);
                self.plan.on(&Event::Read { partition }, now);
            }
        }
        for user_id in round.lost {
            self.plan.on(&Event::Lost { user_id }, now);
        }
    }

    /// Compares every key of both topics, and lets the plan begin.
    fn compare(&mut self, table: &Table, home: impl Fn(UserId) -> i32, now: Duration) {
        let users: BTreeSet<UserId> = table.user_ids().chain(self.mirror.user_ids()).collect();
        for user_id in users {
            let event = self.mirror.event(user_id, table.key(user_id), home(user_id));
            self.plan.on(&event, now);
        }
        self.is_compared = true;
        self.plan.begin();
    }
}

async fn opened(options: kafka::ClientOptions, topic: String) -> Result<(Description, Tail), Error> {
    let description = topics::describe(&options, &topic, DESCRIBE_DEADLINE).await?;
    let tail = Tail::open(&options, &topic, Checkpoint::default(), Limits::default()).await?;
    Ok((description, tail))
}

fn home(user_id: UserId, partitions: i32) -> i32 {
    partition_for(user_id.to_string().as_bytes(), partitions)
}
