//! The clients that were replaced, while they are being closed.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

/// How long the end of their owner waits for former clients. A client that has lost track of a partition may never end:
/// librdkafka was seen to wait for ever for the thread of a broker while a partition was paused.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// The pause between two looks at a thread that is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Clients on their way out, each on a thread of its own: their owner must not wait for one that is stuck.
#[derive(Default)]
pub(crate) struct Former(Vec<JoinHandle<()>>);

impl Former {
    /// Calls `close`, which takes a client to its end.
    pub(crate) fn close(&mut self, close: impl FnOnce() + Send + 'static) {
        self.forget_closed();
        self.0.push(close_aside(close));
    }

    fn forget_closed(&mut self) {
        self.0.retain(|closing| !closing.is_finished());
    }
}

/// Calls `close` on a thread of its own: closing can block, and a client that is stuck may never end.
pub(crate) fn close_aside(close: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let closing = std::thread::Builder::new().name("kafka-closing".to_owned()).spawn(close);
    closing.expect("the system can start a thread")
}

impl Drop for Former {
    fn drop(&mut self) {
        let began = Instant::now();
        self.forget_closed();
        while !self.0.is_empty() && began.elapsed() < CLOSE_MAX {
            std::thread::sleep(LOOK_INTERVAL);
            self.forget_closed();
        }
        if !self.0.is_empty() {
            tracing::warn!(clients = self.0.len(), "former Kafka clients do not close: they end with the process");
        }
    }
}
