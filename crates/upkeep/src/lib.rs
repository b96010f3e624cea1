//! Keeps the log correct, beside the path of a webhook.
//!
//! | module | purpose |
//! | --- | --- |
//! | [`gate`] | keeps deliveries off the topic that are superseded or already stored |
//! | [`keeper`] | decides which keys must be appended again, and when |
//! | [`Upkeep`] | reads the topic for both, and appends the keeper's repairs |
//! | [`verify`] | reads the whole log and reports deviations from Rollcall's guarantees |
//! | [`forget`] | removes a user from every topic |
//! | [`letters`] | reads the dead letters |
//! | [`copy`] | copies the state of every key to a topic with another number of partitions |
//!
//! Gate and keeper share one [`Table`], which one reader of all partitions updates. [`domain::roll`] alone decides the
//! effect of a record.
//!
//! ```
//! use domain::roll::Standing;
//! use domain::{Facts, Position, UnixMillis, User, UserEvent, UserId, wire};
//! use upkeep::Table;
//!
//! let event = |time: &str| {
//!     UserEvent::new(Facts {
//!         old: Some(User::new(UserId::new(180)?)),
//!         new: User::new(UserId::new(180)?),
//!         timestamp: time.to_owned(),
//!         received_at: UnixMillis::from_millis(1_496_739_224_000),
//!         password_changed: false,
//!         extra: Default::default(),
//!         omitted: Vec::new(),
//!     })
//!     .map_err(Box::<dyn std::error::Error>::from)
//! };
//! let (newer, older) = (event("2017-06-06T10:53:43+02:00")?, event("2017-06-06T10:44:18+02:00")?);
//! let position = Position { partition: 0, offset: 18 };
//!
//! let mut table = Table::default();
//! table.take(&kafka::Record {
//!     position,
//!     leader_epoch: None,
//!     timestamp: newer.received_at,
//!     key: Some(b"180".to_vec()),
//!     value: Some(wire::encode(&newer)),
//!     headers: Vec::new(),
//! })?;
//! assert_eq!(table.judge(&newer.head()), Standing::Known(position));
//! assert_eq!(table.judge(&older.head()), Standing::Older(position));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod table;

mod retention;

pub mod gate;

pub mod keeper;

pub mod state_topic;

mod follow;

mod reader;

pub mod verify;

pub mod forget;

pub mod letters;

pub mod copy;

#[cfg(test)]
mod fixture;

pub use follow::Upkeep;
pub use gate::Gate;
pub use reader::Error;
pub use retention::Retention;
pub use table::Table;

/// The longest silence of the cluster while a topic is read as a whole.
pub(crate) const SILENCE_MAX: std::time::Duration = std::time::Duration::from_secs(30);
