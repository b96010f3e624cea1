//! Users, events and heads, made from as little as a test wants to say.

use domain::{EventId, EventType, Facts, Head, UnixMillis, User, UserEvent, UserId, Version};

/// Returns the user `id` whose name is `name`; all else follows from the identifier.
pub fn user(id: i64, name: &str) -> User {
    User {
        name: Some(name.to_owned()),
        username: Some(format!("user{id}")),
        email: Some(format!("user{id}@example.com")),
        extension: Some((id % 1000).to_string()),
        state: Some("active".to_owned()),
        is_agent: Some(id % 2 == 0),
        priv_group: Some(id % 5),
        ..User::new(user_id(id))
    }
}

/// Returns the event that made `new` of `old`, which occurred and arrived at `second` after the epoch.
pub fn event(old: Option<User>, new: User, second: i64) -> UserEvent {
    let at = at(second);
    let (timestamp, received_at) = (at.to_string(), at);
    UserEvent::new(Facts { old, new, timestamp, received_at, password_changed: false, extra: Default::default() })
        .unwrap()
}

/// Returns the creation of user `id` with that name.
pub fn created(id: i64, name: &str, second: i64) -> UserEvent {
    event(None, user(id, name), second)
}

/// Returns the change of the name of user `id`.
pub fn changed(id: i64, from: &str, to: &str, second: i64) -> UserEvent {
    event(Some(user(id, from)), user(id, to), second)
}

/// Returns the head of an event of user `id`: of its creation without a `parent`, else of a change from state `parent`
/// to `version`. It arrived when it occurred.
pub fn head(id: i64, parent: Option<u8>, version: u8, second: i64) -> Head {
    let digest = |state: u8| Version::from_bytes([state; 16]);
    let (user_id, occurred_at) = (user_id(id), at(second));
    let (version, parent) = (digest(version), parent.map(digest));
    Head {
        user_id,
        kind: if parent.is_none() { EventType::Created } else { EventType::Changed },
        occurred_at,
        version,
        parent,
        event_id: EventId::derive(user_id, &occurred_at.to_string(), version, parent),
        received_at: occurred_at,
    }
}

/// Returns an identifier.
pub fn user_id(id: i64) -> UserId {
    UserId::new(id).unwrap()
}

/// Returns the time so many seconds after the epoch.
pub fn at(second: i64) -> UnixMillis {
    UnixMillis::from_millis(second * 1000)
}
