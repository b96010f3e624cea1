//! Functions of librdkafka that rdkafka does not wrap, called directly. This is the only module of the workspace with
//! `unsafe`.
//!
//! It covers seven things: records in batches (one call for a thousand records instead of one call each), the offset at
//! which the end of a partition was seen, the id of a topic, what a client may do with one or with a group, leader
//! epochs (of a record, and of a position to read from), the token of a client that is not polled, and what a client
//! tells of its connections.
#![expect(unsafe_code, reason = "the C interface of librdkafka is called here, and nowhere else")]

mod group;
mod message;
mod observer;
mod queue;
mod seek;
mod token;
mod topic_id;

use std::ffi::{CStr, CString, c_int};
use std::ops::ControlFlow;
use std::ptr::{self, NonNull};
use std::time::Duration;

use domain::Position;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::Fault;
use crate::client::TracingContext;
use crate::tail::cut_at;

pub(crate) use group::may_read_group;
pub(crate) use message::Message;
pub(crate) use observer::{Observed, Observer};
use queue::Queue;
pub(crate) use seek::{Place, seek};
pub(crate) use token::authorize;
pub use topic_id::Permissions;
pub(crate) use topic_id::{permissions, topic_id};

/// The most records taken from librdkafka in one call.
const TAKEN_AT_ONCE: usize = 1_000;

/// A consumer whose partitions deliver their records in batches.
pub(crate) struct Intake {
    /// Receives the records of every assigned partition. Must be freed before the consumer that it belongs to.
    queue: Queue,
    /// Receives the messages of one call of librdkafka. Empty between calls.
    taken: Vec<*mut c::rd_kafka_message_t>,
    consumer: BaseConsumer<TracingContext>,
}

// SAFETY: librdkafka's handles may be used from any thread, and `taken` holds no pointer between calls of `take`.
unsafe impl Send for Intake {}

/// One item taken from the queue.
pub(crate) enum Taken<'a> {
    Record(Message<'a>),
    /// The partition has no record at `offset` or above at this moment.
    End {
        partition: i32,
        offset: i64,
    },
    /// The log was truncated at `end`, below the offsets already fetched. Fetching of the partition stops.
    Cut {
        partition: i32,
        end: i64,
    },
    Fault(Fault),
}

impl Intake {
    pub(crate) fn new(consumer: BaseConsumer<TracingContext>) -> Self {
        // SAFETY: the client is alive, and the call returns a new queue that is ours.
        let queue = unsafe { c::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self { queue: Queue::owned(queue), taken: vec![ptr::null_mut(); TAKEN_AT_ONCE], consumer }
    }

    pub(crate) fn consumer(&self) -> &BaseConsumer<TracingContext> {
        &self.consumer
    }

    /// Forwards the records of a partition to the queue. Must be called before the partition is assigned, and only
    /// once. When librdkafka stops fetching a partition it removes the forwarding at an unspecified time
    /// (`rd_kafka_toppar_fetch_stop`), so a partition that is assigned again delivers nothing.
    pub(crate) fn follow(&self, topic: &CStr, partition: i32) {
        // SAFETY: the client is alive, and `topic` is a C string. The returned queue is a reference that is ours to
        // free.
        let source =
            unsafe { c::rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), topic.as_ptr(), partition) };
        let source = Queue::owned(source);
        // SAFETY: both queues are alive; the library keeps its own reference to the destination.
        unsafe { c::rd_kafka_queue_forward(source.0.as_ptr(), self.queue.0.as_ptr()) };
    }

    /// Waits at most `wait` for an item, and passes all items to `each`, in the order of each partition.
    ///
    /// If `each` breaks, the remaining taken items are lost.
    pub(crate) fn take<B>(
        &mut self,
        wait: Duration,
        mut each: impl FnMut(Taken<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // Events without a partition (log lines, connection errors) arrive on the consumer's own queue.
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            if let Err(error) = polled {
                each(Taken::Fault(error.into()))?;
            }
        }
        // librdkafka waits until it has as many items as requested. So only the first one is waited for.
        if self.take_some(wait, 1, &mut each)? > 0 {
            self.take_some(Duration::ZERO, TAKEN_AT_ONCE, &mut each)?;
        }
        ControlFlow::Continue(())
    }

    /// Returns the number of items taken.
    fn take_some<B>(
        &mut self,
        wait: Duration,
        count_max: usize,
        each: &mut impl FnMut(Taken<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B, usize> {
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: `taken` has room for `TAKEN_AT_ONCE` pointers, and `count_max` is not more.
        let count = unsafe {
            c::rd_kafka_consume_batch_queue(
                self.queue.0.as_ptr(),
                wait_ms,
                self.taken.as_mut_ptr(),
                count_max.min(TAKEN_AT_ONCE),
            )
        };
        // -1 means an error of the call itself, which cannot occur for a queue that this module created.
        let count = usize::try_from(count).unwrap_or(0);
        let handed_over = HandedOver(&self.taken[..count]);
        for message in handed_over.0 {
            let message = NonNull::new(*message).expect("librdkafka has filled the slots that it counts");
            // SAFETY: the message lives until `handed_over` frees it, which is after this use.
            each(classify(unsafe { Message::at(message) }))?;
        }
        ControlFlow::Continue(count)
    }
}

/// Messages to free, also when the callback breaks or panics.
struct HandedOver<'a>(&'a [*mut c::rd_kafka_message_t]);

impl Drop for HandedOver<'_> {
    fn drop(&mut self) {
        for message in self.0 {
            // SAFETY: each message was handed over by the library to be freed once, and nothing borrows it any more.
            unsafe { c::rd_kafka_message_destroy(*message) };
        }
    }
}

fn classify(message: Message<'_>) -> Taken<'_> {
    let Position { partition, offset } = message.position();
    match message.code() {
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Taken::Record(message),
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => Taken::End { partition, offset },
        code => match message.error_text().and_then(|text| cut_at(&text.to_string_lossy())) {
            Some(end) => Taken::Cut { partition, end },
            None => Taken::Fault(Code::from(code).into()),
        },
    }
}

/// Returns a topic's name for the C interface.
///
/// # Errors
/// If the name contains a zero byte, which no valid topic name does.
pub(crate) fn topic_name(topic: &str) -> Result<CString, Fault> {
    CString::new(topic).map_err(|_| Code::InvalidTopic.into())
}
