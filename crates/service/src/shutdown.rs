//! The signal to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A request to stop, shared by all parts of a process. It cannot be withdrawn.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a shutdown that SIGTERM or SIGINT requests. For the command line only: a library installs no handlers.
    ///
    /// # Errors
    /// When the process may not install a signal handler.
    pub fn on_signals() -> io::Result<Self> {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = Self::new();
        let requested = shutdown.clone();
        // The task lives as long as the process, so nothing needs to await it.
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => tracing::info!(signal = "SIGTERM", "shutdown requested"),
                _ = int.recv() => tracing::info!(signal = "SIGINT", "shutdown requested"),
            }
            requested.trigger();
        });
        Ok(shutdown)
    }

    pub fn trigger(&self) {
        self.0.cancel();
    }

    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until a stop is requested. Cancel-safe.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }
}
