//! The producer behind the handle, and its replacement after a fatal error, when it is stuck, or for other credentials.
//!
//! An idempotent producer that loses its sequence (fenced, unknown epoch, out of order) cannot be used again in
//! librdkafka. The service must continue, so a new producer replaces it, with a new identity and an empty queue.
//! After a long pause of a broker a producer of librdkafka 2.12.1 may also never send to some partitions again, as a
//! reader may never fetch them. It is replaced when a record waits in vain while the cluster answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::Position;
use parking_lot::Mutex;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::not_enqueued;
use super::{Error, Limits, NotFlushed, Outgoing};
use crate::client::{Renewable, TracingContext};
use crate::former::Former;
use crate::{ClientOptions, Fault};

/// The time that a record waits for others in its batch. Under load batches fill by themselves, because at most five
/// requests are in flight. A single record should not wait.
const LINGER_MS: &str = "0";
/// The shortest time between two replacements: a cluster that fails every producer at once must not cause a busy loop.
const REPLACE_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long the cluster may take to say that it is well, connecting included, before a producer counts as stuck.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// The pause between two looks whether the last call has let go of a former producer.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The outcome of a record: its position, with a negative offset if the broker reported none, or the error.
pub(super) type Report = Result<Position, Fault>;

/// One producer, from its creation to its end.
pub(super) struct Generation {
    producer: ThreadedProducer<TracingContext>,
    /// The number of waiting records. librdkafka's own count also includes events, such as a lost connection.
    waiting: Arc<AtomicUsize>,
}

/// The state that accompanies a record through librdkafka.
pub(crate) struct Queued {
    report: oneshot::Sender<Report>,
    waiting: Waiting,
}

/// Counts a waiting record until it is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ProducerContext for TracingContext {
    type DeliveryOpaque = Box<Queued>;

    fn delivery(&self, result: &DeliveryResult<'_>, queued: Box<Queued>) {
        let Queued { report, waiting } = *queued;
        // Before the report: its receiver must not count the record as waiting.
        drop(waiting);
        let sent = report.send(match result {
            Ok(message) => Ok(Position { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(error.clone().into()),
        });
        // The publishing call may have been dropped. The record is stored all the same.
        drop(sent);
    }
}

impl Generation {
    fn new(options: &ClientOptions, limits: &Limits) -> Result<Self, Fault> {
        let mut config = options.producer();
        // The operator may prefer larger batches to shorter waits.
        if config.get("linger.ms").is_none() && config.get("queue.buffering.max.ms").is_none() {
            config.set("linger.ms", LINGER_MS);
        }
        config
            .set("message.timeout.ms", limits.deadline.as_millis().max(1).to_string())
            .set("queue.buffering.max.messages", limits.queue_messages.to_string())
            .set("queue.buffering.max.kbytes", limits.queue_kbytes.to_string());
        Ok(Self { producer: config.create_with_context(options.context())?, waiting: Arc::default() })
    }

    fn enqueue(&self, outgoing: &Outgoing) -> Result<oneshot::Receiver<Report>, Fault> {
        let mut headers = OwnedHeaders::new_with_capacity(outgoing.headers.len());
        for (key, value) in &outgoing.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let (report, reported) = oneshot::channel();
        let queued = Box::new(Queued { report, waiting: Waiting::new(&self.waiting) });
        let mut record = BaseRecord::with_opaque_to(&outgoing.topic, queued)
            .key(&outgoing.key)
            .timestamp(outgoing.timestamp.millis())
            .headers(headers);
        record.payload = outgoing.value.as_ref();
        record.partition = outgoing.partition;
        self.producer.send(record).map_err(|(error, _)| Fault::from(error))?;
        Ok(reported)
    }

    /// Returns the error that ended this producer, if any.
    pub(super) fn fatal(&self) -> Option<Fault> {
        self.producer.client().fatal_error().map(|(code, _)| Fault::from(code))
    }

    fn in_queue(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn flush(&self, deadline: Duration) -> Result<(), NotFlushed> {
        if let Err(error) = self.producer.flush(deadline)
            && error != KafkaError::Flush(Code::OperationTimedOut)
        {
            tracing::warn!(error = %Fault::from(error), "flushing failed");
        }
        match self.in_queue() {
            0 => Ok(()),
            waiting => Err(NotFlushed { waiting }),
        }
    }

    /// Purges the queue, so that the callers that wait for its records get an error at once.
    fn give_up(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}

/// The current producer.
pub(super) struct Slot {
    options: ClientOptions,
    limits: Limits,
    state: Mutex<State>,
    /// Held while one call asks whether the producer is stuck.
    minding: Mutex<()>,
}

struct State {
    /// `None` when closed.
    current: Option<Arc<Generation>>,
    replaced_at: Option<Instant>,
    former: Former,
}

impl Slot {
    pub(super) fn new(options: ClientOptions, limits: Limits) -> Result<Self, Fault> {
        let first = Generation::new(&options, &limits)?;
        let state = State { current: Some(Arc::new(first)), replaced_at: None, former: Former::default() };
        Ok(Self { options, limits, state: Mutex::new(state), minding: Mutex::default() })
    }

    /// Queues a record with the current producer, or with its successor if the current one has failed.
    pub(super) fn enqueue(&self, outgoing: &Outgoing) -> Result<(Arc<Generation>, oneshot::Receiver<Report>), Error> {
        let generation = self.current()?;
        let fault = match generation.enqueue(outgoing) {
            Ok(reported) => return Ok((generation, reported)),
            Err(fault) => fault,
        };
        let Some(fatal) = generation.fatal() else {
            return Err(not_enqueued(&outgoing.topic, fault));
        };
        self.replace(&generation, &fatal);
        let successor = self.current()?;
        if Arc::ptr_eq(&successor, &generation) {
            return Err(Error::Fatal { source: fatal });
        }
        // The failed producer did not accept the record, so the successor cannot store it twice.
        match successor.enqueue(outgoing) {
            Ok(reported) => Ok((successor, reported)),
            Err(fault) => Err(not_enqueued(&outgoing.topic, fault)),
        }
    }

    /// Replaces a failed producer, unless another call did so already or the last replacement was too recent.
    pub(super) fn replace(&self, dead: &Arc<Generation>, fatal: &Fault) {
        if self.succeed(dead) {
            tracing::warn!(error = %fatal, "the producer failed and is replaced");
            dead.give_up();
        }
    }

    /// Replaces a producer that has not delivered a record to this topic in time though the cluster is well. One call
    /// at a time asks. The records of others that wait on the former producer may still arrive.
    pub(super) fn mind_stall(&self, stuck: &Arc<Generation>, topic: &str) {
        let Some(_minding) = self.minding.try_lock() else { return };
        let is_current = || self.current().is_ok_and(|current| Arc::ptr_eq(&current, stuck));
        if is_current() && self.cluster_is_well(topic) && self.succeed(stuck) {
            tracing::warn!(topic, "the producer does not deliver though the cluster answers, and is replaced");
        }
    }

    /// Returns whether the cluster answers, and all partitions of the topic have a leader. A client of its own asks:
    /// one that is stuck may get no answer to anything.
    fn cluster_is_well(&self, topic: &str) -> bool {
        let Ok(inquirer) = self.options.inquirer() else { return false };
        let answer = inquirer.fetch_metadata(Some(topic), ANSWER_MAX);
        self.state.lock().former.close(move || drop(inquirer));
        answer.is_ok_and(|metadata| {
            metadata.topics().iter().all(|topic| {
                let has_leader = |partition: &MetadataPartition| partition.error().is_none() && partition.leader() >= 0;
                topic.error().is_none() && topic.partitions().iter().all(has_leader)
            })
        })
    }

    /// Puts a new producer in the place of this one. Returns false if it is not the current one, if the last
    /// replacement was too recent, or if there is no new one.
    fn succeed(&self, former: &Arc<Generation>) -> bool {
        let mut state = self.state.lock();
        let is_current = state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, former));
        let too_soon = state.replaced_at.is_some_and(|at| at.elapsed() < REPLACE_INTERVAL_MIN);
        if !is_current || too_soon {
            return false;
        }
        let succeeded = self.put_new(&mut state);
        if let Err(error) = &succeeded {
            tracing::error!(%error, "no new producer could be created");
        }
        succeeded.is_ok()
    }

    /// Puts a new producer in the place of the current one, which is closed when its records have ended.
    fn put_new(&self, state: &mut State) -> Result<(), Fault> {
        let Some(former) = state.current.clone() else { return Ok(()) };
        state.current = Some(Arc::new(Generation::new(&self.options, &self.limits)?));
        state.replaced_at = Some(Instant::now());
        state.former.close(move || {
            // Each call that waits on it ends by its deadline, and so does each record of a dropped call.
            while Arc::strong_count(&former) > 1 || former.in_queue() > 0 {
                std::thread::sleep(LOOK_INTERVAL);
            }
        });
        Ok(())
    }

    pub(super) fn flush(&self, deadline: Duration) -> Result<(), NotFlushed> {
        let Ok(generation) = self.current() else {
            return Ok(());
        };
        generation.flush(deadline)
    }

    pub(super) fn close(&self, deadline: Duration) -> Result<(), NotFlushed> {
        let Some(last) = self.state.lock().current.take() else {
            return Ok(());
        };
        let flushed = last.flush(deadline);
        last.give_up();
        let mut former = std::mem::take(&mut self.state.lock().former);
        // This one may be stuck too.
        former.close(move || drop(last));
        drop(former);
        flushed
    }

    pub(super) fn in_queue(&self) -> usize {
        self.current().map_or(0, |generation| generation.in_queue())
    }

    fn current(&self) -> Result<Arc<Generation>, Error> {
        self.state.lock().current.clone().ok_or(Error::Closed)
    }
}

impl Renewable for Slot {
    /// Records that were sent wait on for their acknowledgement by the former producer, whose connections stay.
    fn renew(&self) -> Result<(), Fault> {
        self.put_new(&mut self.state.lock())
    }
}

#[cfg(test)]
mod tests;
