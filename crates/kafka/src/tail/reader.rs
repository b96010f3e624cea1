//! The thread of a tail: polls librdkafka and turns its reports into events.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use domain::{Checkpoint, LogId};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cursors::{Cursor, Cursors};
use super::watchdog::Watchdog;
use super::{Batch, Error, Limits, TailEvent};
use crate::former::Former;
use crate::native::{Intake, Place, Taken, seek, topic_name};
use crate::topics::{self, Confirmed, Watch};
use crate::{ClientOptions, Fault, Record, Unavailable};

/// The pause between checks of the cursors while the cluster does not answer.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The pause between questions whether the log is still the same, while the cluster does not answer.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(200);
/// The longest single wait for records. It bounds how long a tail outlives its handle, not the delay of a record.
const POLL: Duration = Duration::from_millis(100);

pub(super) struct TailReader {
    options: ClientOptions,
    intake: Intake,
    former: Former,
    topic: String,
    limits: Limits,
    cursors: Cursors,
    batch: Batch,
    /// Events that are not yet confirmed to be of the log that the reader began with.
    round: Vec<TailEvent>,
    /// The partitions whose position the leader has not confirmed yet.
    unchecked: BTreeSet<i32>,
    events: mpsc::Sender<Result<TailEvent, Error>>,
    watch: Watch,
    watchdog: Watchdog,
    /// The time of the next check, set while a cursor may be outside the log, or a new client is needed.
    check_at: Option<Instant>,
    /// The revision of the credentials for which a new client was asked last.
    revision: u64,
}

/// The thread ends: the handle was dropped, or an error was sent.
struct End;

type Step = ControlFlow<End>;

impl TailReader {
    /// Connects, verifies that the log holds the checkpoint, and starts to fetch.
    pub(super) fn open(
        options: &ClientOptions,
        topic: String,
        from: &Checkpoint,
        limits: Limits,
        events: mpsc::Sender<Result<TailEvent, Error>>,
    ) -> Result<Self, Error> {
        // Before the client: one of older credentials is replaced.
        let revision = options.credentials.revision();
        let consumer = options.reader(limits.fetch).map_err(Unavailable::from)?;
        let watch = Watch::begin(options, &topic, limits.open_deadline)?;
        let log = topics::watermarks_of(options, &topic, limits.open_deadline)?;
        let watchdog = Watchdog::start(watch.client(), &topic, limits.stalled_after);
        let mut reader = Self {
            options: options.clone(),
            intake: Intake::new(consumer),
            former: Former::default(),
            topic,
            cursors: Cursors::place(&log, from)?,
            limits,
            batch: Batch::new(limits.records_per_batch, limits.bytes_per_batch),
            round: Vec::new(),
            unchecked: BTreeSet::new(),
            events,
            watch,
            watchdog,
            check_at: None,
            revision,
        };
        reader.fetch(|_| true)?;
        reader.until_checked()?;
        Ok(reader)
    }

    /// Waits until the leaders have answered for each position that was to be checked: librdkafka delivers nothing of a
    /// partition before.
    fn until_checked(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        while !self.unchecked.is_empty() {
            if let ControlFlow::Break(error) = self.poll() {
                return Err(error);
            }
            if began.elapsed() >= self.limits.open_deadline {
                return Err(Unavailable::Unreachable(Code::OperationTimedOut.into()).into());
            }
        }
        Ok(())
    }

    pub(super) fn log(&self) -> &LogId {
        self.watch.log()
    }

    pub(super) fn run(mut self) {
        while !self.events.is_closed() {
            let began = Instant::now();
            let ended = self.poll();
            self.watchdog.waited(began.elapsed());
            if self.deliver().is_break() {
                return;
            }
            if let ControlFlow::Break(error) = ended {
                // The handle may be gone.
                let _ended = fail(&self.events, error);
                return;
            }
            self.mind_credentials();
            if self.check().is_break() || self.look().is_break() || self.mind_stalls().is_break() {
                return;
            }
        }
    }

    /// Waits for the first item, then takes all items without waiting.
    fn poll(&mut self) -> ControlFlow<Error> {
        let Self { intake, topic, limits, cursors, batch, round, unchecked, check_at, .. } = self;
        let copy = if limits.state_only { Record::copy_for_state } else { Record::copy };
        let ended = intake.take(POLL, |taken| {
            match taken {
                Taken::Record(message) => {
                    unchecked.remove(&message.position().partition);
                    if cursors.pass(message.position(), message.leader_epoch()) {
                        batch.push(copy(message));
                    }
                    if batch.is_full() {
                        round.extend(batch.take().map(TailEvent::Records));
                    }
                }
                Taken::End { partition, offset } => {
                    unchecked.remove(&partition);
                    round.extend(batch.take().map(TailEvent::Records));
                    let next_offset = cursors.reach(partition, offset);
                    round.extend(next_offset.map(|next_offset| TailEvent::EndReached { partition, next_offset }));
                }
                Taken::Cut { partition, end } => match cursors.cut(partition, end) {
                    Some(error) => return ControlFlow::Break(error),
                    None => *check_at = Some(Instant::now()),
                },
                Taken::Fault(fault) => match verdict(fault, topic) {
                    Verdict::Wait => {}
                    Verdict::Check => *check_at = Some(Instant::now()),
                    Verdict::End(error) => return ControlFlow::Break(error.into()),
                },
            }
            ControlFlow::Continue(())
        });
        round.extend(batch.take().map(TailEvent::Records));
        ended
    }

    /// Passes the round on once the log is confirmed to be the one that the reader began with. Until then nothing more
    /// is taken.
    fn deliver(&mut self) -> Step {
        if self.round.is_empty() {
            return Step::Continue(());
        }
        while self.confirm()? == Confirmed::NotYet {
            if self.events.is_closed() {
                return Step::Break(End);
            }
            std::thread::sleep(CONFIRM_INTERVAL);
        }
        self.round.drain(..).try_for_each(|event| send(&self.events, Ok(event)))
    }

    fn confirm(&mut self) -> ControlFlow<End, Confirmed> {
        match self.watch.confirm() {
            Ok(confirmed) => ControlFlow::Continue(confirmed),
            Err(changed) => {
                fail(&self.events, changed.into())?;
                ControlFlow::Break(End)
            }
        }
    }

    /// Has all partitions fetched by a new client if the credentials have changed.
    fn mind_credentials(&mut self) {
        let revision = self.options.credentials.revision();
        if self.revision != revision {
            (self.revision, self.check_at) = (revision, Some(Instant::now()));
        }
    }

    /// Handles librdkafka's report that a position is not in the log, a stalled partition, and changed credentials:
    /// checks the positions, and continues with a new client if the log holds them.
    fn check(&mut self) -> Step {
        if self.check_at.is_none_or(|at| Instant::now() < at) {
            return Step::Continue(());
        }
        if self.confirm()? == Confirmed::NotYet {
            self.check_at = Some(Instant::now() + CHECK_INTERVAL);
            return Step::Continue(());
        }
        let verified = topics::watermarks_of(&self.options, &self.topic, self.limits.open_deadline)
            .map_err(Error::from)
            .and_then(|log| self.cursors.verify(&log))
            .and_then(|()| self.reconnect());
        match verified {
            Ok(()) => self.check_at = None,
            Err(error) if error.is_transient() => self.check_at = Some(Instant::now() + CHECK_INTERVAL),
            Err(error) => return fail(&self.events, error),
        }
        Step::Continue(())
    }

    /// At intervals: ends if the topic was replaced, and follows new partitions.
    fn look(&mut self) -> Step {
        let partitions = match self.watch.look() {
            Ok(Some(partitions)) => partitions,
            Ok(None) => return Step::Continue(()),
            Err(error) => return fail(&self.events, error.into()),
        };
        let added = self.cursors.add(0..partitions);
        if added.is_empty() {
            return Step::Continue(());
        }
        if self.fetch(|partition| added.contains(&partition)).is_err() {
            self.check_at = Some(Instant::now());
        }
        send(&self.events, Ok(TailEvent::PartitionsAdded(added)))
    }

    /// Has all partitions fetched by a new client if librdkafka has forgotten one.
    fn mind_stalls(&mut self) -> Step {
        let stalled = self.watchdog.look(self.cursors.iter().map(|(partition, cursor)| (partition, cursor.next)));
        if stalled.is_empty() {
            return Step::Continue(());
        }
        tracing::warn!(
            topic = self.topic,
            partitions = ?stalled,
            "the Kafka client has stopped to fetch: the reader is opened again where it stood"
        );
        self.check_at = Some(Instant::now());
        send(&self.events, Ok(TailEvent::Stalled(stalled)))
    }

    /// Fetches all partitions from their cursors with a new client. Needed after an answer of a lagging replica, or
    /// after a truncation that affected no record read: the old client has stopped fetching that partition, and would
    /// deliver nothing of it even if it were assigned again. Needed after a stall too, where it has forgotten it, and
    /// for other credentials.
    fn reconnect(&mut self) -> Result<(), Error> {
        let successor = Intake::new(self.options.reader(self.limits.fetch).map_err(Unavailable::from)?);
        let former = std::mem::replace(&mut self.intake, successor);
        self.former.close(move || drop(former));
        Ok(self.fetch(|_| true)?)
    }

    /// Starts fetching partitions from their cursors. This client must not have fetched them before.
    fn fetch(&mut self, is_new: impl Fn(i32) -> bool) -> Result<(), Unavailable> {
        let places = self.assign(is_new)?;
        let name = topic_name(&self.topic)?;
        seek(self.intake.consumer(), &name, &places, self.limits.open_deadline)?;
        self.unchecked.extend(places.iter().map(|place| place.partition));
        Ok(())
    }

    /// Assigns partitions, and returns the positions that their leaders are to check.
    fn assign(&self, is_new: impl Fn(i32) -> bool) -> Result<Vec<Place>, Fault> {
        let name = topic_name(&self.topic)?;
        let (mut list, mut places) = (TopicPartitionList::new(), Vec::new());
        for (partition, cursor) in self.cursors.iter().filter(|(partition, _)| is_new(*partition)) {
            let Cursor { next, epoch, at_beginning } = cursor;
            let offset = if at_beginning { Offset::Beginning } else { Offset::Offset(next) };
            list.add_partition_offset(&self.topic, partition, offset)?;
            self.intake.follow(&name, partition);
            // librdkafka checks positions above 0 only; below it nothing was read.
            let is_read = next > 0 && !at_beginning;
            places.extend(epoch.filter(|_| is_read).map(|epoch| Place { partition, offset: next, epoch }));
        }
        self.intake.consumer().incremental_assign(&list)?;
        Ok(places)
    }
}

/// The consequence of an error of librdkafka.
pub(crate) enum Verdict {
    /// librdkafka reconnects by itself.
    Wait,
    /// A position may be outside the log.
    Check,
    End(Unavailable),
}

pub(crate) fn verdict(fault: Fault, topic: &str) -> Verdict {
    match fault.code() {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation) => Verdict::Check,
        _ if fault.is_topic_missing() => Verdict::End(Unavailable::Missing { topic: topic.to_owned() }),
        // The group exists for librdkafka only and is never joined, so the permission to join it does not matter.
        Some(Code::GroupAuthorizationFailed) => Verdict::Wait,
        // Credentials can be corrected on the cluster, and librdkafka retries.
        Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) => Verdict::Wait,
        _ if fault.is_transient() => Verdict::Wait,
        _ => Verdict::End(Unavailable::Refused(fault)),
    }
}

/// Waits for room in the channel. While the reader is slow, nothing more is taken from librdkafka, whose own queue is
/// bounded by `queued.max.messages.kbytes`.
fn send(events: &mpsc::Sender<Result<TailEvent, Error>>, event: Result<TailEvent, Error>) -> Step {
    match events.blocking_send(event) {
        Ok(()) => Step::Continue(()),
        Err(_) => Step::Break(End),
    }
}

fn fail(events: &mpsc::Sender<Result<TailEvent, Error>>, error: Error) -> Step {
    send(events, Err(error))?;
    Step::Break(End)
}

#[cfg(test)]
mod tests;
