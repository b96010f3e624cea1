//! The thread of a tail: polls the client library and turns what it says into events.

use std::ops::ControlFlow;

use domain::Checkpoint;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::cursors::Cursors;
use super::{Batch, Error, Event, Extent, Limits, POLL};
use crate::client::UNJOINED_GROUP;
use crate::native::{Intake, Taken, topic_name};
use crate::{ClientOptions, Fault, Record, topics};

/// How many polls lie between two looks for new partitions: about a minute when nothing happens, which is as often as
/// the client library asks for metadata.
const POLLS_BETWEEN_LOOKS: u32 = 600;
/// How many polls lie between two attempts to tell whether the log holds the cursors, while the cluster does not answer.
const POLLS_BETWEEN_CHECKS: u32 = 10;

pub(super) struct Reader {
    intake: Intake,
    topic: String,
    extent: Extent,
    limits: Limits,
    cursors: Cursors,
    batch: Batch,
    events: mpsc::Sender<Result<Event, Error>>,
    /// Set while a cursor may be outside the log: after how many polls to ask.
    check_in: Option<u32>,
}

/// What ends the thread: the handle is gone, or an error was sent.
struct End;

type Step = ControlFlow<End>;

impl Reader {
    /// Connects, verifies that the log holds the checkpoint, and begins to fetch.
    pub(super) fn open(
        options: &ClientOptions,
        topic: String,
        extent: Extent,
        from: &Checkpoint,
        limits: Limits,
        events: mpsc::Sender<Result<Event, Error>>,
    ) -> Result<Self, Error> {
        let consumer: BaseConsumer<_> = options
            .consumer(UNJOINED_GROUP)
            .create_with_context(options.context())
            .map_err(|error| Error::from_fault(error.into()))?;
        let log = topics::watermarks_of(&consumer, &topic, limits.open_deadline)?;
        let reader = Self {
            intake: Intake::new(consumer),
            topic,
            cursors: Cursors::place(&extent, &log, from)?,
            extent,
            limits,
            batch: Batch::new(limits.records_per_batch, limits.bytes_per_batch),
            events,
            check_in: None,
        };
        reader.assign().map_err(Error::from_fault)?;
        Ok(reader)
    }

    pub(super) fn run(mut self) {
        let mut polls = 0_u32;
        while !self.events.is_closed() {
            if self.poll().is_break() || self.check().is_break() {
                return;
            }
            polls += 1;
            if polls >= POLLS_BETWEEN_LOOKS {
                polls = 0;
                if self.look_for_partitions().is_break() {
                    return;
                }
            }
        }
    }

    /// Waits until there is something at all, then takes what is there without waiting for more.
    fn poll(&mut self) -> Step {
        let Self { intake, topic, cursors, batch, events, check_in, .. } = self;
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
                        send(events, Ok(Event::EndReached { partition, next_offset }))?;
                    }
                }
                Taken::Fault(fault) => match verdict(fault, topic) {
                    Verdict::Wait => {}
                    Verdict::Check => *check_in = Some(0),
                    Verdict::End(error) => {
                        flush(batch, events)?;
                        return fail(events, error);
                    }
                },
            }
            Step::Continue(())
        })?;
        flush(&mut self.batch, &self.events)
    }

    /// After the library has said that a position is not in the log: tells whether that is so, and goes on if it is not.
    fn check(&mut self) -> Step {
        match self.check_in {
            None => return Step::Continue(()),
            Some(0) => {}
            Some(polls) => {
                self.check_in = Some(polls - 1);
                return Step::Continue(());
            }
        }
        let verified = topics::watermarks_of(self.intake.consumer(), &self.topic, self.limits.open_deadline)
            .map_err(Error::from)
            .and_then(|log| self.cursors.verify(&log))
            // A replica that lagged behind had answered. All partitions start again where they were.
            .and_then(|()| self.assign().map_err(Error::from_fault));
        match verified {
            Ok(()) => self.check_in = None,
            Err(error) if error.is_transient() => self.check_in = Some(POLLS_BETWEEN_CHECKS),
            Err(error) => return fail(&self.events, error),
        }
        Step::Continue(())
    }

    fn look_for_partitions(&mut self) -> Step {
        if self.extent != Extent::Whole || self.check_in.is_some() {
            return Step::Continue(());
        }
        // An outage is not this function's affair: it looks again later.
        let Ok(shape) = topics::shape_of(self.intake.consumer(), &self.topic, POLL) else {
            return Step::Continue(());
        };
        let added = self.cursors.add(0..shape.partitions);
        if added.is_empty() {
            return Step::Continue(());
        }
        if self.assign().is_err() {
            self.check_in = Some(POLLS_BETWEEN_CHECKS);
        }
        send(&self.events, Ok(Event::PartitionsAdded(added)))
    }

    /// Makes the library fetch every partition from its cursor.
    fn assign(&self) -> Result<(), Fault> {
        let name = topic_name(&self.topic)?;
        let mut list = TopicPartitionList::new();
        for (partition, cursor) in self.cursors.iter() {
            let offset = if cursor.at_beginning { Offset::Beginning } else { Offset::Offset(cursor.next) };
            list.add_partition_offset(&self.topic, partition, offset)?;
            self.intake.follow(&name, partition);
        }
        Ok(self.intake.consumer().assign(&list)?)
    }
}

/// What to do about an error of the library.
pub(crate) enum Verdict {
    /// It reconnects by itself.
    Wait,
    /// A position may be outside the log.
    Check,
    End(Error),
}

pub(crate) fn verdict(fault: Fault, topic: &str) -> Verdict {
    match fault.code() {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation) => Verdict::Check,
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            Verdict::End(Error::TopicMissing { topic: topic.to_owned() })
        }
        // The group is named for the library's sake and never joined: whether we might does not matter.
        Some(Code::GroupAuthorizationFailed) => Verdict::Wait,
        // Credentials can be put right on the cluster's side, and the library tries again.
        Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) => Verdict::Wait,
        _ if fault.is_transient() => Verdict::Wait,
        _ => Verdict::End(Error::Refused(fault)),
    }
}

fn flush(batch: &mut Batch, events: &mpsc::Sender<Result<Event, Error>>) -> Step {
    match batch.take() {
        Some(records) => send(events, Ok(Event::Records(records))),
        None => Step::Continue(()),
    }
}

/// Waits for room in the channel: while the reader is slow, nothing more is taken from the library, whose own queue is
/// bounded by `queued.max.messages.kbytes`.
fn send(events: &mpsc::Sender<Result<Event, Error>>, event: Result<Event, Error>) -> Step {
    match events.blocking_send(event) {
        Ok(()) => Step::Continue(()),
        Err(_) => Step::Break(End),
    }
}

fn fail(events: &mpsc::Sender<Result<Event, Error>>, error: Error) -> Step {
    send(events, Err(error))?;
    Step::Break(End)
}
