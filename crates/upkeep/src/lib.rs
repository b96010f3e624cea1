//! What keeps the log right, beside the way of a webhook.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`gate`] | keeps deliveries off the topic that are superseded or stored already |
//! | [`keeper`] | decides which keys must be appended again, and when |
//! | [`Upkeep`] | reads the topic for both, and appends what the keeper decides |
//! | [`verify`] | reads the whole log and reports where it is not as promised |
//! | [`forget`] | removes a user from every topic |
//! | [`letters`] | reads the dead letters |
//!
//! Gate and keeper know the same facts, in one [`Table`] that one reader of all partitions keeps up to date. What a record does to
//! its user is decided by [`domain::roll`] alone.

#![forbid(unsafe_code)]

mod table;

pub mod gate;

pub mod keeper;

mod follow;

pub mod verify;

pub mod forget;

pub mod letters;

#[cfg(test)]
mod fixture;

pub use follow::Upkeep;
pub use gate::Gate;
pub use table::Table;
