//! What is done with dead letters later: listed, shown, and replayed through the same pipeline.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use domain::{EventId, Position, UnixMillis, UserId};
use log::ClientOptions;
use log::publish::{Outgoing, Publisher};

use super::DeadLetter;
use crate::Rejection;
use crate::pipeline::{self, BodyPolicy};
use crate::publish::outgoing;

/// How long the cluster may be silent while the topic is read.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The dead letters of a cluster.
#[derive(Clone, Debug)]
pub struct Store {
    pub options: ClientOptions,
    pub topics: log::topics::Names,
}

/// A dead letter with the place where it is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    pub letter: DeadLetter,
    /// The record's key, by which the letter is named.
    pub key: String,
    pub position: Position,
}

/// Dead letters in the order of their receipt.
pub type List = Vec<Kept>;

/// What a replay did with one dead letter.
#[derive(Clone, Debug)]
pub struct Replayed {
    pub key: String,
    pub outcome: Outcome,
}

/// How a dead letter fared the second time.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It would pass now; nothing was written.
    WouldPass { user_id: UserId, event_id: EventId },
    /// It passed: the event is on `vcc.users`, the dead letter is removed.
    Published { user_id: UserId, event_id: EventId, position: Position },
    /// It is still refused, and stays.
    Refused(Rejection),
}

/// Why dead letters could not be read or replayed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the dead letters cannot be read")]
    Read(#[source] log::tail::Error),
    #[error("the event of dead letter {key} was not published")]
    Publish { key: String, source: Box<log::publish::Error> },
    #[error(
        "the event of dead letter {key} was published, but the letter was not removed; replaying it again is harmless"
    )]
    Remove { key: String, source: Box<log::publish::Error> },
}

impl Store {
    /// Returns the dead letters that are there now: the last of each key, and none that was removed. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn list(&self) -> Result<List, StoreError> {
        let topic = &self.topics.dead_letter;
        let ranges = log::scan::ranges(&self.options, topic, SILENCE_MAX).map_err(StoreError::Read)?;
        let mut letters: BTreeMap<Vec<u8>, Kept> = BTreeMap::new();
        log::scan::scan(&self.options, topic, &ranges, SILENCE_MAX, |record| {
            let key = record.key().unwrap_or_default().to_vec();
            match record.value() {
                Some(value) => {
                    let header =
                        |name: &str| record.header(name).map(|value| String::from_utf8_lossy(value).into_owned());
                    let letter = DeadLetter::from_record(value, header, record.timestamp());
                    let name = String::from_utf8_lossy(&key).into_owned();
                    letters.insert(key, Kept { letter, key: name, position: record.position() });
                }
                None => drop(letters.remove(&key)),
            }
            ControlFlow::Continue(())
        })
        .map_err(StoreError::Read)?;
        let mut list: List = letters.into_values().collect();
        list.sort_by_key(|kept| (kept.letter.received_at(), kept.position));
        Ok(list)
    }

    /// Returns the dead letters whose key begins with `prefix`. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Read`].
    pub fn find(&self, prefix: &str) -> Result<List, StoreError> {
        let mut list = self.list()?;
        list.retain(|kept| kept.key.starts_with(prefix));
        Ok(list)
    }

    /// Sends `kept` through the pipeline once more; what passes is published, and its dead letter removed by a tombstone, in this
    /// order: stopping in between repeats an event, which is harmless, and loses none.
    ///
    /// The event keeps the time at which its body was first received. Without a `publisher` nothing is written.
    ///
    /// # Errors
    /// [`StoreError::Publish`] and [`StoreError::Remove`], when Kafka does not acknowledge.
    pub async fn replay(
        &self,
        kept: &Kept,
        policy: &BodyPolicy,
        publisher: Option<&Publisher>,
        now: UnixMillis,
    ) -> Result<Replayed, StoreError> {
        let key = kept.key.clone();
        let event = match pipeline::accept_again(&kept.letter, policy, kept.letter.received_at()) {
            Ok(event) => event,
            Err(refused) => return Ok(Replayed { key, outcome: Outcome::Refused(refused.rejection) }),
        };
        let (user_id, event_id) = (event.user_id, event.event_id);
        let Some(publisher) = publisher else {
            return Ok(Replayed { key, outcome: Outcome::WouldPass { user_id, event_id } });
        };
        // The cleaner measures age on the record's timestamp: a record of long ago could be compacted before it is seen.
        let record = Outgoing { timestamp: now, ..outgoing(&event, &self.topics.users, None) };
        let position = match publisher.publish(record).await {
            Ok(position) => position,
            Err(source) => return Err(StoreError::Publish { key, source: Box::new(source) }),
        };
        let removal = Outgoing {
            topic: self.topics.dead_letter.clone(),
            key: kept.key.clone().into_bytes(),
            value: None,
            headers: Vec::new(),
            timestamp: now,
            partition: Some(kept.position.partition),
        };
        match publisher.publish(removal).await {
            Ok(_) => Ok(Replayed { key, outcome: Outcome::Published { user_id, event_id, position } }),
            Err(source) => Err(StoreError::Remove { key, source: Box::new(source) }),
        }
    }
}
