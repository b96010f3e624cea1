//! Events and records for the tests of this crate.

use domain::headers::{CE_TIME, for_event};
use domain::{Facts, Position, UnixMillis, User, UserEvent, UserId, wire};
use kafka::Record;

pub(crate) const NOW: UnixMillis = UnixMillis::from_millis(1_700_000_000_000);

/// Returns the event that changed a user's name (`A>B`) at that second.
pub(crate) fn change(user: i64, names: &str, second: u32) -> UserEvent {
    let (from, to) = names.split_once('>').unwrap();
    event(user, Some(from), to, second)
}

/// Returns the event that gave a user the name `to` at that second; without `from` it is the creation.
pub(crate) fn event(user: i64, from: Option<&str>, to: &str, second: u32) -> UserEvent {
    let user = |name: &str| User { name: Some(name.to_owned()), ..User::new(UserId::new(user).unwrap()) };
    UserEvent::new(Facts {
        old: from.map(user),
        new: user(to),
        timestamp: format!("2017-06-06T10:00:{second:02}Z"),
        received_at: NOW,
        password_changed: false,
        extra: Default::default(),
        omitted: Vec::new(),
    })
    .unwrap()
}

pub(crate) fn record(position: Position, event: &UserEvent) -> Record {
    let headers = for_event(event, None).into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
    Record {
        position,
        leader_epoch: None,
        timestamp: event.received_at,
        key: Some(event.user_id.to_string().into_bytes()),
        value: Some(wire::encode(event)),
        headers: headers.collect(),
    }
}

pub(crate) fn tombstone(position: Position, user: i64, second: u32) -> Record {
    let at = format!("2017-06-06T10:00:{second:02}Z");
    Record {
        position,
        leader_epoch: None,
        timestamp: NOW,
        key: Some(user.to_string().into_bytes()),
        value: None,
        headers: vec![(CE_TIME.to_owned(), at.into_bytes())],
    }
}
