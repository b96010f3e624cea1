//! Dead letters: unreadable bodies, kept as they were received, and their replay.
//!
//! The key of a letter is the digest of the blanked body. A digest of the original body would let an attacker test
//! guesses of a password.

mod mention;

use domain::topics::Names;
use domain::wire::Framing;
use domain::{EventId, Letter, Position, UnixMillis, UserId};
use kafka::publish::{Outgoing, Publisher};
use upkeep::letters::Kept;

use crate::transport::{Authentic, BodyPolicy, blank_passwords};
use crate::{Rejection, pipeline};

pub use mention::mentions;

/// A vector longer than any cipher's, in hexadecimal, is not kept. The vendor does not send one, and headers have no
/// limit of their own.
const IV_MAX: usize = 128;

/// Returns the dead letter of `request`, received at `received_at`. Returns `None` when a body with this rejection is
/// not kept.
pub fn of(request: &Authentic, rejection: &Rejection, received_at: UnixMillis) -> Option<Letter> {
    if !rejection.is_kept() {
        return None;
    }
    Some(Letter {
        body: blank_passwords(request.body()),
        iv: request.iv().filter(|iv| !iv.is_empty() && iv.len() <= IV_MAX).map(str::to_owned),
        rejection: rejection.label().to_owned(),
        reason: rejection.to_string(),
        pointer: rejection.pointer().to_owned(),
        received_at,
        record: None,
    })
}

/// The outcome of a replay.
#[derive(Clone, Debug)]
pub enum Replayed {
    /// The letter would pass. Nothing was written.
    WouldPass { user_id: UserId, event_id: EventId },
    /// The letter passed: its event is on `vcc.users`, and the letter is removed.
    Published { user_id: UserId, event_id: EventId, position: Position },
    /// The letter is still refused, and stays.
    Refused(Rejection),
}

/// The reason why a dead letter was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the event of dead letter {key} was not published")]
    Publish { key: String, source: Box<kafka::publish::Error> },
    #[error(
        "the event of dead letter {key} was published, but the letter was not removed; replaying it again is harmless"
    )]
    Remove { key: String, source: Box<kafka::publish::Error> },
}

/// Sends `kept` through the pipeline again. If it passes, publishes its event and then removes the letter with a
/// tombstone. In this order, an interruption repeats an event, which is harmless, and loses none.
///
/// The event keeps the time at which its body was first received. Without a `publisher` nothing is written.
///
/// # Errors
/// [`ReplayError`], when Kafka does not acknowledge.
pub async fn replay(
    kept: &Kept,
    topics: &Names,
    framing: Framing,
    policy: &BodyPolicy,
    publisher: Option<&Publisher>,
    now: UnixMillis,
) -> Result<Replayed, ReplayError> {
    let key = || kept.key.clone();
    let event = match pipeline::accept_again(&kept.letter, policy, kept.letter.received_at) {
        Ok(event) => event,
        Err(rejection) => return Ok(Replayed::Refused(rejection)),
    };
    let (user_id, event_id) = (event.user_id, event.event_id);
    let Some(publisher) = publisher else {
        return Ok(Replayed::WouldPass { user_id, event_id });
    };
    // The cleaner measures age by the record's timestamp. A record with an old one could be compacted before it is
    // read.
    let record = Outgoing { timestamp: now, ..Outgoing::framed(&event, framing, &topics.users, None) };
    let published = publisher.publish(record).await;
    let position = published.map_err(|source| ReplayError::Publish { key: key(), source: Box::new(source) })?;
    let removed = publisher.publish(kept.removal(&topics.dead_letter, now)).await;
    removed.map_err(|source| ReplayError::Remove { key: key(), source: Box::new(source) })?;
    Ok(Replayed::Published { user_id, event_id, position })
}
