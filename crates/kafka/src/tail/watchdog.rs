//! Notices that librdkafka has forgotten to fetch a partition.
//!
//! When the only broker of a partition pauses for 12 to 25 s, a consumer of librdkafka 2.12.1 may never fetch the
//! partition again, without any error. The log then goes on and the reader does not. So the ends of all partitions are
//! asked for once a second on a thread of their own ([`ends`]), and compared with the cursors ([`stalls`]).
//!
//! The ends are those that a reader of this configuration can reach: behind an open transaction the last stable offset,
//! which does not move. Time counts only while the reader waits for records: a slow consumer is not a stall. While
//! there is no answer there is none either.

mod ends;
mod stalls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;

use crate::client::{Renewed, TracingContext};
use ends::Ends;
use stalls::Stalls;

pub(super) struct Watchdog {
    ends: Ends,
    stalls: Stalls,
    /// How long the reader has waited for records, altogether.
    waited: Duration,
}

impl Watchdog {
    /// Starts to ask for the ends of the topic, over a connection that the reader does not fetch by.
    pub(super) fn start(
        client: Arc<Renewed<BaseConsumer<TracingContext>>>,
        topic: &str,
        stalled_after: Duration,
    ) -> Self {
        Self { ends: Ends::start(client, topic), stalls: Stalls::new(stalled_after), waited: Duration::ZERO }
    }

    /// Adds time that the reader has waited for records.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Returns the partitions that are stalled, given the next offset of each. They count as opened again.
    pub(super) fn look(&mut self, cursors: impl Iterator<Item = (i32, i64)>) -> Vec<i32> {
        let Some(ends) = self.ends.take_answer() else { return Vec::new() };
        let cursors: BTreeMap<i32, i64> = cursors.collect();
        self.ends.ask_for(cursors.keys().copied());
        self.stalls.judge(&cursors, &ends, self.waited)
    }
}
