//! The request for the description of a topic: its id, and what this client may do with it.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use domain::TopicId;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaAdminOptions;

use super::Queue;
use crate::Fault;

/// Returns Kafka's id of a topic, or `None` where the broker has no topic ids.
pub(crate) fn topic_id<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &CStr,
    deadline: Duration,
) -> Result<Option<TopicId>, Fault> {
    describe(consumer, topic, false, deadline)?.topic_id()
}

/// What a client may do with a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions {
    pub describe: bool,
    pub read: bool,
    pub write: bool,
    pub describe_configs: bool,
}

/// Returns what this client may do with a topic, or `None` where the broker does not tell.
pub(crate) fn permissions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &CStr,
    deadline: Duration,
) -> Result<Option<Permissions>, Fault> {
    match describe(consumer, topic, true, deadline)?.permissions() {
        // Without any permission the topic is not described.
        Err(fault) if fault.code() == Some(Code::TopicAuthorizationFailed) => Ok(Some(Permissions::default())),
        answer => answer,
    }
}

fn describe<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &CStr,
    with_operations: bool,
    deadline: Duration,
) -> Result<Answer, Fault> {
    let client = consumer.client().native_ptr();
    let deadline_ms = c_int::try_from(deadline.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the client is alive, and the call returns a new queue that is ours.
    let queue = Queue::owned(unsafe { c::rd_kafka_queue_new(client) });
    let request = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    let options = AdminOptions::new(client, request, deadline_ms, with_operations);
    let names = TopicNames::new(topic);
    // SAFETY: all four are alive; the library copies what it needs before the call returns.
    unsafe { c::rd_kafka_DescribeTopics(client, names.0.as_ptr(), options.0.as_ptr(), queue.0.as_ptr()) };
    Answer::wait(&queue, deadline_ms)
}

/// What an answer says that the client may do.
pub(super) struct Operations<'a>(&'a [u32]);

impl Operations<'_> {
    /// # Safety
    /// There must be so many operations at that place, for as long as this is used.
    pub(super) unsafe fn at(operations: *const c::rd_kafka_AclOperation_t, count: usize) -> Self {
        // SAFETY: as the caller says. They are read as numbers: a later library may have operations that the enum has
        // not.
        Self(unsafe { slice::from_raw_parts(operations.cast::<u32>(), count) })
    }

    pub(super) fn contain(&self, operation: c::rd_kafka_AclOperation_t) -> bool {
        self.0.contains(&(operation as u32))
    }
}

/// An answer to an admin request.
pub(super) struct Answer(pub(super) NonNull<c::rd_kafka_event_t>);

impl Answer {
    /// Waits for the answer to the only request whose answer goes to this queue.
    pub(super) fn wait(queue: &Queue, deadline_ms: c_int) -> Result<Self, Fault> {
        // librdkafka answers at the request's deadline at the latest. The wait is longer, so as not to miss the answer.
        // SAFETY: the queue is alive, and a returned event is ours to free.
        let event = unsafe { c::rd_kafka_queue_poll(queue.0.as_ptr(), deadline_ms.saturating_mul(2)) };
        let answer = NonNull::new(event).map(Self).ok_or(Code::OperationTimedOut)?;
        // SAFETY: the event is alive.
        match unsafe { c::rd_kafka_event_error(answer.0.as_ptr()) } {
            c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(answer),
            code => Err(Code::from(code).into()),
        }
    }

    /// Returns the description, which belongs to the event.
    fn description(&self) -> Result<*const c::rd_kafka_TopicDescription_t, Fault> {
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
        let (description, error) = unsafe { (*topics, c::rd_kafka_TopicDescription_error(*topics)) };
        // SAFETY: the error belongs to the event; null stands for none, and the call takes null.
        let code = unsafe { c::rd_kafka_error_code(error) };
        if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(Code::from(code).into());
        }
        Ok(description)
    }

    fn permissions(&self) -> Result<Option<Permissions>, Fault> {
        let (description, mut count) = (self.description()?, 0);
        // SAFETY: the description belongs to the event, and `count` is a place for the answer.
        let operations = unsafe { c::rd_kafka_TopicDescription_authorized_operations(description, &raw mut count) };
        if operations.is_null() {
            return Ok(None);
        }
        // SAFETY: the library returned an array of so many operations, which belongs to the event.
        let operations = unsafe { Operations::at(operations, count) };
        let may = |operation| operations.contain(operation);
        Ok(Some(Permissions {
            describe: may(c::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_DESCRIBE),
            read: may(c::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ),
            write: may(c::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE),
            describe_configs: may(c::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS),
        }))
    }

    fn topic_id(&self) -> Result<Option<TopicId>, Fault> {
        // SAFETY: the description belongs to the event.
        let id = unsafe { c::rd_kafka_TopicDescription_topic_id(self.description()?) };
        if id.is_null() {
            return Ok(None);
        }
        // SAFETY: the id belongs to the event.
        let halves =
            unsafe { [c::rd_kafka_Uuid_most_significant_bits(id), c::rd_kafka_Uuid_least_significant_bits(id)] };
        // The library's text of an id has the other alphabet of base64, so the bytes are taken.
        let mut bytes = [0; 16];
        bytes.as_chunks_mut().0.iter_mut().zip(halves).for_each(|(bytes, half)| *bytes = half.to_be_bytes());
        Ok((halves != [0, 0]).then(|| TopicId::from_bytes(bytes)))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is ours and freed once.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}

pub(super) struct AdminOptions(pub(super) NonNull<RDKafkaAdminOptions>);

impl AdminOptions {
    pub(super) fn new(
        client: *mut c::rd_kafka_t,
        request: c::rd_kafka_admin_op_t,
        deadline_ms: c_int,
        with_operations: bool,
    ) -> Self {
        let mut reason: [c_char; 128] = [0; 128];
        // SAFETY: the caller's client is alive. A deadline outside librdkafka's range leaves the default in place, as
        // the return value reports, and does not affect safety. The error of the third call is freed;
        // null stands for none.
        unsafe {
            let options = c::rd_kafka_AdminOptions_new(client, request);
            c::rd_kafka_AdminOptions_set_request_timeout(options, deadline_ms, reason.as_mut_ptr(), reason.len());
            c::rd_kafka_error_destroy(c::rd_kafka_AdminOptions_set_include_authorized_operations(
                options,
                c_int::from(with_operations),
            ));
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

struct TopicNames(NonNull<c::rd_kafka_TopicCollection_t>);

impl TopicNames {
    fn new(topic: &CStr) -> Self {
        let mut names = [topic.as_ptr()];
        // SAFETY: `names` is an array of one C string, which the library copies.
        let collection = unsafe { c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()) };
        Self(NonNull::new(collection).expect("the library allocates or aborts"))
    }
}

impl Drop for TopicNames {
    fn drop(&mut self) {
        // SAFETY: the collection is ours and freed once.
        unsafe { c::rd_kafka_TopicCollection_destroy(self.0.as_ptr()) };
    }
}
