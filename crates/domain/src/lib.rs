//! The pure core of Rollcall: no runtime, server, broker, clock or I/O.
//!
//! ```text
//! json ──▶ User, UserEvent ──wire::encode──▶ value ──▶ Kafka ──▶ roll::read ──▶ Reading ──Roll::apply──▶ state, Effect
//!              │ headers::for_event ──▶ CloudEvents headers
//! ```
//!
//! | module | content |
//! | --- | --- |
//! | [`json`] | JSON as sent, with every digit of its numbers |
//! | [`User`], [`UserEvent`] | the vendor's fields, and the values derived from a webhook: [`Version`], [`EventId`] |
//! | [`order`] | the rank of a record: which of two is newer, or that they tie |
//! | [`roll`] | the effect of a record on its user, and the state of a key: the only definition |
//! | [`gap`] | missed deliveries, derived from the parents of events |
//! | [`Position`], [`Checkpoint`] | places in the log, and the progress of a reader |
//! | [`TopicPosition`], [`Positions`] | their names outside the process, with the [`TopicId`]: unique for ever |
//! | [`wire`], [`headers`], [`Letter`] | the bytes of a record's value, its headers, and a dead letter |
//! | [`topics`], [`client_property`] | the contract of the topics, and the secret properties of a Kafka client |
//! | [`TokenSource`], [`PasswordSource`] | where a Kafka client gets its tokens and its password from |
//!
//! Invariant: no type of this crate has a field for a password.
//!
//! ```
//! use domain::{EventType, Facts, Position, UnixMillis, User, UserEvent, UserId, roll, wire};
//!
//! let event = UserEvent::new(Facts {
//!     old: None,
//!     new: User::new(UserId::new(180)?),
//!     timestamp: "2017-06-06T10:53:43+02:00".to_owned(),
//!     received_at: UnixMillis::from_millis(1_496_739_224_000),
//!     password_changed: false,
//!     extra: Default::default(),
//!     omitted: Vec::new(),
//! })?;
//! let (value, position) = (wire::encode(&event), Position { partition: 0, offset: 18 });
//! let reading = roll::read(position, Some(b"180"), Some(&value), |_| None, event.received_at)?;
//! let (state, applied) = roll::Roll::begin(&reading);
//! assert_eq!((event.kind, state.position(), applied.changed), (EventType::Created, position, true));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod user_id;

mod time;

pub mod json;

mod digest;

mod user;

mod event;

pub mod order;

pub mod gap;

pub mod roll;

pub mod position;

pub mod wire;

pub mod headers;

pub mod topics;

pub mod client_property;

mod access_token;

mod password_source;

pub mod letter;

pub use access_token::{AccessToken, TokenError, TokenSource};
pub use digest::{EventId, Version};
pub use event::{EventType, Facts, FactsError, FieldChange, FieldValue, Head, UserEvent};
pub use letter::{Letter, Original};
pub use password_source::{PasswordError, PasswordSource};
pub use position::{
    Checkpoint, EpochMatch, LeaderEpochs, LogId, Position, PositionError, Positions, TopicId, TopicIdError,
    TopicPosition,
};
pub use time::{TimestampError, UnixMillis};
pub use user::{Field, FieldSource, User};
pub use user_id::{UserId, UserIdError};

/// The largest integer that every JSON reader keeps exactly: 2^53 - 1 (RFC 7493, section 2.2).
pub const SAFE_INTEGER_MAX: i64 = 9_007_199_254_740_991;
