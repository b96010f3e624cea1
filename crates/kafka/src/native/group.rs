//! The request for the description of a consumer group: what this client may do with it.

use std::ffi::{CStr, c_int};
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::Queue;
use super::topic_id::{AdminOptions, Answer, Operations};
use crate::Fault;

/// Returns whether this client may read as a member of a group, which need not exist, or `None` where the broker does
/// not tell.
pub(crate) fn may_read_group<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    group: &CStr,
    deadline: Duration,
) -> Result<Option<bool>, Fault> {
    match describe(consumer, group, deadline).and_then(|answer| may_read(&answer)) {
        // Without any permission the group is not described. Each of them includes that of describing.
        Err(fault) if fault.is_group_refused() => Ok(Some(false)),
        answer => answer,
    }
}

fn describe<C: ConsumerContext>(consumer: &BaseConsumer<C>, group: &CStr, deadline: Duration) -> Result<Answer, Fault> {
    let client = consumer.client().native_ptr();
    let deadline_ms = c_int::try_from(deadline.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the client is alive, and the call returns a new queue that is ours.
    let queue = Queue::owned(unsafe { c::rd_kafka_queue_new(client) });
    let request = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    let options = AdminOptions::new(client, request, deadline_ms, true);
    let mut names = [group.as_ptr()];
    // SAFETY: all are alive, and `names` is an array of one C string; the library copies what it needs before the call
    // returns.
    unsafe {
        c::rd_kafka_DescribeConsumerGroups(
            client,
            names.as_mut_ptr(),
            names.len(),
            options.0.as_ptr(),
            queue.0.as_ptr(),
        );
    }
    Answer::wait(&queue, deadline_ms)
}

fn may_read(answer: &Answer) -> Result<Option<bool>, Fault> {
    // SAFETY: the event is alive; the result is null if it is the answer to something else.
    let result = unsafe { c::rd_kafka_event_DescribeConsumerGroups_result(answer.0.as_ptr()) };
    if result.is_null() {
        return Err(Code::Fail.into());
    }
    let mut count = 0;
    // SAFETY: the result belongs to the event, which is alive; `count` is a place for the answer.
    let groups = unsafe { c::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count) };
    if count != 1 {
        return Err(Code::Fail.into());
    }
    // SAFETY: the library returned an array of one description, which belongs to the event, as its error does; null
    // stands for none, and the second call takes null.
    let (description, code) = unsafe {
        let error = c::rd_kafka_ConsumerGroupDescription_error(*groups);
        (*groups, c::rd_kafka_error_code(error))
    };
    if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(Code::from(code).into());
    }
    // SAFETY: the description belongs to the event, and `count` is a place for the answer.
    let operations = unsafe { c::rd_kafka_ConsumerGroupDescription_authorized_operations(description, &raw mut count) };
    if operations.is_null() {
        return Ok(None);
    }
    // SAFETY: the library returned an array of so many operations, which belongs to the event.
    let operations = unsafe { Operations::at(operations, count) };
    Ok(Some(operations.contain(c::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ)))
}
