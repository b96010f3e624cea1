//! The signal to stop.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A signal is the first one again if it is of the same kind and comes within this time after it: timeout(1) sends each
/// to its child, and to the group of processes to which the child belongs. Nobody asks twice so fast.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

/// A request to stop, shared by all parts of a process. It cannot be withdrawn.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    requested: CancellationToken,
    /// The number of the signal that has requested it.
    signal: Arc<OnceLock<i32>>,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a shutdown that SIGTERM, SIGINT or SIGHUP requests. Each further signal calls `again` with its number,
    /// to end at once; one that its sender has doubled is not further. For the command line only: a library installs no
    /// handlers. A SIGHUP that is ignored (`nohup`) stays so.
    ///
    /// # Errors
    /// When the process may not install a signal handler.
    pub fn on_signals(again: fn(i32)) -> io::Result<Self> {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = (!is_ignored(SignalKind::hangup())).then(|| signal(SignalKind::hangup())).transpose()?;
        let shutdown = Self::new();
        let requested = shutdown.clone();
        // The task lives as long as the process, so nothing needs to await it.
        tokio::spawn(async move {
            let mut first = None;
            loop {
                let (name, kind) = tokio::select! {
                    _ = term.recv() => ("SIGTERM", SignalKind::terminate()),
                    _ = int.recv() => ("SIGINT", SignalKind::interrupt()),
                    () = next(hangup.as_mut()) => ("SIGHUP", SignalKind::hangup()),
                };
                let now = Instant::now();
                if first.is_some_and(|first| is_doubled(first, (kind, now))) {
                    continue;
                }
                if requested.is_requested() {
                    tracing::warn!(signal = name, "a further signal: ending at once");
                    again(kind.as_raw_value());
                }
                first.get_or_insert((kind, now));
                requested.signal.get_or_init(|| kind.as_raw_value());
                requested.trigger();
                tracing::info!(signal = name, "shutdown requested");
            }
        });
        Ok(shutdown)
    }

    /// Returns the number of the signal that has requested the stop, if one has.
    pub fn signal(&self) -> Option<i32> {
        self.signal.get().copied()
    }

    pub fn trigger(&self) {
        self.requested.cancel();
    }

    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Waits until a stop is requested. Cancel-safe.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// As [`Self::requested`], for what outlives its caller.
    pub async fn until_requested(self) {
        self.requested.cancelled().await;
    }
}

/// Returns whether a signal is the first one, which its sender has sent twice.
fn is_doubled((first, at): (SignalKind, Instant), (kind, now): (SignalKind, Instant)) -> bool {
    kind == first && now.duration_since(at) < SAME_SIGNAL
}

/// Waits for the next signal, if there is a handler for it.
async fn next(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Returns whether the process was started with this signal ignored: `SigIgn` of /proc/self/status (proc(5)).
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_its_sender_has_doubled_is_one() {
        let (term, int, at) = (SignalKind::terminate(), SignalKind::interrupt(), Instant::now());
        for (kind, after_ms, doubled) in
            [(term, 0, true), (term, 199, true), (term, 200, false), (int, 0, false), (int, 5_000, false)]
        {
            let now = at + Duration::from_millis(after_ms);
            assert_eq!(is_doubled((term, at), (kind, now)), doubled, "{kind:?} after {after_ms} ms");
        }
    }
}
