//! A Kafka broker in memory, the one inside librdkafka: for `rollcall dev` and for tests that run everywhere.
//!
//! It speaks the protocol on a loopback port, so that any client works with it. It keeps nothing, does not compact,
//! does not describe settings, and holds a partition's last 5 MiB or 100,000 batches: nothing that must last belongs
//! here.

use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::{ClientOptions, Fault};

/// How long a fetch waits for a record. The embedded broker answers an empty fetch only when this time is over, even if
/// a record comes in the meantime, so it is the delay that a reader sees.
const FETCH_WAIT_MS: &str = "5";
/// All brokers of the cluster, in librdkafka's numbering.
const ALL_BROKERS: i32 = -1;

/// A running broker with its topics; it ends when this is dropped.
pub struct EmbeddedBroker {
    /// The client that owns the broker. Its own connection is not used.
    owner: BaseProducer<DefaultProducerContext>,
}

impl EmbeddedBroker {
    /// Starts a broker on a free loopback port and makes the topics, given with their number of partitions.
    ///
    /// # Errors
    ///
    /// If the broker cannot listen or a topic cannot be made.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, Fault> {
        let owner: BaseProducer<DefaultProducerContext> =
            ClientConfig::new().set("test.mock.num.brokers", "1").set_log_level(RDKafkaLogLevel::Emerg).create()?;
        let broker = Self { owner };
        for (topic, partitions) in topics {
            broker.create_topic(topic, *partitions)?;
        }
        Ok(broker)
    }

    /// Makes one more topic.
    ///
    /// # Errors
    ///
    /// If it exists already.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), Fault> {
        Ok(self.cluster().create_topic(topic, partitions, 1)?)
    }

    /// Returns the address for clients.
    pub fn bootstrap(&self) -> String {
        self.cluster().bootstrap_servers()
    }

    /// Returns options for a client of this broker, tuned to it.
    pub fn client_options(&self) -> ClientOptions {
        let mut options = ClientOptions::new(self.bootstrap());
        options.properties.insert("fetch.wait.max.ms".to_owned(), FETCH_WAIT_MS.to_owned());
        options
    }

    /// Begins an outage: every connection is cut and no new one is accepted.
    ///
    /// # Errors
    ///
    /// If the broker does not take the command.
    pub fn go_down(&self) -> Result<(), Fault> {
        Ok(self.cluster().broker_down(ALL_BROKERS)?)
    }

    /// Ends an outage. What was stored before it is still there.
    ///
    /// # Errors
    ///
    /// If the broker does not take the command.
    pub fn come_back(&self) -> Result<(), Fault> {
        Ok(self.cluster().broker_up(ALL_BROKERS)?)
    }

    /// Lets the next produce request fail as if another producer had taken over its identity, which ends a producer for
    /// good.
    pub fn fence_next_publish(&self) {
        self.cluster()
            .request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    }

    /// Answers the next fetch of records as if the log did not hold the position, as a replica does that lags behind.
    pub fn deny_next_fetch(&self) {
        self.cluster().request_errors(RDKafkaApiKey::Fetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE]);
    }

    fn cluster(&self) -> MockCluster<'_, DefaultProducerContext> {
        self.owner.client().mock_cluster().expect("the owner was configured with an embedded cluster")
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker").field("bootstrap", &self.bootstrap()).finish()
    }
}
