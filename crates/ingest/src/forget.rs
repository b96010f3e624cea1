//! Forgetting a user: what is removed at once, what compaction removes, and by when.
//!
//! The user's records on `vcc.users` end in a tombstone, which compaction makes the only one and then removes, too. Dead letters
//! that name the user get a tombstone each. Late deliveries are deleted, with those of others kept: see `late`.

mod as_of;

mod late;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Position, UnixMillis, UserId, headers};
use log::ClientOptions;
use log::publish::{Outgoing, Publisher};
use serde_json::Value;

use crate::Topics;
use crate::dead_letter::{Kept, Store, StoreError};
use crate::pipeline::{BodyPolicy, decrypt_body};
pub use late::Late;

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
    Users(#[source] log::tail::Error),
    #[error(
        "the user's newest event happened at {newest}, which is after {at}: it would bring the user back, so nothing was done; \
         ask for a later time, or for none"
    )]
    Outdated { at: UnixMillis, newest: UnixMillis },
    #[error("the tombstone was not published")]
    Tombstone(#[source] Box<log::publish::Error>),
    #[error("the dead letters could not be looked through")]
    DeadLetters(#[source] StoreError),
    #[error("dead letter {key} was not removed")]
    Remove { key: String, source: Box<log::publish::Error> },
    #[error("the late deliveries could not be looked through")]
    Late(#[source] log::tail::Error),
    #[error("a late delivery of another user was not appended again, so none was deleted")]
    LateNotKept(#[source] Box<log::publish::Error>),
    #[error("the late deliveries were not deleted")]
    LateNotDeleted(#[source] log::topics::NotDeleted),
}

/// How long the cluster may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Forgets `user_id` as of `at`, or when that is not said as of `now` or of the user's newest event, whichever is later; events
/// that happened later bring the user back, earlier ones do not. `policy` reads encrypted dead letters.
///
/// # Errors
/// [`Error`], by how far it came.
pub async fn forget(
    kafka: &ClientOptions,
    topics: &Topics,
    publisher: &Publisher,
    policy: BodyPolicy,
    user_id: UserId,
    at: Option<UnixMillis>,
    now: UnixMillis,
) -> Result<Forgotten, Error> {
    let (options, topic) = (kafka.clone(), topics.users.clone());
    let newest = tokio::task::spawn_blocking(move || as_of::newest(&options, &topic, user_id));
    let newest = newest.await.expect("reading events does not panic").map_err(Error::Users)?;
    let at = as_of::as_of(at, now, newest.as_ref())?;
    let tombstone = Outgoing {
        topic: topics.users.clone(),
        key: user_id.to_string().into_bytes(),
        value: None,
        headers: headers::for_forgotten(user_id, at)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
            .collect(),
        timestamp: now,
        partition: None,
    };
    let position = publisher.publish(tombstone).await.map_err(|error| Error::Tombstone(Box::new(error)))?;

    let store = Store { options: kafka.clone(), topics: topics.clone() };
    let about = tokio::task::spawn_blocking(move || sort(store.list()?, &policy, user_id));
    let Sorted { about, unreadable } =
        about.await.expect("reading dead letters does not panic").map_err(Error::DeadLetters)?;
    for letter in &about {
        let removal = Outgoing {
            topic: topics.dead_letter.clone(),
            key: letter.key.clone().into_bytes(),
            value: None,
            headers: Vec::new(),
            timestamp: now,
            partition: Some(letter.position.partition),
        };
        let removed = publisher.publish(removal).await;
        removed.map_err(|error| Error::Remove { key: letter.key.clone(), source: Box::new(error) })?;
    }

    let late = late::remove(kafka, &topics.late, publisher, user_id).await?;
    Ok(Forgotten {
        position,
        at,
        newest: newest.as_ref().map(as_of::time),
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

fn sort(letters: Vec<Kept>, policy: &BodyPolicy, user_id: UserId) -> Result<Sorted, StoreError> {
    let mut sorted = Sorted { about: Vec::new(), unreadable: 0 };
    for kept in letters {
        // A body in clear text was kept because it was to be encrypted: it can be read all the same.
        let clear =
            decrypt_body(kept.letter.body(), kept.letter.iv(), policy).unwrap_or_else(|_| kept.letter.body().to_vec());
        match names(&clear, user_id) {
            Some(true) => sorted.about.push(kept),
            Some(false) => {}
            None => sorted.unreadable += 1,
        }
    }
    Ok(sorted)
}

/// Returns whether a body names the user; `None` when it cannot be read.
fn names(body: &[u8], user_id: UserId) -> Option<bool> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let is_user = |value: &Value| match value {
        Value::Number(number) => number.as_i64() == Some(user_id.get()),
        Value::String(text) => *text == user_id.to_string(),
        _ => false,
    };
    let mut ids = ["old", "new"].iter().flat_map(|member| ["userId", "userid"].map(|name| &value[*member][name]));
    Some(ids.any(is_user))
}

async fn deadlines(
    kafka: &ClientOptions,
    topics: &Topics,
    now: UnixMillis,
    newest_late: Option<UnixMillis>,
) -> Deadlines {
    let settings = async |topic: &str| {
        let described = log::topics::describe(kafka, topic, SILENCE_MAX).await;
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
    fn a_body_names_the_user_in_either_spelling() {
        let id = UserId::new(180).unwrap();
        for body in
            [r#"{"new":{"userId":180}}"#, r#"{"old":{"userid":"180"},"new":{}}"#, r#"{"new":{"userId":180,"x":[]}}"#]
        {
            assert_eq!(names(body.as_bytes(), id), Some(true), "{body}");
        }
        for body in [r#"{"new":{"userId":181}}"#, "[]", r#"{"new":{"name":"180"}}"#] {
            assert_eq!(names(body.as_bytes(), id), Some(false), "{body}");
        }
        assert_eq!(names(b"QmFzZTY0", id), None);
    }

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
