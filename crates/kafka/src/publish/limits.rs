//! The bounds of a publisher.

use std::time::Duration;

/// The most records that wait for their acknowledgement.
pub const QUEUE_MESSAGES: u32 = 10_000;
/// The most KiB of waiting records: 10,000 records of the usual size take 30 MiB.
pub const QUEUE_KBYTES: u32 = 64 * 1024;
/// The longest wait for an acknowledgement.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The bounds of a publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The time after which [`Publisher::publish`](super::Publisher::publish) and librdkafka give up.
    pub deadline: Duration,
    pub queue_messages: u32,
    pub queue_kbytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: DEADLINE, queue_messages: QUEUE_MESSAGES, queue_kbytes: QUEUE_KBYTES }
    }
}
