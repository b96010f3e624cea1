//! A simulator of the vendor: an invented call centre whose events are posted with the vendor's retry rule.
//!
//! | module | content |
//! | --- | --- |
//! | [`history`] | the events of the call centre: pure, reproducible by seed |
//! | [`sender`] | when each delivery is attempted, and how an answer counts: pure |
//! | [`encrypt`] | encrypts a body like the vendor's PHP |
//! | [`post`] | one attempt over HTTP |
//! | [`delivery`] | the loop that joins the four, with bounded concurrency |
//! | [`tally`] | the counts, and the report |
//!
//! ```
//! use simulator::history::{History, Population};
//! use simulator::sender::{Fate, Habits, Desk};
//! use std::time::Duration;
//!
//! let population = Population {
//!     seed: 1,
//!     users: 3,
//!     first_user: "1000".parse()?,
//!     start: domain::UnixMillis::from_millis(1_700_000_000_000),
//!     events_per_second: 1.0,
//!     passwords: false,
//! };
//! let habits = Habits {
//!     events_per_second: 1.0,
//!     events: Some(10),
//!     late: 0.0,
//!     repeat: 0.0,
//!     minute: Duration::from_secs(60),
//! };
//! let mut sender = Desk::new(habits, History::new(population), 1);
//! let attempt = sender.take().ok_or("ten events wait")?;
//! assert!(!attempt.notice.body().is_empty());
//! // The receiver is down: the vendor retries a minute later.
//! let due = attempt.due;
//! assert_eq!(sender.answered(attempt, false, due), Fate::Waiting);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod delivery;
pub mod encrypt;
pub mod history;
pub mod post;
pub mod sender;
pub mod tally;
