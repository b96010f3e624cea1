//! How a broker or a service comes to life for the tests; client, fixtures and waiting are in `testkit`.
//!
//! | module | content |
//! | --- | --- |
//! | [`apicurio`] | a real schema registry, from Maven Central |
//! | [`broker`] | the broker of a test, embedded or Apache Kafka, and the list that runs a test on both |
//! | [`kafka`] | Apache Kafka in a container: one for the whole run, or a test's own that it may pause and stop |
//! | [`cluster`] | three brokers, replicated, that can be killed one by one |
//! | [`engine`] | the container engine: whether there is one, and who removes what the tests started |
//! | [`load`] | senders under way while things are stopped, and what must be true afterwards |
//! | [`process`] | `rollcall` as a process of its own: its output, its end, and signals |
//! | [`system`] | ingest and projector in this process, on ports of their own |
//! | [`transaction`] | an open transaction of another producer |

pub(crate) mod apicurio;
pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod engine;
pub(crate) mod kafka;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod system;
pub(crate) mod transaction;
