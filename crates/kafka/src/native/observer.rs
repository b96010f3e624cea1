//! A client that only connects, and tells what it sees.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings as c;
use rdkafka::client::Client;
use rdkafka::types::RDKafkaType;

use super::{Queue, authorize};
use crate::Fault;
use crate::client::TracingContext;

/// A client without topics or group.
pub(crate) struct Observer {
    /// Must be freed before the client.
    queue: Queue,
    client: Client<TracingContext>,
}

/// What a client tells.
#[derive(Debug)]
pub(crate) enum Observed {
    Line {
        facility: String,
        text: String,
    },
    /// JSON of librdkafka's statistics.
    Statistics(Vec<u8>),
}

impl Observer {
    /// Returns a client that connects at once. Where clients need a token it has one, so the call can block.
    pub(crate) fn open(config: &ClientConfig, context: TracingContext) -> Result<Self, Fault> {
        let native = config.create_native_config()?;
        let events = c::RD_KAFKA_EVENT_STATS | c::RD_KAFKA_EVENT_LOG | c::RD_KAFKA_EVENT_ERROR;
        // SAFETY: the configuration is alive and not yet in use. The callback gets the context of the client, which
        // `Client::new` sets as the opaque pointer and keeps for as long as the client lives.
        unsafe {
            c::rd_kafka_conf_set_events(native.ptr(), events);
            c::rd_kafka_conf_set_ssl_cert_verify_cb(native.ptr(), Some(note_certificate_error));
        }
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, context)?;
        authorize(&client)?;
        // SAFETY: the client is alive, and the call returns a reference to its queue that is ours.
        let queue = Queue::owned(unsafe { c::rd_kafka_queue_get_main(client.native_ptr()) });
        Ok(Self { queue, client })
    }

    /// Waits at most `wait` for something to be told; `None` where nothing was, or nothing of interest.
    pub(crate) fn next(&self, wait: Duration) -> Option<Observed> {
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is alive, and a returned event is ours to free.
        let event = unsafe { c::rd_kafka_queue_poll(self.queue.0.as_ptr(), wait_ms) };
        NonNull::new(event).map(Event)?.observed()
    }

    pub(crate) fn context(&self) -> &TracingContext {
        self.client.context()
    }
}

/// Notes why OpenSSL refuses the certificate of a broker, which librdkafka's texts do not tell. Refuses no certificate
/// that would be accepted otherwise, and accepts none that would be refused.
unsafe extern "C" fn note_certificate_error(
    _client: *mut c::rd_kafka_t,
    _broker_name: *const c_char,
    _broker_id: i32,
    error: *mut c_int,
    _depth: c_int,
    _certificate: *const c_char,
    _certificate_bytes: usize,
    _reason: *mut c_char,
    _reason_bytes: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka passes a place for the error, and the pointer that `Client::new` has set, which is the
    // context of a client that is alive while its threads run.
    let (error, context) = unsafe { (*error, &*opaque.cast_const().cast::<TracingContext>()) };
    if error == 0 {
        return 1;
    }
    context.certificate_error.store(error, Ordering::Relaxed);
    0
}

struct Event(NonNull<c::rd_kafka_event_t>);

impl Event {
    fn observed(&self) -> Option<Observed> {
        let event = self.0.as_ptr();
        // SAFETY: the event is alive.
        match unsafe { c::rd_kafka_event_type(event) } {
            c::RD_KAFKA_EVENT_LOG => {
                let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
                // SAFETY: the event is alive, and the three are places for the answer.
                let code = unsafe { c::rd_kafka_event_log(event, &raw mut facility, &raw mut text, &raw mut level) };
                if code != 0 {
                    return None;
                }
                // SAFETY: the library returned two C strings that belong to the event.
                let (facility, text) = unsafe { (CStr::from_ptr(facility), CStr::from_ptr(text)) };
                let owned = |text: &CStr| text.to_string_lossy().trim().to_owned();
                Some(Observed::Line { facility: owned(facility), text: owned(text) })
            }
            c::RD_KAFKA_EVENT_STATS => {
                // SAFETY: the event is of statistics, and its text belongs to it.
                let json = unsafe { CStr::from_ptr(c::rd_kafka_event_stats(event)) };
                Some(Observed::Statistics(json.to_bytes().to_owned()))
            }
            _ => None,
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is ours and freed once.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}
