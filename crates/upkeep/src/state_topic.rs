//! The state topic: the current user of every key, flat ([`domain::wire::Flat`]), for tools that need no code then.
//!
//! The owner of a partition of the topic of users also writes that partition of the state topic. It knows every winner
//! from its [`Table`](crate::Table), reads the state topic's own last records ([`Mirror`]), and appends what differs,
//! with the same [`Plan`](crate::keeper::Plan) as the repairs: after quiet, the last record of each key is the state of
//! the user. A crash, a rebalance, or two owners for a moment only delay that.

mod mirror;

pub use mirror::{Correction, Mirror};
