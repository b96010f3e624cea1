//! Kafka records in, the current state of every user out: a library, and an HTTP service on it.
//!
//! ```text
//! kafka::tail ──▶ project ──▶ store::Writer: one commit of rows and checkpoint ──▶ position, then changes announced
//! kafka::scan ──▶ rebuild ──▶ store: a new generation              │
//!                                                    store::Readers ──▶ Projection ──▶ http, or whoever embeds it
//! ```
//!
//! Reading order:
//! - [`Projection`]: what can be asked of it; `examples/own_table.rs` embeds it.
//! - [`store`]: the tables, who writes and who reads them.
//! - `project`: the loop; `start`: whether a store can be gone on with; `rebuild`: how it is made again.
//! - `bookmark`, `subscribe`: changes without a gap or a repeat. `http`: all of it over HTTP. [`run`]: the service.
//!
//! Any number of projections may follow the same topic, each complete: there is no group, and positions are the same everywhere.

#![forbid(unsafe_code)]

mod projection;

mod project;

mod start;

mod lineage;

pub mod store;

pub mod rebuild;

mod bookmark;

mod subscribe;

mod http;

mod config;

mod metrics;

mod run;

pub use bookmark::{Bookmark, BookmarkError, TopicTag};
pub use config::{Config, Raw};
pub use project::{Phase, RECORDS_PER_COMMIT};
pub use projection::{CHANGES_WAITING_MAX, Error, Options, Projection};
pub use run::{Error as RunError, Summary, run, run_watched};
pub use service::Listeners;
pub use start::Reason;
pub use subscribe::{Announced, Changes, Ended, Item};
