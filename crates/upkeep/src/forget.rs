//! Forgets a user: what is removed at once, what compaction removes, and by when.
//!
//! A tombstone on each partition of `vcc.users` that holds the user ends the user's records there, and compaction
//! removes them. (Where partitions were added, a user has records on several.) The keeper appends each tombstone once
//! more when `max.compaction.lag.ms` has passed, because a segment closes on an append only, and later again before it
//! expires. Dead letters that name the user get a tombstone each. Late deliveries are deleted, and those of other
//! users are kept: see `late`.

mod as_of;

mod error;

mod held;

mod late;

mod readable;

use std::collections::BTreeMap;

use domain::topics::{MAX_COMPACTION_LAG, Names, RETENTION, SEGMENT};
use domain::{Letter, Position, UnixMillis, UserId};
use kafka::ClientOptions;
use kafka::publish::{Outgoing, Publisher};
use service::registry::Schemas;

use crate::SILENCE_MAX;
use crate::letters::{self, Kept};
use crate::verify::Found;
pub use error::Error;
pub use held::{Held, look};
pub use late::Late;

/// Whether a dead letter is about the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mention {
    Yes,
    No,
    /// The letter does not tell whose it is.
    CannotTell,
}

/// The result of forgetting a user.
#[derive(Clone, Debug)]
pub struct Forgotten {
    /// The positions of the tombstones, one on each partition that holds a record of the user, and on that of the key.
    pub positions: Vec<Position>,
    /// The time as of which the user is forgotten. Events up to this time do not bring the user back.
    pub at: UnixMillis,
    /// The time of the user's newest record before the tombstone. `None` when there was no record.
    pub newest: Option<UnixMillis>,
    /// The number of dead letters that named the user and are now removed. Compaction removes their bodies.
    pub dead_letters_removed: usize,
    /// The keys of the dead letters that do not tell whose they are, and stay: perhaps they are about the user.
    pub dead_letters_perhaps: Found<String>,
    pub late: Late,
    pub deadlines: Deadlines,
}

/// The times by which compaction and retention have removed the rest, from the topics' actual settings. `None` where
/// the broker does not describe them, or where they set no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// The user's events on `vcc.users`, on every partition: the keeper appends the tombstones once more at this time,
    /// and the cleaner removes the events at its next pass.
    pub events: Option<UnixMillis>,
    /// The bodies of the dead letters.
    pub dead_letters: Option<UnixMillis>,
    /// The late deliveries, where the cluster does not permit their deletion, or else their bytes in the cluster's
    /// files.
    pub late: Option<UnixMillis>,
}

/// The cluster with the topics, and the schemas that records name by ids.
#[derive(Clone, Debug)]
pub struct Log {
    pub kafka: ClientOptions,
    pub topics: Names,
    pub schemas: Schemas,
}

impl Log {
    /// Returns the cluster with these topics, whose records name no schema by an id.
    pub fn new(kafka: ClientOptions, topics: Names) -> Self {
        Self { kafka, topics, schemas: Schemas::default() }
    }
}

/// Forgets `user_id` as of `at`. Without `at`, forgets as of the later of `now` and the user's newest event. Later
/// changes bring the user back, earlier ones do not. `mentions` returns whether a dead letter is about the user.
///
/// # Errors
/// [`Error::Nowhere`] when no topic has a record of the user: nothing is written. Others by the step that failed.
pub async fn forget(
    log: &Log,
    publisher: &Publisher,
    mentions: impl Fn(&Letter) -> Mention + Clone + Send + 'static,
    user_id: UserId,
    at: Option<UnixMillis>,
    now: UnixMillis,
) -> Result<Forgotten, Error> {
    let Log { kafka, topics, .. } = log;
    let held = look(log, mentions.clone(), user_id).await?;
    if held.is_nothing() {
        return Err(Error::Nowhere { user_id, dead_letters_perhaps: held.dead_letters_perhaps });
    }
    let at = as_of::as_of(at, now, held.state.as_ref())?;
    let mut positions = Vec::new();
    for partition in held.marked() {
        let tombstone = Outgoing { partition: Some(partition), ..Outgoing::forgotten(user_id, &topics.users, at, now) };
        let position = publisher.publish(tombstone).await;
        positions.push(position.map_err(|error| Error::Tombstone { partition, source: Box::new(error) })?);
    }

    readable::wait(kafka, &topics.users, &positions).await?;

    let (options, topic) = (kafka.clone(), topics.dead_letter.clone());
    let about = tokio::task::spawn_blocking(move || Ok(sort(letters::list(&options, &topic)?, mentions)));
    let Sorted { about, perhaps } =
        about.await.expect("reading dead letters does not panic").map_err(Error::DeadLetters)?;
    for letter in &about {
        let removed = publisher.publish(letter.removal(&topics.dead_letter, now)).await;
        removed.map_err(|error| Error::Remove { key: letter.key.clone(), source: Box::new(error) })?;
    }

    let late = late::remove(kafka, &topics.late, publisher, user_id).await?;
    Ok(Forgotten {
        positions,
        at,
        newest: held.state.map(|newest| newest.rank().time()),
        dead_letters_removed: about.len(),
        dead_letters_perhaps: perhaps,
        deadlines: deadlines(kafka, topics, now, late.newest).await,
        late,
    })
}

struct Sorted {
    about: Vec<Kept>,
    perhaps: Found<String>,
}

fn sort(letters: Vec<Kept>, mentions: impl Fn(&Letter) -> Mention) -> Sorted {
    let mut sorted = Sorted { about: Vec::new(), perhaps: Found::default() };
    for kept in letters {
        match mentions(&kept.letter) {
            Mention::Yes => sorted.about.push(kept),
            Mention::No => {}
            Mention::CannotTell => sorted.perhaps.push(kept.key),
        }
    }
    sorted
}

async fn deadlines(
    kafka: &ClientOptions,
    topics: &Names,
    now: UnixMillis,
    newest_late: Option<UnixMillis>,
) -> Deadlines {
    let settings = async |topic: &str| {
        let described = kafka::topics::describe(kafka, topic, SILENCE_MAX).await;
        described.ok().and_then(|description| description.settings).unwrap_or_default()
    };
    let (users, dead_letter, late_topic) =
        (settings(&topics.users).await, settings(&topics.dead_letter).await, settings(&topics.late).await);
    Deadlines {
        events: after(now, &users, MAX_COMPACTION_LAG),
        dead_letters: after(now, &dead_letter, RETENTION),
        late: newest_late.and_then(|newest| {
            // Retention deletes a segment as a whole, once its last record is old enough. A segment is closed after
            // segment.ms at the latest.
            let closed = after(newest, &late_topic, SEGMENT)?;
            after(closed, &late_topic, RETENTION)
        }),
    }
}

/// Kafka writes "never" as the largest long, or as -1.
fn after(from: UnixMillis, settings: &BTreeMap<String, String>, name: &str) -> Option<UnixMillis> {
    let wait: i64 = settings.get(name)?.parse().ok()?;
    let at = from.millis().checked_add(wait).filter(|_| wait >= 0)?;
    Some(UnixMillis::from_millis(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_from_the_settings_or_are_not_known() {
        let settings = |value: &str| BTreeMap::from([(RETENTION.to_owned(), value.to_owned())]);
        let from = UnixMillis::from_millis(1_000);
        assert_eq!(after(from, &settings("500"), RETENTION), Some(UnixMillis::from_millis(1_500)));
        for never in ["9223372036854775807", "-1", "x"] {
            assert_eq!(after(from, &settings(never), RETENTION), None);
        }
        assert_eq!(after(from, &BTreeMap::new(), RETENTION), None);
    }
}
