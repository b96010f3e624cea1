//! What the safe wrapper of librdkafka does not offer, called directly: the only file with `unsafe` in the workspace.
//!
//! Three things: records taken in batches (one call for a thousand records instead of one each), the offset at which the
//! end of a partition was seen, and the id of a topic.
#![expect(unsafe_code, reason = "the C interface of librdkafka is called here, and nowhere else")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ops::ControlFlow;
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use domain::{Position, UnixMillis};
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaAdminOptions;

use crate::Fault;
use crate::client::TracingContext;
use crate::tail::cut_at;

/// How many records are taken from the library in one call at most.
const TAKEN_AT_ONCE: usize = 1_000;

/// A consumer whose partitions hand their records over in batches.
pub(crate) struct Intake {
    /// Receives what is fetched for every partition that is followed. Freed before the consumer that it belongs to.
    queue: Queue,
    /// Where one call of the library puts what it hands over. Holds nothing between calls.
    taken: Vec<*mut c::rd_kafka_message_t>,
    consumer: BaseConsumer<TracingContext>,
}

// SAFETY: librdkafka's handles may be used from any thread, and `taken` holds no pointer between calls of `take`.
unsafe impl Send for Intake {}

/// One thing that was taken.
pub(crate) enum Taken<'a> {
    Record(Message<'a>),
    /// There is no record of the partition at `offset` or above at this moment.
    End {
        partition: i32,
        offset: i64,
    },
    /// The log was cut at `end`, below what was fetched of the partition; nothing more of it is fetched.
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

    /// Leads what is fetched for a partition here. Must come before the partition is assigned, and can be done once: when the
    /// library stops fetching a partition it undoes this at a moment of its own choice (`rd_kafka_toppar_fetch_stop`), so that
    /// nothing comes of a partition that is assigned again.
    pub(crate) fn follow(&self, topic: &CStr, partition: i32) {
        // SAFETY: the client is alive, and `topic` is a C string. The returned queue is a reference that is ours to free.
        let source =
            unsafe { c::rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), topic.as_ptr(), partition) };
        let source = Queue::owned(source);
        // SAFETY: both queues are alive; the library keeps its own reference to the destination.
        unsafe { c::rd_kafka_queue_forward(source.0.as_ptr(), self.queue.0.as_ptr()) };
    }

    /// Waits for something to take, at most so long, and hands over what is there, in the order of each partition.
    ///
    /// If `each` breaks, what else was taken is lost to this intake.
    pub(crate) fn take<B>(
        &mut self,
        wait: Duration,
        mut each: impl FnMut(Taken<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // What concerns no partition (log lines, errors of connections) comes by the consumer's own queue.
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            if let Err(error) = polled {
                each(Taken::Fault(error.into()))?;
            }
        }
        // The library waits until it has as many as it was asked for: the first one is waited for, the others are not.
        if self.take_some(wait, 1, &mut each)? > 0 {
            self.take_some(Duration::ZERO, TAKEN_AT_ONCE, &mut each)?;
        }
        ControlFlow::Continue(())
    }

    /// Returns how many were taken.
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
        // -1 stands for an error of the call itself, which for a queue of ours there is not.
        let count = usize::try_from(count).unwrap_or(0);
        let batch = Batch(&self.taken[..count]);
        for message in batch.0 {
            // SAFETY: the library has filled `count` slots with messages, which live until the batch frees them.
            each(classify(unsafe { &**message }))?;
        }
        ControlFlow::Continue(count)
    }
}

/// Messages to be freed, also when the one who looks at them stops early or panics.
struct Batch<'a>(&'a [*mut c::rd_kafka_message_t]);

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in self.0 {
            // SAFETY: each message was handed over by the library to be freed once, and nothing borrows it any more.
            unsafe { c::rd_kafka_message_destroy(*message) };
        }
    }
}

fn classify(message: &c::rd_kafka_message_t) -> Taken<'_> {
    match message.err {
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Taken::Record(Message(message)),
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
            Taken::End { partition: message.partition, offset: message.offset }
        }
        code => {
            // SAFETY: the message is alive, and so is the text that it names, a C string or null.
            let text = unsafe { c::rd_kafka_message_errstr(message).as_ref().map(|text| CStr::from_ptr(text)) };
            match text.and_then(|text| cut_at(&text.to_string_lossy())) {
                Some(end) => Taken::Cut { partition: message.partition, end },
                None => Taken::Fault(Code::from(code).into()),
            }
        }
    }
}

/// A record in the library's memory.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a>(&'a c::rd_kafka_message_t);

impl<'a> Message<'a> {
    /// Looks at a message of the safe wrapper.
    pub(crate) fn of(message: &'a BorrowedMessage<'a>) -> Self {
        // SAFETY: the wrapper keeps the message alive for as long as it is borrowed.
        Self(unsafe { &*message.ptr() })
    }

    pub(crate) fn position(self) -> Position {
        Position { partition: self.0.partition, offset: self.0.offset }
    }

    /// Returns the record's timestamp; a record without one (message format 0) counts as written at the epoch.
    pub(crate) fn timestamp(self) -> UnixMillis {
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive and `kind` is a place for the answer.
        let millis = unsafe { c::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        UnixMillis::from_millis(millis.max(0))
    }

    pub(crate) fn key(self) -> Option<&'a [u8]> {
        // SAFETY: the message names the place and length of its key, which live as long as it does.
        unsafe { bytes(self.0.key, self.0.key_len) }
    }

    pub(crate) fn value(self) -> Option<&'a [u8]> {
        // SAFETY: the message names the place and length of its value, which live as long as it does.
        unsafe { bytes(self.0.payload, self.0.len) }
    }

    /// Returns the value of the last header of that name: a later one overrides an earlier one.
    pub(crate) fn header(self, name: &str) -> Option<&'a [u8]> {
        let mut found = None;
        self.for_each_header(|header, value| {
            if header == name {
                found = Some(value);
            }
        });
        found
    }

    /// Calls `each` for every header in its order; a name that is not UTF-8 has its other bytes replaced.
    pub(crate) fn for_each_header(self, mut each: impl FnMut(&str, &'a [u8])) {
        let Some(headers) = self.native_headers() else {
            return;
        };
        for index in 0.. {
            let (mut name, mut value, mut size) = (ptr::null::<c_char>(), ptr::null::<c_void>(), 0);
            // SAFETY: the headers are alive, and the other three are places for the answer.
            let code =
                unsafe { c::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size) };
            if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            // SAFETY: the library returns a C string that lives as long as the message.
            let name = unsafe { CStr::from_ptr(name) };
            // SAFETY: the library names the place and length of the value, which live as long as the message.
            let value = unsafe { bytes(value, size) }.unwrap_or_default();
            each(&name.to_string_lossy(), value);
        }
    }

    fn native_headers(self) -> Option<*const c::rd_kafka_headers_t> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive, and `headers` is a place for the answer, which belongs to the message.
        let code = unsafe { c::rd_kafka_message_headers(self.0, &raw mut headers) };
        (code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then_some(headers.cast_const())
    }
}

/// Returns the bytes at a place that the library names; null stands for none.
///
/// # Safety
///
/// `start`, if not null, must be the beginning of `size` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, size: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: the caller says so.
    Some(unsafe { slice::from_raw_parts(start.cast::<u8>(), size) })
}

/// Returns Kafka's id of a topic, or `None` where the broker gives topics none.
pub(crate) fn topic_id<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &CStr,
    deadline: Duration,
) -> Result<Option<String>, Fault> {
    let client = consumer.client().native_ptr();
    let deadline_ms = c_int::try_from(deadline.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the client is alive, and the call returns a new queue that is ours.
    let queue = Queue::owned(unsafe { c::rd_kafka_queue_new(client) });
    let options = AdminOptions::new(client, deadline_ms);
    let names = Names::new(topic);
    // SAFETY: all four are alive; the library copies what it needs before the call returns.
    unsafe { c::rd_kafka_DescribeTopics(client, names.0.as_ptr(), options.0.as_ptr(), queue.0.as_ptr()) };
    // The library answers at the request's own deadline at the latest; the wait is longer so as not to miss it.
    // SAFETY: the queue is alive, and a returned event is ours to free.
    let event = unsafe { c::rd_kafka_queue_poll(queue.0.as_ptr(), deadline_ms.saturating_mul(2)) };
    let Some(event) = NonNull::new(event).map(Event) else {
        return Err(Code::OperationTimedOut.into());
    };
    event.topic_id()
}

struct Event(NonNull<c::rd_kafka_event_t>);

impl Event {
    fn topic_id(&self) -> Result<Option<String>, Fault> {
        // SAFETY: the event is alive.
        let code = unsafe { c::rd_kafka_event_error(self.0.as_ptr()) };
        if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(Code::from(code).into());
        }
        // SAFETY: the event is alive; the result is null if it is the answer to something else.
        let result = unsafe { c::rd_kafka_event_DescribeTopics_result(self.0.as_ptr()) };
        if result.is_null() {
            return Err(Code::Fail.into());
        }
        let mut count = 0;
        // SAFETY: the result belongs to the event, which is alive; `count` is a place for the answer.
        let topics = unsafe { c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count) };
        if count != 1 {
            return Err(Code::Fail.into());
        }
        // SAFETY: the library returned an array of one description, which belongs to the event.
        let (error, id) = unsafe {
            let description = *topics;
            (c::rd_kafka_TopicDescription_error(description), c::rd_kafka_TopicDescription_topic_id(description))
        };
        // SAFETY: the error belongs to the event; null stands for none, and the call takes null.
        let code = unsafe { c::rd_kafka_error_code(error) };
        if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(Code::from(code).into());
        }
        if id.is_null() {
            return Ok(None);
        }
        // SAFETY: the id belongs to the event.
        let is_zero = unsafe {
            c::rd_kafka_Uuid_most_significant_bits(id) == 0 && c::rd_kafka_Uuid_least_significant_bits(id) == 0
        };
        if is_zero {
            return Ok(None);
        }
        // SAFETY: the text is a C string that belongs to the id.
        let text = unsafe { CStr::from_ptr(c::rd_kafka_Uuid_base64str(id)) };
        Ok(Some(text.to_string_lossy().into_owned()))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours and freed once.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

struct AdminOptions(NonNull<RDKafkaAdminOptions>);

impl AdminOptions {
    fn new(client: *mut c::rd_kafka_t, deadline_ms: c_int) -> Self {
        let mut reason: [c_char; 128] = [0; 128];
        // SAFETY: the caller's client is alive. The deadline is in the library's range or is left at its default, which
        // the return value says and which makes no difference to safety.
        unsafe {
            let options =
                c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
            c::rd_kafka_AdminOptions_set_request_timeout(options, deadline_ms, reason.as_mut_ptr(), reason.len());
            Self(NonNull::new(options).expect("the library knows this kind of request"))
        }
    }
}

impl Drop for AdminOptions {
    fn drop(&mut self) {
        // SAFETY: the options are ours and freed once.
        unsafe { c::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) };
    }
}

struct Names(NonNull<c::rd_kafka_TopicCollection_t>);

impl Names {
    fn new(topic: &CStr) -> Self {
        let mut names = [topic.as_ptr()];
        // SAFETY: `names` is an array of one C string, which the library copies.
        let collection = unsafe { c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()) };
        Self(NonNull::new(collection).expect("the library allocates or aborts"))
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // SAFETY: the collection is ours and freed once.
        unsafe { c::rd_kafka_TopicCollection_destroy(self.0.as_ptr()) };
    }
}

/// A reference to a queue.
struct Queue(NonNull<c::rd_kafka_queue_t>);

impl Queue {
    fn owned(queue: *mut c::rd_kafka_queue_t) -> Self {
        Self(NonNull::new(queue).expect("the library allocates or aborts"))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours and freed once.
        unsafe { c::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

/// Returns a topic's name for the C interface.
///
/// # Errors
///
/// If it holds a zero byte, which no topic's name does.
pub(crate) fn topic_name(topic: &str) -> Result<CString, Fault> {
    CString::new(topic).map_err(|_| Code::InvalidTopic.into())
}
