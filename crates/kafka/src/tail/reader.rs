//! The thread of a tail: polls librdkafka and turns its reports into events.

use std::ops::ControlFlow;
use std::time::Duration;

use domain::Checkpoint;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::cursors::Cursors;
use super::{Batch, Error, Limits, TailEvent};
use crate::native::{Intake, Taken, topic_name};
use crate::topics::{self, Watch};
use crate::{ClientOptions, Fault, Record, Unavailable};

/// The pause between checks of the cursors while the cluster does not answer.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The longest single wait for records. It bounds how long a tail outlives its handle, not the delay of a record.
const POLL: Duration = Duration::from_millis(100);

pub(super) struct TailReader {
    options: ClientOptions,
    intake: Intake,
    topic: String,
    limits: Limits,
    cursors: Cursors,
    batch: Batch,
    events: mpsc::Sender<Result<TailEvent, Error>>,
    watch: Watch,
    /// The time of the next check, set while a cursor may be outside the log.
    check_at: Option<Instant>,
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
        let consumer = options.reader().map_err(Unavailable::from)?;
        let log = topics::watermarks_of(&consumer, &topic, limits.open_deadline)?;
        let mut watch = Watch::new(&topic);
        watch.look(&consumer)?;
        let reader = Self {
            options: options.clone(),
            intake: Intake::new(consumer),
            topic,
            cursors: Cursors::place(&log, from)?,
            limits,
            batch: Batch::new(limits.records_per_batch, limits.bytes_per_batch),
            events,
            watch,
            check_at: None,
        };
        reader.fetch(|_| true).map_err(Unavailable::from)?;
        Ok(reader)
    }

    pub(super) fn run(mut self) {
        while !self.events.is_closed() {
            if self.poll().is_break() || self.check().is_break() || self.look().is_break() {
                return;
            }
        }
    }

    /// Waits for the first item, then takes all items without waiting.
    fn poll(&mut self) -> Step {
        let Self { intake, topic, cursors, batch, events, check_at, .. } = self;
        intake.take(POLL, |taken| {
            match taken {
                Taken::Record(message) => {
                    if cursors.pass(message.position()) {
                        batch.push(Record::copy(message));
                    }
                    if batch.is_full() {
                        flush(batch, events)?;
                    }
                }
                Taken::End { partition, offset } => {
                    flush(batch, events)?;
                    if let Some(next_offset) = cursors.reach(partition, offset) {
                        send(events, Ok(TailEvent::EndReached { partition, next_offset }))?;
                    }
                }
                Taken::Cut { partition, end } => match cursors.cut(partition, end) {
                    Some(error) => {
                        flush(batch, events)?;
                        return fail(events, error);
                    }
                    None => *check_at = Some(Instant::now()),
                },
                Taken::Fault(fault) => match verdict(fault, topic) {
                    Verdict::Wait => {}
                    Verdict::Check => *check_at = Some(Instant::now()),
                    Verdict::End(error) => {
                        flush(batch, events)?;
                        return fail(events, error.into());
                    }
                },
            }
            Step::Continue(())
        })?;
        flush(&mut self.batch, &self.events)
    }

    /// Handles librdkafka's report that a position is not in the log: checks it, and continues if the report is wrong.
    fn check(&mut self) -> Step {
        if self.check_at.is_none_or(|at| Instant::now() < at) {
            return Step::Continue(());
        }
        let verified = topics::watermarks_of(self.intake.consumer(), &self.topic, self.limits.open_deadline)
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
        let partitions = match self.watch.look(self.intake.consumer()) {
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

    /// Fetches all partitions from their cursors with a new client. Needed after an answer of a lagging replica, or
    /// after a truncation that affected no record read: the old client has stopped fetching that partition, and would
    /// deliver nothing of it even if it were assigned again.
    fn reconnect(&mut self) -> Result<(), Error> {
        self.intake = Intake::new(self.options.reader().map_err(Unavailable::from)?);
        Ok(self.fetch(|_| true).map_err(Unavailable::from)?)
    }

    /// Starts fetching partitions from their cursors. This client must not have fetched them before.
    fn fetch(&self, is_new: impl Fn(i32) -> bool) -> Result<(), Fault> {
        let name = topic_name(&self.topic)?;
        let mut list = TopicPartitionList::new();
        for (partition, cursor) in self.cursors.iter().filter(|(partition, _)| is_new(*partition)) {
            let offset = if cursor.at_beginning { Offset::Beginning } else { Offset::Offset(cursor.next) };
            list.add_partition_offset(&self.topic, partition, offset)?;
            self.intake.follow(&name, partition);
        }
        Ok(self.intake.consumer().incremental_assign(&list)?)
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
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            Verdict::End(Unavailable::Missing { topic: topic.to_owned() })
        }
        // The group exists for librdkafka only and is never joined, so the permission to join it does not matter.
        Some(Code::GroupAuthorizationFailed) => Verdict::Wait,
        // Credentials can be corrected on the cluster, and librdkafka retries.
        Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) => Verdict::Wait,
        _ if fault.is_transient() => Verdict::Wait,
        _ => Verdict::End(Unavailable::Refused(fault)),
    }
}

fn flush(batch: &mut Batch, events: &mpsc::Sender<Result<TailEvent, Error>>) -> Step {
    match batch.take() {
        Some(records) => send(events, Ok(TailEvent::Records(records))),
        None => Step::Continue(()),
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
