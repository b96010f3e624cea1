//! Waiting for a condition, never for a duration.

use std::panic::Location;
use std::time::Duration;

/// How long a condition is waited for unless a test has a reason for another time. It bounds a broken test and measures
/// nothing: long enough for a machine that compiles and tests at the same time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two looks: short beside anything that a broker does.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until the condition yields a value, and returns it.
///
/// # Panics
/// If there is none after `patience`; the message has `what` and the caller's line.
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
