//! Moves a consumer to positions with their leader epochs, so that the leader checks them (KIP-320).

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;
use std::slice;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use crate::Fault;

/// The pause before a seek that came too early is tried again: until librdkafka has begun to fetch a partition, it
/// refuses to seek there.
const AGAIN_AFTER: Duration = Duration::from_millis(2);

/// The offset of the next record to read from a partition, above 0, and the leader epoch of the last one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) epoch: i32,
}

/// Moves assigned partitions to places. When the call returns, everything fetched before it is discarded, and nothing
/// more is fetched until the leader has confirmed the place. A log that was truncated below it is reported as an item
/// of the partition.
///
/// librdkafka checks the epoch of a position only here, not when it is assigned (its issue 5158).
///
/// # Errors
/// If fetching has not begun within the deadline.
pub(crate) fn seek<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &CStr,
    places: &[Place],
    deadline: Duration,
) -> Result<(), Fault> {
    let began = Instant::now();
    let mut left = places.to_vec();
    while !left.is_empty() {
        let remaining = deadline.saturating_sub(began.elapsed());
        left = try_seek(consumer, topic, &left, remaining)?;
        if left.is_empty() {
            break;
        }
        if remaining.is_zero() {
            return Err(Code::OperationTimedOut.into());
        }
        std::thread::sleep(AGAIN_AFTER);
    }
    Ok(())
}

/// Returns the places of partitions that are not fetched yet.
fn try_seek<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &CStr,
    places: &[Place],
    deadline: Duration,
) -> Result<Vec<Place>, Fault> {
    let list = List::new(topic, places);
    let deadline_ms = c_int::try_from(deadline.as_millis()).unwrap_or(c_int::MAX).max(1);
    // SAFETY: client and list are alive. The returned error, if there is one, is ours to free.
    let error = unsafe { c::rd_kafka_seek_partitions(consumer.client().native_ptr(), list.0.as_ptr(), deadline_ms) };
    // SAFETY: null stands for no error, and both calls take null.
    let code = unsafe {
        let code = c::rd_kafka_error_code(error);
        c::rd_kafka_error_destroy(error);
        code
    };
    if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(Code::from(code).into());
    }
    let mut left = Vec::new();
    for (place, code) in places.iter().zip(list.outcomes()) {
        match code {
            c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__STATE
            | c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS
            | c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => left.push(*place),
            code => return Err(Code::from(code).into()),
        }
    }
    Ok(left)
}

struct List(NonNull<c::rd_kafka_topic_partition_list_t>);

impl List {
    fn new(topic: &CStr, places: &[Place]) -> Self {
        let size = c_int::try_from(places.len()).unwrap_or(c_int::MAX);
        // SAFETY: the call returns a new list that is ours.
        let list = NonNull::new(unsafe { c::rd_kafka_topic_partition_list_new(size) });
        let list = Self(list.expect("the library allocates or aborts"));
        for Place { partition, offset, epoch } in places {
            // SAFETY: the list is alive and the name is a C string, which is copied; the element that is returned lives
            // until another is added.
            unsafe {
                let element = c::rd_kafka_topic_partition_list_add(list.0.as_ptr(), topic.as_ptr(), *partition);
                (*element).offset = *offset;
                c::rd_kafka_topic_partition_set_leader_epoch(element, *epoch);
            }
        }
        list
    }

    /// Returns the outcome of each element, in the order of the places.
    fn outcomes(&self) -> Vec<c::rd_kafka_resp_err_t> {
        // SAFETY: the list is alive, and has `cnt` elements, which nobody changes meanwhile.
        let elements = unsafe {
            let list = self.0.as_ref();
            slice::from_raw_parts(list.elems, usize::try_from(list.cnt).unwrap_or(0))
        };
        elements.iter().map(|element| element.err).collect()
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the list is ours and freed once.
        unsafe { c::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) };
    }
}
