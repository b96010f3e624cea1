//! The Kafka side of Rollcall. No other crate names the client library.
//!
//! | module | purpose |
//! | --- | --- |
//! | [`client`] | the options of every client, and the checks of the cluster, [`client::connect`] and [`client::Probe`] |
//! | [`topics`] | topics on the cluster: create, describe, compare with [`domain::topics`], watermarks |
//! | [`publish`] | publishes a record and returns its position or a typed error within a deadline |
//! | [`tail`] | follows a topic from a checkpoint without end, and reports each end of the log |
//! | [`group`] | the partitions that a consumer group assigns to this member |
//! | [`scan`] | reads ranges of offsets as fast as librdkafka can, borrowed and synchronous |
//! | [`placement`] | the partition of a key |
//! | [`embedded`] | an in-memory broker, for `dev` and for tests |
//!
//! Each module has its own `Error`; [`Unavailable`] is the part that the readers share, [`Fault`] an error of the
//! library.
//!
//! Offsets are never committed to Kafka and never read from it: a reader keeps its own position beside its own state.
//! The library never resets a position by itself: a position outside the log is an error that the reader sees.
//!
//! ```
//! use domain::{Checkpoint, UnixMillis};
//! use kafka::embedded::EmbeddedBroker;
//! use kafka::publish::{self, Outgoing, Publisher};
//! use kafka::tail::{self, Tail, TailEvent};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = EmbeddedBroker::start(&[("vcc.users", 1)])?;
//! let options = broker.client_options();
//! let publisher = Publisher::open(&options, publish::Limits::default())?;
//! let now = UnixMillis::from_millis(1_700_000_000_000);
//! let position = publisher.publish(Outgoing::forgotten("180".parse()?, "vcc.users", now, now)).await?;
//!
//! let mut tail = Tail::open(&options, "vcc.users", Checkpoint::default(), tail::Limits::default()).await?;
//! let TailEvent::Records(records) = tail.next().await? else { panic!("the topic has a record") };
//! assert_eq!((records[0].position, records[0].value.as_ref()), (position, None));
//! tail.close().await;
//! # Ok(())
//! # }
//! ```

pub mod client;
pub mod embedded;
mod fault;
mod former;
pub mod group;
mod native;
pub mod placement;
pub mod publish;
mod record;
pub mod scan;
pub mod tail;
pub mod topics;
mod trouble;
mod unavailable;

pub use client::ClientOptions;
pub use fault::Fault;
pub use record::Record;
pub use trouble::{Kind, Trouble};
pub use unavailable::Unavailable;
