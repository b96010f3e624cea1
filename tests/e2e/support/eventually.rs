//! Waiting for a condition, never for a duration.

use std::time::Duration;

/// The pause between two looks: short beside anything that a broker does.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until the condition yields a value, and returns it.
///
/// # Panics
///
/// If there is none when the deadline has passed. The deadline is generous: it bounds a broken test, it measures nothing.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let found = tokio::time::timeout(deadline, async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("{caller}: {what}: not after {} s", deadline.as_secs()))
    }
}
