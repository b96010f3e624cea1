//! What the tests stand on. A test file names what it wants to know; how a broker or a service comes to life is here.
//!
//! | module | what it gives |
//! | --- | --- |
//! | [`broker`] | the broker that a test runs against, embedded or Apache Kafka, and the list that runs a test on both |
//! | [`kafka`] | Apache Kafka in a container: one shared by the whole run, or one of a test's own that it may pause and stop |
//! | [`cluster`] | three brokers, replicated, that can be killed one by one |
//! | [`deliveries`] | what the vendor sends |
//! | [`engine`] | the container engine: whether there is one, and who removes what the tests started |
//! | [`eventually`] | waiting for a condition |
//! | [`http`] | a client for tests |
//! | [`load`] | senders under way while things are stopped, and what must be true afterwards |
//! | [`process`] | `rollcall` as a process of its own: its output, its end, and signals |
//! | [`random`] | moments that nobody chose, the same in every run |
//! | [`system`] | ingest and projector in this process, on ports of their own |

pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod deliveries;
pub(crate) mod engine;
pub(crate) mod eventually;
pub(crate) mod http;
pub(crate) mod kafka;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod system;
