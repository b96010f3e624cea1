//! Kafka records in, the current state of every user out: a library, and an HTTP service on it.
//!
//! ```text
//! kafka::tail ──▶ follow ──▶ store::Writer: one commit of rows and checkpoint ──▶ position, then changes announced
//! kafka::scan ──▶ rebuild ──▶ store: a new generation              │                       (shared)
//!                                                    store::StoreReaders ──▶ Projection, Changes ──▶ http
//! ```
//!
//! From the bottom to the top:
//! - `fold`: texts as they are searched. [`store`]: the tables, the one that writes them and those that read them.
//! - [`rebuild`]: a table from the log; `start`: whether a stored table can go on.
//! - `shared`: the state between the one that writes and those that read; `ends`, `announced`, [`Phase`], [`Error`].
//! - `follow`: the loop. The only writer of the store and of `shared`.
//! - [`Bookmark`], [`Changes`]: subscriptions without a gap or a repeat; `fan_out`: new changes for those who
//!   want them; `kept_changes`: former ones.
//! - [`Projection`]: the library's face.
//! - [`Scopes`]: who may read what; [`Auth`]: who asks; `http`: all of it over HTTP; [`Config`], [`run`]: the service.
//!
//! Any number of projections may follow the same topic, each complete: there is no group, and positions are the same
//! everywhere.
//!
//! ```
//! use domain::{Facts, UnixMillis, User, UserEvent, wire};
//! use kafka::embedded::EmbeddedBroker;
//! use kafka::publish::{Limits, Outgoing, Publisher};
//! use projector::store::Lookup;
//! use projector::{Options, Projection};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let broker = EmbeddedBroker::start(&[("vcc.users", 1)])?;
//! # let folder = tempfile::tempdir()?;
//! let options = Options { kafka: broker.client_options(), ..Options::new("", "vcc.users", folder.path()) };
//! let table = Projection::open(options)?;
//! table.ready().await?;
//! assert_eq!(table.get("180".parse()?)?, Lookup::Unknown);
//! # let (at, new) = (UnixMillis::from_millis(0), User::new("180".parse()?));
//! # let timestamp = at.to_string();
//! # let facts = Facts {
//! #     old: None, new, timestamp, received_at: at, password_changed: false, extra: Default::default(),
//! #     omitted: Vec::new(),
//! # };
//! # let outgoing = Outgoing {
//! #     topic: "vcc.users".to_owned(),
//! #     key: b"180".to_vec(),
//! #     value: Some(wire::encode(&UserEvent::new(facts)?)),
//! #     headers: Vec::new(),
//! #     timestamp: at,
//! #     partition: None,
//! # };
//! # let publisher = Publisher::open(&broker.client_options(), Limits::default())?;
//!
//! let position = publisher.publish(outgoing).await?;
//! table.wait_for(position, std::time::Duration::from_secs(30)).await?;
//! assert!(matches!(table.get("180".parse()?)?, Lookup::Found(_)));
//! table.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/own_table.rs` keeps a table of its own from the changes.

#![forbid(unsafe_code)]

// What the tests of this folder and those beside it share names the crate as its users do.
#[cfg(test)]
extern crate self as projector;

mod error;

mod options;

mod phase;

mod projection;

mod bookmark;

mod subscribe;

mod watch;

mod announced;

mod change_filter;

mod fan_out;

mod kept_changes;

mod shared;

mod contents;
mod facts;

mod hour;

mod follow;

mod start;

mod fold;

pub mod rebuild;

pub mod store;

mod scopes;

mod auth;

mod http;

mod config;

mod metrics;

mod run;

pub use announced::Announced;
pub use auth::{Auth, AuthError, Jwt, NewToken, NotAName, PrincipalName};
pub use bookmark::Bookmark;
pub use config::{Config, Raw};
pub use error::Error;
pub use options::Options;
pub use phase::Phase;
pub use projection::Projection;
pub use run::{Error as RunError, Summary, run, run_watched};
pub use scopes::{Principal, Scope, Scopes, UnknownScope};
pub use service::Listeners;
pub use subscribe::{Changes, Ended, Item};
pub use watch::ask_permissions;
