//! What keeps the log right, from outside the way of a webhook.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`gate`] | keeps deliveries off the topic that are superseded or stored already |
//! | [`keeper`] | appends the newest record of a key again where an older one was appended after it |
//! | [`verify`] | reads the whole log and reports where it is not as promised |
//! | [`forget`] | removes a user from every topic |
//! | [`letters`] | reads the dead letters |

#![forbid(unsafe_code)]

pub mod forget;
pub mod gate;
pub mod keeper;
pub mod letters;
pub mod verify;
