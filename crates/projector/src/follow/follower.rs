//! Following: each batch of records is one commit, announced after it is made; late deliveries beside it.

mod upkeep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::{Checkpoint, LogId, UnixMillis};
use futures_util::FutureExt as _;
use kafka::tail::{self, Tail, TailEvent};
use tokio::time::Instant;

use super::announce::Announcer;
use super::damage::DamageWatch;
use super::erase::Eraser;
use super::indexing::Indexer;
use super::late::LateTail;
use super::look::{Looked, Looker};
use super::pace::Pace;
use crate::error::Error;
use crate::phase::Phase;
use crate::shared::{Shared, blocking};
use crate::start::{RebuildReason, Topic};
use crate::store::{LogBatch, StoreFolder, Writer, kept};

/// How many records one transaction takes when that many wait: past some thousand, larger ones are hardly faster.
const RECORDS_PER_COMMIT: usize = 8_000;
/// By how much the time in an idle store may be older than the table is.
const TOUCH_INTERVAL_MS: i64 = 30_000;

/// The state of following.
pub(super) struct Follower<'s> {
    shared: &'s Arc<Shared>,
    /// The log that the table is of.
    log: LogId,
    /// Absent only while it is lent ([`Follower::with_writer`]).
    writer: Option<Writer>,
    announcer: Announcer<'s>,
    /// Opened once the table is up to date: a gap is found before the delivery that closes it is looked for.
    late: LateTail,
    eraser: Eraser,
    indexer: Indexer,
    pace: Pace,
    damage: DamageWatch,
}

/// Why following stopped.
pub(super) enum Stop {
    Shutdown,
    Rebuild(RebuildReason),
}

impl<'s> Follower<'s> {
    pub(super) fn new(shared: &'s Arc<Shared>, folder: &Arc<StoreFolder>, writer: Writer, topic: &Topic) -> Self {
        let damage = DamageWatch::new(folder, &writer);
        let announcer = Announcer::new(shared, &writer, topic);
        let (log, late, eraser) = (topic.id.clone(), LateTail::default(), Eraser::default());
        let (indexer, pace) = (Indexer::new(&writer, Duration::ZERO), Pace::new(Instant::now()));
        let mut follower = Self { shared, log, writer: Some(writer), announcer, late, eraser, indexer, pace, damage };
        follower.see_erasures();
        shared.stalled(BTreeSet::clear);
        follower
    }

    /// Puts the table into use, at the first call: one that was made from this log a moment ago at once, another when
    /// the log is known to hold what it has read.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        self.announcer.begin(self.writer.as_ref().ok_or(Error::Ended)?);
        Ok(())
    }

    /// Follows until there is a reason to stop. No thread of a Kafka client that reads outlives the call.
    pub(super) async fn follow(&mut self) -> Result<Stop, Error> {
        let followed = self.follow_with_tails().await;
        self.late.close().await;
        followed
    }

    /// Follows with one tail after the other.
    async fn follow_with_tails(&mut self) -> Result<Stop, Error> {
        let shared = self.shared;
        let (kafka, topic) = (&shared.options.kafka, &shared.options.topic);
        loop {
            // A log that cannot be read keeps nobody from being erased.
            if self.eraser.is_due()
                && let Some(stop) = self.erase().await?
            {
                return Ok(stop);
            }
            let opening = Tail::open(kafka, topic, self.checkpoint()?, tail::Limits::default());
            let mut opening = std::pin::pin!(shared.until_shutdown(opening));
            let opened = loop {
                tokio::select! {
                    biased;
                    reason = self.damage.met() => return Ok(Stop::Rebuild(reason)),
                    opened = opening.as_mut() => break opened,
                    () = self.indexer.idle(), if self.announcer.is_begun() => {}
                }
                if let Some(stop) = self.make_index().await? {
                    return Ok(stop);
                }
            };
            let stop = match opened {
                None => return Ok(Stop::Shutdown),
                Some(Ok(tail)) if *tail.log() != self.log => {
                    let found = tail.log().to_string();
                    tail.close().await;
                    Some(Stop::Rebuild(RebuildReason::OtherTopic { found: self.log.to_string(), needed: found }))
                }
                Some(Ok(mut tail)) => {
                    // The leader has confirmed that its log still holds what the table has read.
                    self.begin()?;
                    self.announcer.followed();
                    let followed = self.follow_with(&mut tail).await;
                    tail.close().await;
                    followed?
                }
                // Nor does it keep an index from being made.
                Some(Err(error)) => match after_error(shared, error).await? {
                    None => self.make_index().await?,
                    stop => stop,
                },
            };
            if let Some(stop) = stop {
                return Ok(stop);
            }
        }
    }

    /// Follows until the tail ends or there is a reason to stop; `None` when another tail is to go on.
    async fn follow_with(&mut self, tail: &mut Tail) -> Result<Option<Stop>, Error> {
        let shared = self.shared;
        let mut looker = Looker::new(shared, &self.log);
        loop {
            self.open_late().await;
            let event = tokio::select! {
                biased;
                () = shared.shutdown.requested() => return Ok(Some(Stop::Shutdown)),
                reason = self.damage.met() => return Ok(Some(Stop::Rebuild(reason))),
                () = self.eraser.due() => {
                    if let Some(stop) = self.erase().await? {
                        return Ok(Some(stop));
                    }
                    continue;
                }
                late = self.late.next() => {
                    self.take_late(late).await?;
                    continue;
                }
                looked = looker.next() => {
                    self.looked(looked).await?;
                    continue;
                }
                () = self.indexer.due() => {
                    if let Some(stop) = self.make_index().await? {
                        return Ok(Some(stop));
                    }
                    continue;
                }
                event = tail.next() => event,
                // Nothing else is to be done.
                () = self.indexer.idle() => {
                    if let Some(stop) = self.make_index().await? {
                        return Ok(Some(stop));
                    }
                    continue;
                }
            };
            let (batch, error) = match event {
                Ok(event) => self.gather(event, tail, &mut looker).await,
                Err(error) => (LogBatch::default(), Some(error)),
            };
            let Some(batch) = self.translated(batch, &mut looker).await? else { return Ok(Some(Stop::Shutdown)) };
            if let Some(stop) = self.commit(batch).await? {
                return Ok(Some(stop));
            }
            if let Some(error) = error {
                return after_error(shared, error).await;
            }
        }
    }

    /// Takes the events that are there or come before a commit is due, up to the size of a commit, and the error that
    /// came after, if one did.
    async fn gather(
        &mut self,
        first: TailEvent,
        tail: &mut Tail,
        looker: &mut Looker,
    ) -> (LogBatch, Option<tail::Error>) {
        let (shared, mut batch) = (self.shared, LogBatch::default());
        let mut next = Some(Ok(first));
        while let Some(event) = next.take() {
            match event {
                Ok(TailEvent::Records(records)) => batch.records.extend(records),
                Ok(TailEvent::EndReached { partition, next_offset }) => {
                    batch.ends.push((partition, next_offset));
                    shared.stalled(|stalled| stalled.retain(|other| *other != partition));
                }
                Ok(TailEvent::PartitionsAdded(partitions)) => {
                    tracing::info!(?partitions, "the topic has more partitions now")
                }
                Ok(TailEvent::Stalled(partitions)) => {
                    shared.readers_reopened.count(&shared.options.topic);
                    shared.stalled(|stalled| stalled.extend(partitions));
                    looker.look_now();
                }
                Err(error) => return (batch, Some(error)),
            }
            if batch.records.len() < RECORDS_PER_COMMIT {
                next = match tail.next().now_or_never() {
                    None if !batch.records.is_empty() => {
                        tokio::time::timeout_at(self.pace.due(), tail.next()).await.ok()
                    }
                    next => next,
                };
            }
        }
        (batch, None)
    }

    /// Returns the batch in the encoding that the store reads; `None` when the shutdown came first. Waits while a
    /// record names a schema that cannot be looked up: it must not be passed over.
    async fn translated(&mut self, batch: LogBatch, looker: &mut Looker) -> Result<Option<LogBatch>, Error> {
        let LogBatch { records, ends, .. } = batch;
        let schemas = &self.shared.options.schemas;
        let looked_up = match schemas.translated(records) {
            Ok(records) => return Ok(Some(LogBatch { records, ends, ids: schemas.known() })),
            Err(looked_up) => looked_up,
        };
        let mut looked_up = std::pin::pin!(looked_up);
        loop {
            tokio::select! {
                () = self.shared.shutdown.requested() => return Ok(None),
                records = &mut looked_up => {
                    return Ok(Some(LogBatch { records: records?, ends, ids: schemas.known() }));
                }
                looked = looker.next() => self.looked(looked).await?,
            }
        }
    }

    /// Lends the writer to `work`, on a thread that may block.
    async fn with_writer<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> Result<T, Error> {
        // It does not come back from work that panics.
        let mut writer = self.writer.take().ok_or(Error::Ended)?;
        let (writer, done) = blocking(move || {
            let done = work(&mut writer);
            (writer, done)
        })
        .await?;
        self.writer = Some(writer);
        Ok(done)
    }

    /// Commits, tries again while the failure passes by itself, and announces the commit.
    async fn commit(&mut self, batch: LogBatch) -> Result<Option<Stop>, Error> {
        let shared = self.shared;
        if batch.is_past(&shared.committed.borrow().checkpoint) {
            return Ok(None);
        }
        self.pace.count(batch.records.len(), Instant::now());
        let batch = Arc::new(batch);
        loop {
            // The store keeps the later of this and the time that it has.
            let as_of = shared.facts.lock().as_of().unwrap_or(UnixMillis::from_millis(0));
            let began = Instant::now();
            let batch = Arc::clone(&batch);
            match self.with_writer(move |writer| writer.commit(&batch, as_of)).await? {
                Ok(commit) => {
                    shared.metrics.commit.observe(began.elapsed().as_secs_f64());
                    self.announcer.commit(commit);
                    self.see_erasures();
                    return Ok(None);
                }
                Err(error) if error.is_transient() => {
                    let error = Error::Store(error);
                    shared.note_exhausted(&error);
                    shared.log_wait(&error, "nothing is committed: trying again");
                    if shared.pause().await.is_none() {
                        return Ok(Some(Stop::Shutdown));
                    }
                }
                Err(error) => match RebuildReason::of_damage(&error) {
                    Some(reason) => return Ok(Some(Stop::Rebuild(reason))),
                    None => return Err(error.into()),
                },
            }
        }
    }

    /// Begins to follow the late deliveries when it is time.
    async fn open_late(&mut self) {
        let options = &self.shared.options;
        let (Some(topic), Some(writer)) = (&options.late_topic, &self.writer) else { return };
        if self.late.is_due() && *self.shared.phase.borrow() == Phase::Following {
            let (from, log) = writer.late_checkpoint();
            self.late.open(&options.kafka, topic, from, log).await;
        }
    }

    /// Lets late deliveries close gaps. An error of theirs is not the table's.
    async fn take_late(&mut self, event: Result<TailEvent, tail::Error>) -> Result<(), Error> {
        if let (Ok(TailEvent::Stalled(_)), Some(topic)) = (&event, &self.shared.options.late_topic) {
            self.shared.readers_reopened.count(topic);
        }
        let Some((log, records)) = self.late.records(event).await else { return Ok(()) };
        let records = match self.shared.options.schemas.translated(records) {
            Ok(records) => records,
            Err(looked_up) => match self.shared.until_shutdown(looked_up).await {
                Some(records) => records?,
                None => return Ok(()),
            },
        };
        match self.with_writer(move |writer| writer.take_late(&log, &records)).await? {
            Ok(closed) => {
                self.shared.metrics.gaps_closed_late.inc_by(closed);
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "late deliveries are not taken: trying again");
                self.late.close().await;
            }
        }
        Ok(())
    }

    /// Notes where the log ends, and marks an idle store as up to date.
    async fn looked(&mut self, looked: Looked) -> Result<(), Error> {
        kept::tidy(&self.shared.options.store, self.shared.now(), false);
        self.trim_log().await?;
        match looked {
            Looked::Answered { answer, partitions } => {
                self.shared.ends_answered(&answer);
                self.shared.partitions.report(i32::try_from(partitions).unwrap_or(i32::MAX));
                self.announcer.progress();
            }
            Looked::OtherLog => return Ok(()),
            Looked::Silent(error) => {
                self.shared.ends_unanswered(error.into());
                return Ok(());
            }
        }
        let stored = self.writer.as_ref().ok_or(Error::Ended)?.meta().committed_at;
        let as_of = self.shared.facts.lock().as_of().unwrap_or(stored);
        if as_of.millis().saturating_sub(stored.millis()) >= TOUCH_INTERVAL_MS
            && let Err(error) = self.with_writer(move |writer| writer.touch(as_of)).await?
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the store cannot be marked as up to date");
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<Checkpoint, Error> {
        self.writer.as_ref().map(|writer| writer.checkpoint().clone()).ok_or(Error::Ended)
    }
}

/// Decides about the end of a tail: to go on with a new one after a pause, to start over, or to fail.
async fn after_error(shared: &Shared, error: tail::Error) -> Result<Option<Stop>, Error> {
    match error {
        tail::Error::PositionOutsideLog { partition, next_offset, low, high } => {
            Ok(Some(Stop::Rebuild(RebuildReason::OutsideLog { partition, next_offset, low, high })))
        }
        tail::Error::TopicReplaced { topic } => {
            let needed = format!("{topic} (recreated)");
            Ok(Some(Stop::Rebuild(RebuildReason::OtherTopic { found: topic, needed })))
        }
        tail::Error::PartitionMissing { partition } => {
            Ok(Some(Stop::Rebuild(RebuildReason::PartitionGone { partition })))
        }
        // Cluster, topic and permissions can come back. The table is answered from meanwhile, as of the time it has.
        tail::Error::Unavailable(ref unavailable) => {
            shared.log_wait(&error, "the log cannot be read now: trying again");
            shared.ends_unanswered(unavailable.clone());
            Ok(if shared.pause().await.is_none() { Some(Stop::Shutdown) } else { None })
        }
        tail::Error::Ended => Err(error.into()),
    }
}
