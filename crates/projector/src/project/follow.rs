//! Following: each batch of records is one commit, announced when it is made; late deliveries beside it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use domain::Checkpoint;
use futures_util::FutureExt as _;
use kafka::tail::{self, Limits, Tail, TailEvent};
use kafka::topics;
use service::telemetry::chain;
use tokio::sync::broadcast;

use super::{ASK_DEADLINE, Phase, RETRY, Stop, blocking, until_shutdown};
use crate::metrics::Partition;
use crate::projection::{Committed, Error, Shared};
use crate::start::{Reason, Topic};
use crate::store::{self, Batch, Commit, Writer};
use crate::subscribe::Announced;

/// How many records one transaction takes when that many wait: past some thousand, larger ones are hardly faster.
pub const RECORDS_PER_COMMIT: usize = 8_000;
/// How often it is tried to follow the late deliveries.
const LATE_INTERVAL: Duration = Duration::from_secs(30);

/// The state of following.
pub(super) struct Follower<'s> {
    shared: &'s Arc<Shared>,
    /// Absent only while a commit is on its way.
    writer: Option<Writer>,
    /// Where the log ended at start: the table is ready when it has been read so far.
    goal: Checkpoint,
    /// Follows the late deliveries, once the table is up to date: a gap is found before what closes it is looked for.
    late: Option<Tail>,
    /// When it may be tried again to follow them.
    late_due: Option<tokio::time::Instant>,
}

impl<'s> Follower<'s> {
    pub(super) fn new(shared: &'s Arc<Shared>, writer: Writer, topic: &Topic) -> Self {
        let goal = Checkpoint::from_next_offsets(
            topic.log.iter().filter(|log| log.high > log.low).map(|log| (log.partition, log.high)),
        );
        shared.ends.lock().unwrap_or_else(PoisonError::into_inner).offsets =
            Checkpoint::from_next_offsets(topic.log.iter().map(|log| (log.partition, log.high)));
        let readers = Arc::clone(writer.readers());
        shared.committed.send_replace(Committed::new(writer.checkpoint().clone()));
        // Whoever heard changes of a former table is cut off: between it and this one, none were told.
        let heard = broadcast::Sender::new(shared.options.changes_waiting_max);
        *shared.changes.write().unwrap_or_else(PoisonError::into_inner) = heard;
        *shared.readers.write().unwrap_or_else(PoisonError::into_inner) = Some(readers);
        shared.phase.send_replace(Phase::CatchingUp);
        let follower = Self { shared, writer: Some(writer), goal, late: None, late_due: None };
        follower.announce_progress();
        follower
    }

    /// Follows until there is a reason to stop. No thread of a Kafka client that reads outlives the call.
    pub(super) async fn follow(&mut self) -> Result<Stop, Error> {
        let followed = self.follow_anew().await;
        self.end_late().await;
        followed
    }

    /// Follows with one tail after the other.
    async fn follow_anew(&mut self) -> Result<Stop, Error> {
        let shared = self.shared;
        loop {
            let opening =
                Tail::open(&shared.options.kafka, &shared.options.topic, self.checkpoint(), Limits::default());
            let stop = match until_shutdown(shared, opening).await {
                None => return Ok(Stop::Shutdown),
                Some(Ok(mut tail)) => {
                    let followed = self.follow_with(&mut tail).await;
                    tail.close().await;
                    followed?
                }
                Some(Err(error)) => after_error(shared, error).await?,
            };
            if let Some(stop) = stop {
                return Ok(stop);
            }
        }
    }

    /// Follows until the tail ends or there is a reason to stop; `None` when another tail is to go on.
    async fn follow_with(&mut self, tail: &mut Tail) -> Result<Option<Stop>, Error> {
        let shared = self.shared;
        let mut look = tokio::time::interval(shared.options.look_interval);
        look.reset();
        loop {
            self.open_late().await;
            let event = tokio::select! {
                biased;
                () = shared.shutdown.requested() => return Ok(Some(Stop::Shutdown)),
                late = next_late(self.late.as_mut()) => {
                    self.take_late(late).await?;
                    continue;
                }
                _ = look.tick() => {
                    self.look().await?;
                    continue;
                }
                event = tail.next() => event,
            };
            let (batch, error) = match event {
                Ok(event) => gather(event, tail),
                Err(error) => (Batch::default(), Some(error)),
            };
            if let Some(stop) = self.commit(batch).await? {
                return Ok(Some(stop));
            }
            if let Some(error) = error {
                return after_error(shared, error).await;
            }
        }
    }

    /// Commits, tries again while what fails passes by itself, and announces what was committed.
    async fn commit(&mut self, batch: Batch) -> Result<Option<Stop>, Error> {
        let shared = self.shared;
        let mut batch = batch;
        loop {
            let mut writer = self.writer.take().expect("it is put back after each commit");
            if batch.is_past(writer.checkpoint()) {
                self.writer = Some(writer);
                return Ok(None);
            }
            let as_of = batch.as_of((shared.options.clock)());
            let began = tokio::time::Instant::now();
            let (writer, tried, committed) = blocking(move || {
                let committed = writer.commit(&batch, as_of);
                (writer, batch, committed)
            })
            .await?;
            self.writer = Some(writer);
            match committed {
                Ok(commit) => {
                    shared.metrics.commit.observe(began.elapsed().as_secs_f64());
                    self.announce(commit);
                    return Ok(None);
                }
                Err(error) if error.is_transient() => {
                    tracing::error!(error = &error as &dyn std::error::Error, "nothing is committed: trying again");
                    batch = tried;
                    if until_shutdown(shared, tokio::time::sleep(RETRY)).await.is_none() {
                        return Ok(Some(Stop::Shutdown));
                    }
                }
                Err(error @ store::Error::Damaged { .. }) => {
                    return Ok(Some(Stop::Rebuild(Reason::Damaged(chain(&error)))));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Begins to follow the late deliveries when it is time; their topic may be missing, and then it is looked for later.
    async fn open_late(&mut self) {
        let options = &self.shared.options;
        let Some(topic) = &options.late_topic else { return };
        let due = self.late_due.is_none_or(|due| tokio::time::Instant::now() >= due);
        if self.late.is_some() || !due || *self.shared.phase.borrow() != Phase::Following {
            return;
        }
        self.late_due = Some(tokio::time::Instant::now() + LATE_INTERVAL);
        let Some(writer) = &self.writer else { return };
        let from = writer.late_checkpoint().clone();
        let opened = match Tail::open(&options.kafka, topic, from, Limits::default()).await {
            // Retention has removed what was to be read next: the rest is read from its beginning, which changes nothing twice.
            Err(tail::Error::PositionOutsideLog { .. } | tail::Error::PartitionMissing { .. }) => {
                Tail::open(&options.kafka, topic, Checkpoint::default(), Limits::default()).await
            }
            opened => opened,
        };
        match opened {
            Ok(tail) => self.late = Some(tail),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "late deliveries cannot be followed: trying again"
                );
            }
        }
    }

    /// Lets late deliveries close gaps. An error of theirs is not the table's: they are followed anew later.
    async fn take_late(&mut self, late: Result<TailEvent, tail::Error>) -> Result<(), Error> {
        let records = match late {
            Ok(TailEvent::Records(records)) => records,
            Ok(TailEvent::EndReached { .. } | TailEvent::PartitionsAdded(_)) => return Ok(()),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "late deliveries cannot be followed: trying again"
                );
                self.end_late().await;
                return Ok(());
            }
        };
        let mut writer = self.writer.take().expect("it is put back after each commit");
        let (writer, taken) = blocking(move || {
            let taken = writer.take_late(&records);
            (writer, taken)
        })
        .await?;
        self.writer = Some(writer);
        match taken {
            Ok(closed) => drop(self.shared.metrics.gaps_closed_late.inc_by(closed)),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "late deliveries are not taken: trying again");
                self.end_late().await;
            }
        }
        Ok(())
    }

    async fn end_late(&mut self) {
        if let Some(tail) = self.late.take() {
            tail.close().await;
        }
    }

    /// First the position, so that whoever waits for it can read, then the changes, then the numbers.
    fn announce(&self, commit: Commit) {
        let Commit { checkpoint, changes, newer, duplicate, stale, forgotten, gaps_found, gaps_closed, unreadable } =
            commit;
        self.shared.committed.send_replace(Committed::new(checkpoint));
        {
            let subscribers = self.shared.changes.read().unwrap_or_else(PoisonError::into_inner);
            for change in changes {
                // An error says that nobody listens.
                let _heard = subscribers.send(Announced::new(change));
            }
        }
        let metrics = &self.shared.metrics;
        metrics.record("newer", newer);
        metrics.record("duplicate", duplicate);
        metrics.record("stale", stale);
        metrics.record("forgotten", forgotten);
        metrics.record("unreadable", unreadable.len() as u64);
        metrics.gaps_found.inc_by(gaps_found);
        metrics.gaps_closed_late.inc_by(gaps_closed);
        for unread in &unreadable {
            tracing::warn!(
                kafka.partition = unread.position.partition,
                kafka.offset = unread.position.offset,
                reason = %unread.reason,
                "a record cannot be read: it is counted and passed over"
            );
        }
        self.announce_progress();
    }

    fn announce_progress(&self) {
        let committed = self.checkpoint();
        {
            let ends = &mut self.shared.ends.lock().unwrap_or_else(PoisonError::into_inner).offsets;
            for (partition, next) in committed.iter() {
                ends.reach(partition, next);
            }
            for (partition, end) in ends.iter() {
                let next = committed.next(partition).unwrap_or(0);
                let label = Partition { messaging_destination_partition_id: partition };
                self.shared.metrics.next_offset.get_or_create(&label).set(next);
                self.shared.metrics.lag.get_or_create(&label).set(end - next);
            }
        }
        let reached = self.goal.iter().all(|(partition, high)| committed.next(partition) >= Some(high));
        if reached && *self.shared.phase.borrow() == Phase::CatchingUp {
            tracing::info!(checkpoint = %committed, "the table is up to date");
            self.shared.phase.send_replace(Phase::Following);
        }
    }

    /// Asks where the log ends, and marks the store as up to date if it has been read so far.
    async fn look(&mut self) -> Result<(), Error> {
        let options = &self.shared.options;
        let now = (options.clock)();
        let log = match topics::watermarks(&options.kafka, &options.topic, ASK_DEADLINE).await {
            Ok(log) => log,
            Err(error) => {
                self.shared.ends_not_told(&error);
                return Ok(());
            }
        };
        self.shared.ends_told();
        {
            let ends = &mut self.shared.ends.lock().unwrap_or_else(PoisonError::into_inner).offsets;
            for found in &log {
                ends.reach(found.partition, found.high);
            }
        }
        self.announce_progress();
        let checkpoint = self.checkpoint();
        if log.iter().all(|found| checkpoint.next(found.partition).unwrap_or(0) >= found.high) {
            let mut writer = self.writer.take().expect("it is put back after each commit");
            let (writer, touched) = blocking(move || {
                let touched = writer.touch(now);
                (writer, touched)
            })
            .await?;
            self.writer = Some(writer);
            if let Err(error) = touched {
                tracing::warn!(error = &error as &dyn std::error::Error, "the store cannot be marked as up to date");
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> Checkpoint {
        self.shared.committed.borrow().checkpoint.clone()
    }
}

/// Decides about the end of a tail: to go on with a new one after a pause, to start over, or to fail.
async fn after_error(shared: &Shared, error: tail::Error) -> Result<Option<Stop>, Error> {
    match error {
        tail::Error::PositionOutsideLog { partition, next_offset, low, high } => {
            Ok(Some(Stop::Rebuild(Reason::OutsideLog { partition, next_offset, low, high })))
        }
        tail::Error::TopicReplaced { topic } => {
            let needed = format!("{topic} (made anew)");
            Ok(Some(Stop::Rebuild(Reason::OtherTopic { found: topic, needed })))
        }
        tail::Error::PartitionMissing { partition } => Ok(Some(Stop::Rebuild(Reason::PartitionGone { partition }))),
        error if error.is_transient() => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the log cannot be read now: trying again");
            shared.ends_not_told(&error);
            let pause = until_shutdown(shared, tokio::time::sleep(RETRY)).await;
            Ok(if pause.is_none() { Some(Stop::Shutdown) } else { None })
        }
        error => Err(error.into()),
    }
}

/// Waits for late deliveries, for ever if they are not followed.
async fn next_late(late: Option<&mut Tail>) -> Result<TailEvent, tail::Error> {
    match late {
        Some(tail) => tail.next().await,
        None => std::future::pending().await,
    }
}

/// Takes what else is there without waiting, up to the size of a commit; with it the error that came after, if one did.
fn gather(first: TailEvent, tail: &mut Tail) -> (Batch, Option<tail::Error>) {
    let mut batch = Batch::default();
    let mut next = Some(Ok(first));
    while let Some(event) = next.take() {
        match event {
            Ok(TailEvent::Records(records)) => batch.records.extend(records),
            Ok(TailEvent::EndReached { partition, next_offset }) => batch.ends.push((partition, next_offset)),
            Ok(TailEvent::PartitionsAdded(partitions)) => {
                tracing::info!(?partitions, "the topic has more partitions now")
            }
            Err(error) => return (batch, Some(error)),
        }
        if batch.records.len() < RECORDS_PER_COMMIT {
            next = tail.next().now_or_never();
        }
    }
    (batch, None)
}
