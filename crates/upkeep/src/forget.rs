//! Forgetting a user: what is removed at once, what compaction removes, and by when.
//!
//! The user's records on `vcc.users` end in a tombstone, which compaction makes the only one and then removes, too. Dead letters
//! that name the user get a tombstone each. Late deliveries are deleted, with those of others kept: see `late`.

mod as_of;

mod late;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::topics::Names;
use domain::{Letter, Position, UnixMillis, UserId};
use kafka::ClientOptions;
use kafka::publish::{Outgoing, Publisher};

use crate::letters::{self, Kept};
pub use late::Late;

/// Whether a dead letter is about the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mention {
    Yes,
    No,
    /// Nobody can read the letter.
    CannotTell,
}

/// What forgetting a user came to.
#[derive(Clone, Debug)]
pub struct Forgotten {
    /// The tombstone.
    pub position: Position,
    /// As of when: what happened up to then does not bring the user back.
    pub at: UnixMillis,
    /// When the user's newest record, before the tombstone, says that it happened; `None` when there was no record.
    pub newest: Option<UnixMillis>,
    /// Dead letters that named the user, now removed; compaction takes their bodies.
    pub dead_letters_removed: usize,
    /// Dead letters that nobody can read: whether they are about the user is not known.
    pub dead_letters_unreadable: usize,
    pub late: Late,
    pub deadlines: Deadlines,
}

/// By when compaction and retention have removed what is left, from the topics' real settings; `None` where the broker does not
/// describe them, or sets no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// The user's events on `vcc.users`: from then on the cleaner takes them at its next pass.
    pub events: Option<UnixMillis>,
    /// The tombstone itself.
    pub tombstone: Option<UnixMillis>,
    /// The bodies of the dead letters.
    pub dead_letters: Option<UnixMillis>,
    /// The late deliveries, where the cluster does not let them be deleted, or their bytes in its files.
    pub late: Option<UnixMillis>,
}

/// Why a user is not, or not wholly, forgotten; running it again is harmless.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the user's events could not be looked through")]
    Users(#[source] kafka::scan::Error),
    #[error(
        "the user's newest event happened at {newest}, which is after {at}: it would bring the user back, so nothing was done; \
         ask for a later time, or for none"
    )]
    Outdated { at: UnixMillis, newest: UnixMillis },
    #[error("the tombstone was not published")]
    Tombstone(#[source] Box<kafka::publish::Error>),
    #[error("the dead letters could not be looked through")]
    DeadLetters(#[source] kafka::scan::Error),
    #[error("dead letter {key} was not removed")]
    Remove { key: String, source: Box<kafka::publish::Error> },
    #[error("the late deliveries could not be looked through")]
    Late(#[source] kafka::scan::Error),
    #[error("a late delivery of another user was not appended again, so none was deleted")]
    LateNotKept(#[source] Box<kafka::publish::Error>),
    #[error("the late deliveries were not deleted")]
    LateNotDeleted(#[source] kafka::topics::NotDeleted),
}

/// How long the cluster may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Forgets `user_id` as of `at`, or when that is not said as of `now` or of the user's newest event, whichever is later; events
/// that happened later bring the user back, earlier ones do not. `mentions` tells which dead letters
/// are about the user.
///
/// # Errors
/// [`Error`], by how far it came.
pub async fn forget(
    kafka: &ClientOptions,
    topics: &Names,
    publisher: &Publisher,
    mentions: impl Fn(&Letter) -> Mention + Send + 'static,
    user_id: UserId,
    at: Option<UnixMillis>,
    now: UnixMillis,
) -> Result<Forgotten, Error> {
    let (options, topic) = (kafka.clone(), topics.users.clone());
    let newest = tokio::task::spawn_blocking(move || as_of::newest(&options, &topic, user_id));
    let newest = newest.await.expect("reading events does not panic").map_err(Error::Users)?;
    let at = as_of::as_of(at, now, newest.as_ref())?;
    let tombstone = Outgoing::forgotten(user_id, &topics.users, at, now);
    let position = publisher.publish(tombstone).await.map_err(|error| Error::Tombstone(Box::new(error)))?;

    let (options, topic) = (kafka.clone(), topics.dead_letter.clone());
    let about = tokio::task::spawn_blocking(move || Ok(sort(letters::list(&options, &topic)?, mentions)));
    let Sorted { about, unreadable } =
        about.await.expect("reading dead letters does not panic").map_err(Error::DeadLetters)?;
    for letter in &about {
        let removed = publisher.publish(letter.removal(&topics.dead_letter, now)).await;
        removed.map_err(|error| Error::Remove { key: letter.key.clone(), source: Box::new(error) })?;
    }

    let late = late::remove(kafka, &topics.late, publisher, user_id).await?;
    Ok(Forgotten {
        position,
        at,
        newest: newest.map(|newest| newest.rank().time()),
        dead_letters_removed: about.len(),
        dead_letters_unreadable: unreadable,
        deadlines: deadlines(kafka, topics, now, late.newest).await,
        late,
    })
}

struct Sorted {
    about: Vec<Kept>,
    unreadable: usize,
}

fn sort(letters: Vec<Kept>, mentions: impl Fn(&Letter) -> Mention) -> Sorted {
    let mut sorted = Sorted { about: Vec::new(), unreadable: 0 };
    for kept in letters {
        match mentions(&kept.letter) {
            Mention::Yes => sorted.about.push(kept),
            Mention::No => {}
            Mention::CannotTell => sorted.unreadable += 1,
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
    let events = after(now, &users, "max.compaction.lag.ms");
    Deadlines {
        events,
        tombstone: events.and_then(|events| after(events, &users, "delete.retention.ms")),
        dead_letters: after(now, &dead_letter, "retention.ms"),
        late: newest_late.and_then(|newest| {
            // A segment goes as a whole, once its last record is old enough; it is closed after segment.ms at the latest.
            let closed = after(newest, &late_topic, "segment.ms")?;
            after(closed, &late_topic, "retention.ms")
        }),
    }
}

/// Kafka's way to say "never" is the largest long, or -1.
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
        let settings = |value: &str| BTreeMap::from([("retention.ms".to_owned(), value.to_owned())]);
        let from = UnixMillis::from_millis(1_000);
        assert_eq!(after(from, &settings("500"), "retention.ms"), Some(UnixMillis::from_millis(1_500)));
        for never in ["9223372036854775807", "-1", "x"] {
            assert_eq!(after(from, &settings(never), "retention.ms"), None);
        }
        assert_eq!(after(from, &BTreeMap::new(), "retention.ms"), None);
    }
}
