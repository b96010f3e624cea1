//! Replays dead letters. A replay is a delivery: it passes the gate's rule, and its time is that of the replay.
//!
//! An event that was ahead when it was received is accepted once its time has come. An event of a forgotten user leaves
//! nothing of the user. Letters of one event are replayed together: each of the sender's attempts, encrypted with a
//! vector of its own, leaves a letter.

use std::collections::HashMap;

use domain::headers::LETTER_RECEIVED_AT;
use domain::roll::Standing;
use domain::{EventId, TopicPosition, UnixMillis, UserEvent};
use upkeep::Table;
use upkeep::letters::Kept;

use crate::transport::BodyPolicy;
use crate::users::Destination;
use crate::{Rejection, pipeline};

/// Letters, sorted for a replay.
#[derive(Debug, Default)]
pub struct Sorted {
    /// In the order of the rule, so that no event supersedes another one of the replay.
    pub events: Vec<Replay>,
    pub refused: Vec<(Kept, Refusal)>,
}

/// An event, and the letters that hold it.
#[derive(Debug)]
pub struct Replay {
    event: UserEvent,
    /// At least one; the first is the one received first.
    letters: Vec<Kept>,
}

/// The reason why a letter stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Rejection(Rejection),
    #[error("it is a copy of the unreadable record at {position}, and no delivery: {reason}")]
    Record { position: String, reason: String },
}

/// The reason why an event was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the event of dead letter {key} was not published")]
    Publish { key: String, source: Box<kafka::publish::Error> },
    #[error(
        "the event of dead letter {key} was published, but the letter was not removed; replaying it again is harmless"
    )]
    Remove { key: String, source: Box<kafka::publish::Error> },
}

/// Sends `letters`, ordered by receipt, through the pipeline again, as received at `now`.
pub fn sort(letters: Vec<Kept>, policy: &BodyPolicy, now: UnixMillis) -> Sorted {
    let mut sorted = Sorted::default();
    let mut known: HashMap<EventId, usize> = HashMap::new();
    for kept in letters {
        let event = match read(&kept, policy, now) {
            Ok(event) => event,
            Err(refusal) => {
                sorted.refused.push((kept, refusal));
                continue;
            }
        };
        match known.get(&event.event_id) {
            Some(at) => sorted.events[*at].letters.push(kept),
            None => {
                known.insert(event.event_id, sorted.events.len());
                sorted.events.push(Replay { event, letters: vec![kept] });
            }
        }
    }
    sorted.events.sort_by_key(|replay| replay.event.head().rank());
    sorted
}

fn read(kept: &Kept, policy: &BodyPolicy, now: UnixMillis) -> Result<UserEvent, Refusal> {
    let letter = &kept.letter;
    if letter.is_of_record() {
        let position = letter.record.as_ref().map(|record| record.position.to_string());
        let position = position.unwrap_or_else(|| "an unknown position".to_owned());
        return Err(Refusal::Record { position, reason: letter.reason.clone() });
    }
    pipeline::accept_again(letter, policy, now).map_err(Refusal::Rejection)
}

impl Replay {
    pub fn event(&self) -> &UserEvent {
        &self.event
    }

    pub fn letters(&self) -> &[Kept] {
        &self.letters
    }

    /// Returns how the event stands to what is known of its user.
    pub fn standing(&self, table: &Table) -> Standing {
        let Some(key) = table.key(self.event.user_id) else { return Standing::News };
        key.roll.standing_of_letter(&self.event.head(), self.received_at())
    }

    /// Writes the event where its `standing` says, then removes its letters, and returns its position or that of the
    /// record by which it stands so. In this order, an interruption repeats an event, which is harmless, and loses
    /// none.
    ///
    /// # Errors
    /// [`ReplayError`], when Kafka does not acknowledge.
    pub async fn deliver(&self, standing: Standing, to: &Destination<'_>) -> Result<TopicPosition, ReplayError> {
        let key = |kept: &Kept| kept.key.clone();
        let received_at = (LETTER_RECEIVED_AT, self.received_at().to_string());
        let position = to
            .store(&self.event, standing, &[received_at])
            .await
            .map_err(|source| ReplayError::Publish { key: key(&self.letters[0]), source: Box::new(source) })?;
        for kept in &self.letters {
            let removed = to.publisher.publish(kept.removal(&to.topics.dead_letter, self.event.received_at)).await;
            removed.map_err(|source| ReplayError::Remove { key: key(kept), source: Box::new(source) })?;
        }
        Ok(position)
    }

    fn received_at(&self) -> UnixMillis {
        self.letters[0].letter.received_at
    }
}
