//! The schema registry: the writer's id, and the schemas that readers look up by the ids in records.
//!
//! ```text
//! Options ──open──▶ Schemas ──settle(ids of a batch)──▶ Ids ──translate──▶ records that domain reads
//!                      └── register(topics) ──▶ Framing, for the writer
//! ```
//!
//! A registry that does not answer at the start is an error: the process does not start. Later it stops nothing. The
//! writer has its id. A reader that meets an id for the first time cannot know whether the record is a user event, so
//! it must not pass over it: it waits and asks again, and says so in the log and in the gauge
//! `rollcall_registry_waiting`.
//!
//! Four calls of Confluent's API are all that is needed, made by the [client](crate::client) of this crate. (Weighed
//! against `schema_registry_converter` 6: it brings reqwest, a second HTTP client, with its TLS and its pool, caches
//! failed look-ups by a policy of its own, and has no call for the compatibility of a subject.)

mod api;

mod schemas;

use domain::wire::Ids;

use crate::client::Endpoint;

pub use api::Error;
pub use schemas::{Patience, Schemas, Settling, Unsettled};

/// The registry and the ids of the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// `None`: there is no registry, and events are written in single-object encoding.
    pub endpoint: Option<Endpoint>,
    pub auto_register: bool,
    /// The ids that are known without asking.
    pub ids: Ids,
}

impl Default for Options {
    fn default() -> Self {
        Self { endpoint: None, auto_register: true, ids: Ids::NONE }
    }
}
