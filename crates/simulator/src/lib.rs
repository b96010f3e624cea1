//! The vendor's stand-in: a made-up call centre whose events are posted by the vendor's retry rule.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`history`] | what happens to whom: pure, the same for the same seed |
//! | [`sender`] | which delivery is attempted when, and what an answer means: pure |
//! | [`encrypt`] | the body as the vendor's PHP encrypts it |
//! | [`post`] | one attempt over HTTP |
//! | [`delivery`] | the loop that joins the four, with bounded concurrency |
//! | [`tally`] | what is counted, and the report |

#![forbid(unsafe_code)]

pub mod delivery;
pub mod encrypt;
pub mod history;
pub mod post;
pub mod sender;
pub mod tally;
