//! The pure core of Rollcall: no runtime, server, broker, clock or I/O.
//!
//! A webhook of VCC Live becomes a [`UserEvent`]; events travel as Avro ([`wire`]) in records keyed by [`UserId`]; and
//! [`fold::apply`] turns the records of one key into its state, by the one definition of "newer" in [`order`].
//!
//! ```text
//! UserEvent ──wire::encode──▶ value ──▶ Kafka ──▶ record::read ──▶ RecordHead ──fold::apply──▶ KeyState + Effect
//!    │ headers::for_event ──▶ CloudEvents headers              (value's head only: the payload stays with the caller)
//! ```
//!
//! Reading order:
//! - [`UserId`], [`UnixMillis`], [`Version`], [`EventId`]: what must not be confused with a bare number or text.
//! - [`json`]: what the vendor sends, with every digit.
//! - [`User`] and [`UserEvent`]: the vendor's facts, and what is derived from them.
//! - [`order`], [`fold`], [`gap`]: which record of a key wins, and what the loser tells us.
//! - [`Position`] and [`Checkpoint`]: where in the log a reader is.
//! - [`wire`], [`headers`], [`record`]: bytes in and out.
//! - [`topics`], [`client_property`]: what all crates must say alike about the Kafka cluster.
//!
//! Invariant: no type of this crate has a place for a password.

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

mod position;

pub mod wire;

pub mod headers;

pub mod topics;

pub mod client_property;

mod letter;

pub use digest::{EventId, Version};
pub use event::{EventType, Facts, FactsError, Head, UserEvent};
pub use letter::Letter;
pub use position::{Checkpoint, Position, PositionError};
pub use time::{TimestampError, UnixMillis};
pub use user::{Field, FieldSource, User};
pub use user_id::{UserId, UserIdError};

/// The largest integer that every JSON reader keeps exactly: 2^53 - 1 (RFC 7493, section 2.2).
pub const SAFE_INTEGER_MAX: i64 = 9_007_199_254_740_991;
