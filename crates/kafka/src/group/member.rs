//! The thread of a membership: polls librdkafka, which runs the rebalance callbacks.

use std::ops::ControlFlow;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use super::{Error, GroupEvent};
use crate::client::TracingContext;
use crate::former::Former;
use crate::{ClientOptions, Fault, Unavailable};

/// The longest time of one poll. It bounds how long a membership outlives its handle, not the delay of a change.
const POLL: Duration = Duration::from_millis(100);

pub(super) struct Member {
    options: ClientOptions,
    group: String,
    topic: String,
    consumer: BaseConsumer<Rebalancing>,
    /// The revision of the credentials that the client was made with.
    revision: u64,
    former: Former,
    events: mpsc::Sender<Result<GroupEvent, Error>>,
}

impl Member {
    pub(super) fn join(
        options: &ClientOptions,
        group: &str,
        topic: &str,
        events: mpsc::Sender<Result<GroupEvent, Error>>,
    ) -> Result<Self, Fault> {
        let (revision, former) = (options.credentials.revision(), Former::default());
        let consumer = subscribed(options, group, topic)?;
        let (options, group, topic) = (options.clone(), group.to_owned(), topic.to_owned());
        Ok(Self { options, group, topic, consumer, revision, former, events })
    }

    pub(super) fn run(mut self) {
        while !self.events.is_closed() {
            if self.revision != self.options.credentials.revision() && self.renew().is_break() {
                return;
            }
            let polled = self.consumer.poll(POLL);
            let failed = match polled {
                // A record fetched before its partition was paused is ignored.
                None | Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => None,
                Some(Err(error)) => Some(Fault::from(error)).filter(|fault| !fault.is_transient()),
            };
            let changes = self.consumer.context().take().into_iter().map(Ok);
            for event in changes.chain(failed.clone().map(|fault| Err(Unavailable::from(fault).into()))) {
                if self.events.blocking_send(event).is_err() {
                    return;
                }
            }
            if failed.is_some() {
                return;
            }
        }
    }

    /// Joins with the credentials of this moment. The former client leaves the group, so its partitions are revoked.
    fn renew(&mut self) -> ControlFlow<()> {
        self.revision = self.options.credentials.revision();
        let successor = match subscribed(&self.options, &self.group, &self.topic) {
            Ok(successor) => successor,
            Err(fault) => {
                self.send(Err(Unavailable::from(fault).into()))?;
                return ControlFlow::Break(());
            }
        };
        let former = std::mem::replace(&mut self.consumer, successor);
        let assigned = former.assignment().unwrap_or_default();
        let partitions: Vec<i32> = assigned.elements().iter().map(|element| element.partition()).collect();
        self.former.close(move || drop(former));
        if partitions.is_empty() {
            return ControlFlow::Continue(());
        }
        self.send(Ok(GroupEvent::Revoked(partitions)))
    }

    fn send(&self, event: Result<GroupEvent, Error>) -> ControlFlow<()> {
        match self.events.blocking_send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

fn subscribed(options: &ClientOptions, group: &str, topic: &str) -> Result<BaseConsumer<Rebalancing>, Fault> {
    let context = Rebalancing { tracing: options.context(), changes: Mutex::default() };
    let consumer: BaseConsumer<_> = options
        .consumer(group)
        // A member keeps its partitions when another member joins or leaves.
        .set("partition.assignment.strategy", "cooperative-sticky")
        .create_with_context(context)?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

/// The callbacks of a group member: accept and pause partitions at once, and report every change.
struct Rebalancing {
    tracing: TracingContext,
    changes: Mutex<Vec<GroupEvent>>,
}

impl Rebalancing {
    fn take(&self) -> Vec<GroupEvent> {
        std::mem::take(&mut *self.changes.lock())
    }

    fn note(&self, change: GroupEvent) {
        self.changes.lock().push(change);
    }
}

impl ClientContext for Rebalancing {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = TracingContext::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.tracing.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.tracing.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.tracing.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.tracing.generate_oauth_token(config)
    }
}

impl ConsumerContext for Rebalancing {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let done = assign(consumer, list, cooperative);
            if !partitions.is_empty() {
                self.note(GroupEvent::Assigned(partitions));
            }
            done
        } else {
            let done = if cooperative { consumer.incremental_unassign(list) } else { consumer.unassign() };
            if !partitions.is_empty() {
                self.note(GroupEvent::Revoked(partitions));
            }
            done
        };
        if let Err(error) = done {
            tracing::error!(error = %Fault::from(error), "the partitions of a rebalance could not be assigned");
        }
    }
}

fn assign(consumer: &BaseConsumer<Rebalancing>, list: &mut TopicPartitionList, cooperative: bool) -> KafkaResult<()> {
    // A starting offset is required. At the end, the least is fetched before the partition is paused.
    list.set_all_offsets(Offset::End)?;
    if cooperative {
        consumer.incremental_assign(list)?
    } else {
        consumer.assign(list)?
    }
    consumer.pause(list)
}
