//! The thread of a membership: polls the client library and turns its reports into events.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::{Error, GroupEvent};
use crate::client::TracingContext;
use crate::native::Message;
use crate::tail::{Batch, Limits, POLL, Verdict, verdict};
use crate::topics::Watch;
use crate::{ClientOptions, Fault, Record, Unavailable};

pub(super) struct Member {
    consumer: BaseConsumer<Rebalancing>,
    topic: String,
    /// For each partition that is ours, the offset below which every record was handed over.
    next: BTreeMap<i32, i64>,
    batch: Batch,
    events: mpsc::Sender<Result<GroupEvent, Error>>,
    watch: Watch,
}

/// The thread ends: the handle is gone, or an error was sent.
struct End;

type Step = ControlFlow<End>;

impl Member {
    pub(super) fn join(
        options: &ClientOptions,
        group: &str,
        topic: &str,
        limits: Limits,
        events: mpsc::Sender<Result<GroupEvent, Error>>,
    ) -> Result<Self, Error> {
        let context = Rebalancing { tracing: options.context(), changes: Mutex::default() };
        let consumer: BaseConsumer<_> = options
            .consumer(group)
            // Partitions that a member keeps need not be read again when another member comes or goes.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .create_with_context(context)
            .map_err(|error| Unavailable::from(Fault::from(error)))?;
        consumer.subscribe(&[topic]).map_err(|error| Unavailable::from(Fault::from(error)))?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
            next: BTreeMap::new(),
            batch: Batch::new(limits.records_per_batch, limits.bytes_per_batch),
            events,
            watch: Watch::new(topic),
        })
    }

    pub(super) fn run(mut self) {
        while !self.events.is_closed() {
            if self.poll().is_break() || self.look().is_break() {
                return;
            }
        }
    }

    /// Waits for one message at most, then takes the rest without waiting.
    fn poll(&mut self) -> Step {
        let mut wait = POLL;
        loop {
            let polled = self.consumer.poll(wait);
            wait = Duration::ZERO;
            // Polling is what runs the rebalance callback, so a change comes before what was polled with it.
            for change in self.consumer.context().take() {
                apply(change, &mut self.next, &mut self.batch, &self.events)?;
            }
            match polled {
                None => return flush(&mut self.batch, &self.events),
                Some(Ok(message)) => {
                    let Some(next) = self.next.get_mut(&message.partition()) else {
                        continue;
                    };
                    if message.offset() < *next {
                        continue;
                    }
                    *next = message.offset() + 1;
                    self.batch.push(Record::copy(Message::of(&message)));
                    if self.batch.is_full() {
                        flush(&mut self.batch, &self.events)?;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    flush(&mut self.batch, &self.events)?;
                    if let Some(next_offset) = self.next.get(&partition).copied() {
                        send(&self.events, Ok(GroupEvent::EndReached { partition, next_offset }))?;
                    }
                }
                Some(Err(error)) => match verdict(error.into(), &self.topic) {
                    Verdict::Wait => {}
                    // The library fetches the partition no more, and records that were read may be gone from the log.
                    Verdict::Check => return self.end(Error::PositionOutsideLog),
                    Verdict::End(error) => return self.end(error.into()),
                },
            }
        }
    }

    /// From time to time: ends if the topic is not the same any more. New partitions are shared out by the group
    /// itself.
    fn look(&mut self) -> Step {
        match self.watch.look(&self.consumer) {
            Ok(_) => Step::Continue(()),
            Err(error) => {
                send(&self.events, Err(error.into()))?;
                Step::Break(End)
            }
        }
    }

    /// Hands over the records that were read, and the error after them.
    fn end(&mut self, error: Error) -> Step {
        flush(&mut self.batch, &self.events)?;
        send(&self.events, Err(error))?;
        Step::Break(End)
    }
}

fn apply(
    change: Change,
    next: &mut BTreeMap<i32, i64>,
    batch: &mut Batch,
    events: &mpsc::Sender<Result<GroupEvent, Error>>,
) -> Step {
    flush(batch, events)?;
    match change {
        Change::Assigned(partitions) => {
            next.extend(partitions.iter().map(|partition| (*partition, 0)));
            send(events, Ok(GroupEvent::Assigned(partitions)))
        }
        Change::Revoked(partitions) => {
            next.retain(|partition, _| !partitions.contains(partition));
            send(events, Ok(GroupEvent::Revoked(partitions)))
        }
    }
}

fn flush(batch: &mut Batch, events: &mpsc::Sender<Result<GroupEvent, Error>>) -> Step {
    match batch.take() {
        Some(records) => send(events, Ok(GroupEvent::Records(records))),
        None => Step::Continue(()),
    }
}

fn send(events: &mpsc::Sender<Result<GroupEvent, Error>>, event: Result<GroupEvent, Error>) -> Step {
    match events.blocking_send(event) {
        Ok(()) => Step::Continue(()),
        Err(_) => Step::Break(End),
    }
}

/// A change of the assignment, as the callback noted it.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Assigned(Vec<i32>),
    Revoked(Vec<i32>),
}

/// The callbacks of a group member: partitions are taken from their beginning, and every change is noted.
struct Rebalancing {
    tracing: TracingContext,
    changes: Mutex<Vec<Change>>,
}

impl Rebalancing {
    fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock())
    }

    fn note(&self, change: Change) {
        self.changes.lock().push(change);
    }
}

impl ClientContext for Rebalancing {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.tracing.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.tracing.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.tracing.error(error, reason);
    }
}

impl ConsumerContext for Rebalancing {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let done = assign(consumer, list, cooperative);
            if !partitions.is_empty() {
                self.note(Change::Assigned(partitions));
            }
            done
        } else {
            let done = if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() };
            if !partitions.is_empty() {
                self.note(Change::Revoked(partitions));
            }
            done
        };
        if let Err(error) = done {
            tracing::error!(error = %Fault::from(error), "a change of the group could not be followed");
        }
    }
}

fn assign(consumer: &BaseConsumer<Rebalancing>, list: &mut TopicPartitionList, cooperative: bool) -> KafkaResult<()> {
    list.set_all_offsets(Offset::Beginning)?;
    if cooperative { consumer.incremental_assign(list) } else { consumer.assign(list) }
}
