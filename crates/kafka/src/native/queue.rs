//! A queue of librdkafka.

use std::ptr::NonNull;

use rdkafka::bindings as c;

/// A reference to a queue.
pub(super) struct Queue(pub(super) NonNull<c::rd_kafka_queue_t>);

impl Queue {
    pub(super) fn owned(queue: *mut c::rd_kafka_queue_t) -> Self {
        Self(NonNull::new(queue).expect("the library allocates or aborts"))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference is ours and freed once.
        unsafe { c::rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}
