//! Waits for a condition, never for a fixed duration.

use std::panic::Location;
use std::time::Duration;

/// The default time limit for a condition. It bounds a failing test and measures nothing: long enough for a machine
/// that compiles and tests at the same time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two checks: short compared with any action of a broker.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Checks until the condition yields a value, and returns it.
///
/// # Panics
/// If there is no value after `patience`. The message contains `what` and the caller's line.
#[track_caller]
pub fn eventually<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let found = tokio::time::timeout(patience, async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("{caller}: {what}: not after {} s", patience.as_secs()))
    }
}
