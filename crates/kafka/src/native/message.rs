//! One message of the library.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use domain::{Position, UnixMillis};
use rdkafka::bindings as c;

/// A record in the library's memory, or a report that takes a record's place.
///
/// A pointer, not a reference: the library's functions go from it to its own fields, which lie beyond the public ones
/// and which a reference to these would not allow to be read or, when headers are parsed, written.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    place: NonNull<c::rd_kafka_message_t>,
    alive: PhantomData<&'a c::rd_kafka_message_t>,
}

impl<'a> Message<'a> {
    /// # Safety
    ///
    /// The message must be the library's own and live for `'a`.
    pub(super) unsafe fn at(place: NonNull<c::rd_kafka_message_t>) -> Self {
        Self { place, alive: PhantomData }
    }

    pub(super) fn code(self) -> c::rd_kafka_resp_err_t {
        // SAFETY: the message is alive.
        unsafe { (*self.place.as_ptr()).err }
    }

    /// Returns the library's description of an error, with the details of this one.
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

    /// Returns the record's timestamp; a record without one (message format 0) counts as written at the epoch.
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

    /// Returns the value of the last header of that name: a later one overrides an earlier one.
    pub(crate) fn header(self, name: &str) -> Option<&'a [u8]> {
        let headers = self.native_headers()?;
        // SAFETY: the headers are alive.
        let count = unsafe { c::rd_kafka_header_cnt(headers) };
        let mut newest_first = (0..count).rev().filter_map(|index| self.header_at(headers, index));
        newest_first.find(|(header, _)| header.to_bytes() == name.as_bytes()).map(|(_, value)| value)
    }

    /// Calls `each` for every header in its order; a name that is not UTF-8 has its other bytes replaced.
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
