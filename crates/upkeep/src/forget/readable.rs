//! Waits until readers get the tombstones. One that was appended behind an open transaction is not read before that
//! ends: until then the user is still answered.

use std::time::Duration;

use domain::Position;
use kafka::ClientOptions;
use kafka::topics::{Ends, EndsProbe, Watermarks};
use tokio::time::Instant;

use super::Error;
use crate::SILENCE_MAX;

/// The pause between two questions.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Waits until no open transaction holds back the records at these positions.
///
/// # Errors
/// [`Error::HeldBack`] when one still does after [`SILENCE_MAX`]; others when the cluster does not say.
pub(super) async fn wait(kafka: &ClientOptions, topic: &str, positions: &[Position]) -> Result<(), Error> {
    let ends = EndsProbe::new(kafka, topic);
    let waited = until_readable(&ends, positions).await;
    ends.close().await;
    waited
}

async fn until_readable(ends: &EndsProbe, positions: &[Position]) -> Result<(), Error> {
    let until = Instant::now() + SILENCE_MAX;
    loop {
        let found = ends.now(SILENCE_MAX).await.map_err(Error::Unconfirmed)?;
        let Some((position, found)) = first_unreadable(&found, positions) else { return Ok(()) };
        if Instant::now() >= until {
            let holds = ends.holds(found.as_slice()).await;
            return Err(match holds.first() {
                Some(hold) => Error::HeldBack { position, hold: *hold },
                None => Error::Unsaid { position },
            });
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Returns the first of the positions that readers do not get yet, and where its partition ends, if its leader says so.
fn first_unreadable(ends: &Ends, positions: &[Position]) -> Option<(Position, Option<Watermarks>)> {
    positions.iter().find_map(|position| {
        let found = ends.get(&position.partition).and_then(|found| found.as_ref().ok()).copied();
        let is_read = found.is_some_and(|found| found.stable > position.offset);
        (!is_read).then_some((*position, found))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_below_the_last_stable_offset() {
        let found = Watermarks { partition: 0, low: 0, stable: 5, high: 9 };
        let ends = Ends::from([(0, Ok(found))]);
        let at = |partition, offset| Position { partition, offset };
        assert_eq!(first_unreadable(&ends, &[at(0, 4)]), None);
        assert_eq!(first_unreadable(&ends, &[at(0, 4), at(0, 5)]), Some((at(0, 5), Some(found))));
        assert_eq!(first_unreadable(&ends, &[at(1, 0)]), Some((at(1, 0), None)), "nobody says");
    }
}
