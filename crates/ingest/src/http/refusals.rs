//! Bounds the lines about refused requests: anybody can send any number of requests, and an overload or an outage
//! refuses as many. The metric counts them all.

use std::sync::Arc;
use std::time::Duration;

use service::Shutdown;
use service::telemetry::LineLimit;
use tokio::time::Instant;

use crate::Rejection;

/// The most lines a minute for each reason.
pub(crate) const LINES_MAX: u64 = 20;
/// How often the minutes that have ended are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The lines of each reason.
#[derive(Debug)]
pub(crate) struct RefusalLines([LineLimit; Rejection::LABELS.len()]);

impl Default for RefusalLines {
    fn default() -> Self {
        Self(Rejection::LABELS.map(|_| LineLimit::new(LINES_MAX)))
    }
}

impl RefusalLines {
    /// Counts one more refusal. Returns whether it has a line of its own.
    pub(super) fn has_line(&self, rejection: &Rejection) -> bool {
        let label = rejection.label();
        let Some((_, limit)) = self.each().find(|(known, _)| *known == label) else { return true };
        let counted = limit.count(Instant::now());
        say_left_out(label, counted.left_out_before);
        counted.is_written
    }

    /// Says how many refusals had no line, after each minute and at the stop.
    pub(crate) async fn watch(self: Arc<Self>, stop: Shutdown) {
        while !stop.is_requested() {
            tokio::select! {
                () = stop.requested() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            let now = Instant::now();
            self.each().for_each(|(label, limit)| say_left_out(label, limit.left_out_until(now)));
        }
        self.each().for_each(|(label, limit)| say_left_out(label, limit.left_out_so_far()));
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &LineLimit)> {
        Rejection::LABELS.into_iter().zip(&self.0)
    }
}

fn say_left_out(label: &'static str, count: u64) {
    if count > 0 {
        tracing::info!(rejection = label, left_out = count, "more requests were refused");
    }
}
