//! The reasons why a user is not forgotten.

use domain::{Position, UnixMillis, UserId};
use kafka::topics::Hold;

/// The reason why a user is not, or not completely, forgotten. Running it again is safe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the user's events could not be read")]
    Users(#[source] crate::Error),
    #[error("{at} is in the future (it is {now}), so nothing was done; choose an earlier time, or none")]
    Future { at: UnixMillis, now: UnixMillis },
    #[error(
        "the user's newest event happened at {newest}, which is after {at}: it would bring the user back, \
         so nothing was done; choose a later time, or none"
    )]
    Outdated { at: UnixMillis, newest: UnixMillis },
    #[error(
        "user {user_id} is on no topic: there is no record, no late delivery and no dead letter about it \
         (dead letters that do not tell whose they are: {dead_letters_perhaps}), so nothing was done"
    )]
    Nowhere { user_id: UserId, dead_letters_perhaps: u64 },
    #[error("the tombstone on partition {partition} was not published")]
    Tombstone { partition: i32, source: Box<kafka::publish::Error> },
    #[error("the tombstone at {position} was written, and readers do not get it yet: {hold}")]
    HeldBack { position: Position, hold: Hold },
    #[error("the tombstone at {position} was written, but the leader of its partition does not say whether it is read")]
    Unsaid { position: Position },
    #[error("the tombstone was written, but the cluster does not say whether it is read")]
    Unconfirmed(#[source] kafka::topics::Error),
    #[error("the dead letters could not be read")]
    DeadLetters(#[source] kafka::scan::Error),
    #[error("dead letter {key} was not removed")]
    Remove { key: String, source: Box<kafka::publish::Error> },
    #[error("the late deliveries could not be read")]
    Late(#[source] kafka::scan::Error),
    #[error("a late delivery of another user was not appended again, so none was deleted")]
    LateNotKept(#[source] Box<kafka::publish::Error>),
    #[error("the late deliveries were not deleted")]
    LateNotDeleted(#[source] kafka::topics::NotDeleted),
}
