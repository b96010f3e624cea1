//! The oracle of time: what an input costs grows with its length and no faster.
//!
//! An input of a fuzzer is too short to tell quadratic work from linear work. So one of many is grown to the length of
//! the largest body by repetition, and the time that the thread needs for it is compared with a limit per byte. Other
//! work of the machine does not count.

use std::fs;
use std::time::Duration;

/// The length that an input is grown to: the largest body of a webhook.
const GROWN_BYTES: usize = 64 * 1024;
/// The bytes of an input that select its case.
const HEAD_BYTES: usize = 3;
/// One of so many inputs is grown.
const GROWN_ONE_OF: u64 = 64;
/// The time for an input of any length.
const FLOOR: Duration = Duration::from_millis(100);
/// The time for each byte: several times what the dearest input takes in a build with instrumentation. Quadratic work
/// on a grown input takes longer: unescaping in steps took 1.4 s.
const NANOS_PER_BYTE: u64 = 10_000;

/// Runs `check` on the input, and on some inputs also on a grown one. Panics when that takes too long.
pub fn bounded(input: &[u8], check: fn(&[u8])) {
    check(input);
    let sum = input.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    let Some((head, rest)) = input.split_at_checked(HEAD_BYTES) else { return };
    if sum % GROWN_ONE_OF != 0 || rest.is_empty() {
        return;
    }
    let grown: Vec<u8> = head.iter().chain(rest.iter().cycle()).copied().take(GROWN_BYTES).collect();
    let Some(before) = time_of_thread() else { return };
    check(&grown);
    let took = time_of_thread().unwrap_or_default().saturating_sub(before);
    let limit = FLOOR + Duration::from_nanos(NANOS_PER_BYTE * GROWN_BYTES as u64);
    assert!(took <= limit, "{took:?} for {GROWN_BYTES} bytes, more than {limit:?}");
}

/// Returns the time that this thread has run: the first number of /proc/thread-self/schedstat, in nanoseconds.
fn time_of_thread() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
