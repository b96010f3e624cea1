//! An event: the content of one webhook, and the values derived from it.

mod changed;
mod kind;

use std::collections::BTreeMap;

use crate::{EventId, TimestampError, UnixMillis, User, UserId, Version};

pub use changed::{FieldChange, FieldValue};
pub use kind::EventType;

/// One User Created or User Changed webhook. [`UserEvent::new`] derives the values that the vendor does not send.
///
/// ```
/// use domain::{EventType, Facts, UnixMillis, User, UserEvent, UserId};
///
/// let event = UserEvent::new(Facts {
///     old: None,
///     new: User::new(UserId::new(180)?),
///     timestamp: "2017-06-06T10:53:43+02:00".to_owned(),
///     received_at: UnixMillis::from_millis(1_496_739_224_000),
///     password_changed: false,
///     extra: Default::default(),
///     omitted: Vec::new(),
/// })?;
/// assert_eq!(event.kind, EventType::Created);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    pub user_id: UserId,
    pub kind: EventType,
    pub occurred_at: UnixMillis,
    /// Digest of `new`.
    pub version: Version,
    /// Digest of `old`, the state that the event was built on.
    pub parent: Option<Version>,
    pub event_id: EventId,
    /// When the webhook arrived; also the record's Kafka timestamp.
    pub received_at: UnixMillis,
    /// The vendor's timestamp, exactly as sent.
    pub timestamp: String,
    pub password_changed: bool,
    pub new: User,
    pub old: Option<User>,
    /// Members of the request object that the vendor's page does not name: name to JSON text, its numbers as sent.
    pub extra: BTreeMap<String, String>,
    /// Fields that were left out on purpose, in `new` and in `old`.
    pub omitted: Vec<String>,
}

/// The content of a webhook, read and checked. Nothing is derived yet.
#[derive(Clone, Debug)]
pub struct Facts {
    pub old: Option<User>,
    pub new: User,
    pub timestamp: String,
    pub received_at: UnixMillis,
    pub password_changed: bool,
    pub extra: BTreeMap<String, String>,
    pub omitted: Vec<String>,
}

/// The part of an event that decides its order: the first fields of the Avro record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub user_id: UserId,
    pub kind: EventType,
    pub occurred_at: UnixMillis,
    pub version: Version,
    pub parent: Option<Version>,
    pub event_id: EventId,
    /// When the delivery arrived. It decides between two copies of one event, and between two events of one second.
    pub received_at: UnixMillis,
}

/// The reason why facts do not make an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    #[error("old and new are different users: {old} and {new}")]
    Identity { old: UserId, new: UserId },
    #[error("timestamp is not an instant")]
    Timestamp(#[source] TimestampError),
}

impl UserEvent {
    /// Returns the event with these facts.
    ///
    /// # Errors
    /// [`FactsError`] when `old` and `new` have different identifiers, or when the timestamp is not an instant.
    pub fn new(facts: Facts) -> Result<Self, FactsError> {
        if let Some(old) = facts.old.as_ref().filter(|old| old.user_id != facts.new.user_id) {
            return Err(FactsError::Identity { old: old.user_id, new: facts.new.user_id });
        }
        let occurred_at = UnixMillis::parse_iso8601(&facts.timestamp).map_err(FactsError::Timestamp)?;
        let kind = if facts.old.is_some() { EventType::Changed } else { EventType::Created };
        Ok(Self::derived(facts, kind, occurred_at))
    }

    /// Returns the event of a user on a list of users as of `as_of`, read at `received_at`, without the fields in
    /// `omitted`. The same list gives the same events again.
    pub fn imported(user: User, as_of: UnixMillis, received_at: UnixMillis, omitted: Vec<String>) -> Self {
        let facts = Facts {
            old: None,
            new: user,
            timestamp: as_of.to_string(),
            received_at,
            password_changed: false,
            extra: BTreeMap::new(),
            omitted,
        };
        Self::derived(facts, EventType::Imported, as_of)
    }

    fn derived(facts: Facts, kind: EventType, occurred_at: UnixMillis) -> Self {
        let Facts { old, new, timestamp, received_at, password_changed, extra, omitted } = facts;
        let version = new.version();
        let parent = old.as_ref().map(User::version);
        Self {
            user_id: new.user_id,
            kind,
            occurred_at,
            version,
            parent,
            event_id: EventId::derive(new.user_id, kind, &timestamp, version, parent),
            received_at,
            timestamp,
            password_changed,
            new,
            old,
            extra,
            omitted,
        }
    }

    pub fn head(&self) -> Head {
        Head {
            user_id: self.user_id,
            kind: self.kind,
            occurred_at: self.occurred_at,
            version: self.version,
            parent: self.parent,
            event_id: self.event_id,
            received_at: self.received_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(old: Option<i64>, new: i64, timestamp: &str) -> Facts {
        let user = |id| User::new(UserId::new(id).unwrap());
        Facts {
            old: old.map(user),
            new: user(new),
            timestamp: timestamp.to_owned(),
            received_at: UnixMillis::from_millis(0),
            password_changed: false,
            extra: BTreeMap::new(),
            omitted: Vec::new(),
        }
    }

    #[test]
    fn the_kind_and_the_parent_follow_old() {
        let created = UserEvent::new(facts(None, 1, "2017-06-06T10:53:43Z")).unwrap();
        assert_eq!((created.kind, created.parent), (EventType::Created, None));
        let changed = UserEvent::new(facts(Some(1), 1, "2017-06-06T10:53:43Z")).unwrap();
        assert_eq!((changed.kind, changed.parent), (EventType::Changed, Some(created.version)));
    }

    #[test]
    fn a_repeated_delivery_has_the_same_identifier_whenever_it_is_received() {
        let first = UserEvent::new(facts(None, 1, "2017-06-06T10:53:43Z")).unwrap();
        let mut again = facts(None, 1, "2017-06-06T10:53:43Z");
        again.received_at = UnixMillis::from_millis(99);
        assert_eq!(UserEvent::new(again).unwrap().event_id, first.event_id);
    }

    #[test]
    fn a_list_gives_the_same_event_again_and_any_webhook_ranks_above_it() {
        let (as_of, received_at) = (UnixMillis::from_millis(1_600_000_000_000), UnixMillis::from_millis(i64::MAX / 2));
        let user = || User::new(UserId::new(1).unwrap());
        let imported = UserEvent::imported(user(), as_of, received_at, Vec::new());
        let again = UserEvent::imported(user(), as_of, as_of, Vec::new());
        assert_eq!((imported.kind, imported.occurred_at, imported.parent), (EventType::Imported, as_of, None));
        assert_eq!((imported.timestamp.as_str(), again.event_id), ("2020-09-13T12:26:40Z", imported.event_id));
        let created = UserEvent::new(Facts { received_at, ..facts(None, 1, "2017-06-06T10:53:43Z") }).unwrap();
        assert!(created.head().rank() > imported.head().rank());
    }

    #[test]
    fn two_users_or_no_time_are_no_event() {
        assert!(matches!(UserEvent::new(facts(Some(1), 2, "2017-06-06T10:53:43Z")), Err(FactsError::Identity { .. })));
        assert!(matches!(UserEvent::new(facts(None, 2, "now")), Err(FactsError::Timestamp(_))));
    }
}
