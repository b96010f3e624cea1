//! Users and events from few arguments.

use domain::{Facts, LogId, TopicId, UnixMillis, User, UserEvent, UserId};

/// Returns the user `id` with that name. All other fields follow from the identifier.
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

/// Returns the event from `old` to `new` that occurred and arrived `second` seconds after the epoch.
pub fn event(old: Option<User>, new: User, second: i64) -> UserEvent {
    let at = at(second);
    let (timestamp, received_at) = (at.to_string(), at);
    UserEvent::new(Facts {
        old,
        new,
        timestamp,
        received_at,
        password_changed: false,
        extra: Default::default(),
        omitted: Vec::new(),
    })
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

/// Returns an identifier.
pub fn user_id(id: i64) -> UserId {
    UserId::new(id).unwrap()
}

/// Returns the time `second` seconds after the epoch.
pub fn at(second: i64) -> UnixMillis {
    UnixMillis::from_millis(second * 1000)
}

/// Returns the identity of a log on no cluster.
pub fn log_id() -> LogId {
    LogId { cluster: "c".to_owned(), topic: TopicId::from_bytes([1; 16]) }
}
