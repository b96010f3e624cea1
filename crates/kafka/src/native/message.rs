//! One message of librdkafka.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use domain::{Position, UnixMillis};
use rdkafka::bindings as c;

/// A record in librdkafka's memory, or an event in place of a record.
///
/// It is a pointer, not a reference. librdkafka's functions go from it to private fields that lie beyond the public
/// ones. A reference to the public fields would not permit reading those, or writing them when headers are parsed.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    place: NonNull<c::rd_kafka_message_t>,
    alive: PhantomData<&'a c::rd_kafka_message_t>,
}

impl<'a> Message<'a> {
    /// # Safety
    /// The message must belong to librdkafka and live for `'a`.
    pub(super) unsafe fn at(place: NonNull<c::rd_kafka_message_t>) -> Self {
        Self { place, alive: PhantomData }
    }

    pub(super) fn code(self) -> c::rd_kafka_resp_err_t {
        // SAFETY: the message is alive.
        unsafe { (*self.place.as_ptr()).err }
    }

    /// Returns librdkafka's description of this error.
    pub(super) fn error_text(self) -> Option<&'a CStr> {
        // SAFETY: the message is alive.
        let text = unsafe { c::rd_kafka_message_errstr(self.place.as_ptr()) };
        // SAFETY: a text that is not null is a C string that lives as long as the message.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
    }

    pub(crate) fn position(self) -> Position {
        // SAFETY: the message is alive.
        let (partition, offset) = unsafe { ((*self.place.as_ptr()).partition, (*self.place.as_ptr()).offset) };
        Position { partition, offset }
    }

    /// Returns the epoch of the leader that appended the record; `None` where the broker does not tell.
    pub(crate) fn leader_epoch(self) -> Option<i32> {
        // SAFETY: the message is alive.
        let epoch = unsafe { c::rd_kafka_message_leader_epoch(self.place.as_ptr()) };
        (epoch >= 0).then_some(epoch)
    }

    /// Returns the record's timestamp. A record without one (message format 0) has the epoch as its timestamp.
    pub(crate) fn timestamp(self) -> UnixMillis {
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive and `kind` is a place for the answer.
        let millis = unsafe { c::rd_kafka_message_timestamp(self.place.as_ptr(), &raw mut kind) };
        UnixMillis::from_millis(millis.max(0))
    }

    pub(crate) fn key(self) -> Option<&'a [u8]> {
        // SAFETY: the message is alive, and names the place and length of its key, which live as long as it does.
        unsafe { bytes((*self.place.as_ptr()).key, (*self.place.as_ptr()).key_len) }
    }

    pub(crate) fn value(self) -> Option<&'a [u8]> {
        // SAFETY: the message is alive, and names the place and length of its value, which live as long as it does.
        unsafe { bytes((*self.place.as_ptr()).payload, (*self.place.as_ptr()).len) }
    }

    /// Returns the value of the last header with that name: a later header overrides an earlier one.
    pub(crate) fn header(self, name: &str) -> Option<&'a [u8]> {
        let headers = self.native_headers()?;
        // SAFETY: the headers are alive.
        let count = unsafe { c::rd_kafka_header_cnt(headers) };
        let mut newest_first = (0..count).rev().filter_map(|index| self.header_at(headers, index));
        newest_first.find(|(header, _)| header.to_bytes() == name.as_bytes()).map(|(_, value)| value)
    }

    /// Calls `each` for every header in order. Invalid UTF-8 in a name is replaced.
    pub(crate) fn for_each_header(self, mut each: impl FnMut(&str, &'a [u8])) {
        let Some(headers) = self.native_headers() else {
            return;
        };
        for (name, value) in (0..).map_while(|index| self.header_at(headers, index)) {
            each(&name.to_string_lossy(), value);
        }
    }

    /// Returns the name and value of a header of this message.
    fn header_at(self, headers: *const c::rd_kafka_headers_t, index: usize) -> Option<(&'a CStr, &'a [u8])> {
        let (mut name, mut value, mut size) = (ptr::null::<c_char>(), ptr::null::<c_void>(), 0);
        // SAFETY: the headers are alive, and the other three are places for the answer.
        let code = unsafe { c::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size) };
        if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: the library returns a C string, and the place and length of a value, which live as long as the
        // message.
        Some(unsafe { (CStr::from_ptr(name), bytes(value, size).unwrap_or_default()) })
    }

    fn native_headers(self) -> Option<*const c::rd_kafka_headers_t> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive, and `headers` is a place for the answer, which belongs to the message.
        let code = unsafe { c::rd_kafka_message_headers(self.place.as_ptr(), &raw mut headers) };
        (code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then_some(headers.cast_const())
    }
}

/// Returns the bytes at an address given by librdkafka; null means none.
///
/// # Safety
/// `start`, if not null, must be the beginning of `size` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, size: usize) -> Option<&'a [u8]> {
    if start.is_null() {
        return None;
    }
    // SAFETY: the caller says so.
    Some(unsafe { slice::from_raw_parts(start.cast::<u8>(), size) })
}
