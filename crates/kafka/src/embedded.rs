//! An in-memory Kafka broker: librdkafka's mock cluster, for `rollcall dev` and for tests.
//!
//! It speaks the Kafka protocol on a loopback port, so any client can use it. It stores nothing on disk, does not
//! compact, does not describe settings, and holds only the last 5 MiB or 100,000 batches of a partition. Use it for
//! nothing that must last.

use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::{ClientOptions, Fault};

/// The longest wait of a fetch. The mock broker answers an empty fetch only after this time, even if a record arrives
/// before, so a reader sees it as delay.
const FETCH_WAIT_MS: &str = "5";
/// How many requests are denied: the mock broker takes a list of errors, one for each request.
const DENIALS: usize = 10_000;
/// All brokers of the cluster, in librdkafka's numbering.
const ALL_BROKERS: i32 = -1;

/// A running broker with its topics. It stops when dropped.
pub struct EmbeddedBroker {
    /// The client that owns the broker. Its own connection is not used.
    owner: BaseProducer<DefaultProducerContext>,
}

impl EmbeddedBroker {
    /// Starts a broker on a free loopback port and creates the topics, each given with its number of partitions.
    ///
    /// # Errors
    /// If the broker cannot listen, or a topic cannot be created.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, Fault> {
        let owner: BaseProducer<DefaultProducerContext> =
            ClientConfig::new().set("test.mock.num.brokers", "1").set_log_level(RDKafkaLogLevel::Emerg).create()?;
        let broker = Self { owner };
        for (topic, partitions) in topics {
            broker.create_topic(topic, *partitions)?;
        }
        Ok(broker)
    }

    /// Creates another topic.
    ///
    /// # Errors
    /// If the topic exists.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), Fault> {
        Ok(self.cluster().create_topic(topic, partitions, 1)?)
    }

    /// Returns the address for clients.
    pub fn bootstrap(&self) -> String {
        self.cluster().bootstrap_servers()
    }

    /// Returns client options for this broker, tuned to it.
    pub fn client_options(&self) -> ClientOptions {
        let mut options = ClientOptions::new(self.bootstrap());
        options.properties.insert("fetch.wait.max.ms".to_owned(), FETCH_WAIT_MS.to_owned());
        options
    }

    /// Begins an outage: cuts every connection and accepts no new one.
    ///
    /// # Errors
    /// If the broker refuses the command.
    pub fn go_down(&self) -> Result<(), Fault> {
        Ok(self.cluster().broker_down(ALL_BROKERS)?)
    }

    /// Ends an outage. Records stored before it are still there.
    ///
    /// # Errors
    /// If the broker refuses the command.
    pub fn come_back(&self) -> Result<(), Fault> {
        Ok(self.cluster().broker_up(ALL_BROKERS)?)
    }

    /// Fails the next produce request as if another producer had taken over the producer's identity. This is fatal for
    /// a producer.
    pub fn fence_next_publish(&self) {
        self.cluster()
            .request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    }

    /// Answers the next fetch as if the log did not hold the position, like a lagging replica.
    pub fn deny_next_fetch(&self) {
        self.cluster().request_errors(RDKafkaApiKey::Fetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE]);
    }

    /// Denies requests for the ends of a log, as if the permission to read the topic were missing.
    pub fn deny_ends(&self) {
        let denied = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; DENIALS];
        self.cluster().request_errors(RDKafkaApiKey::ListOffsets, &denied);
    }

    /// Allows them again.
    pub fn allow_ends(&self) {
        self.cluster().clear_request_errors(RDKafkaApiKey::ListOffsets);
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
