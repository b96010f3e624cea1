//! The broker that a test runs against.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::topics::{Names, Spec};
use kafka::ClientOptions;
use kafka::embedded::EmbeddedBroker;
use tokio::runtime::Runtime;

use super::engine;
use super::kafka::{IMAGE, Kafka, TAG};

/// How long a broker may take to make topics.
const TOPICS_MAX: Duration = Duration::from_secs(120);

/// A broker that answers, of one of the two kinds.
pub(crate) enum Broker {
    Embedded(EmbeddedBroker),
    /// The one that the run shares, and the number of the test on it.
    Kafka(&'static Kafka, u32),
}

impl Broker {
    /// Returns options for a client of this broker.
    pub(crate) fn client_options(&self) -> ClientOptions {
        match self {
            Self::Embedded(broker) => broker.client_options(),
            // A group of its own: a keeper repairs nothing while members of other tests come and go.
            Self::Kafka(kafka, test) => {
                ClientOptions { group_prefix: format!("rollcall-{test}"), ..ClientOptions::new(kafka.bootstrap()) }
            }
        }
    }

    /// Makes a state topic beside the topics of these names, and returns the names with its own.
    pub(crate) async fn make_state_topic(&self, names: Names, partitions: i32) -> Names {
        let state = format!("{}.state", names.users);
        let names = Names { state: Some(state.clone()), ..names };
        match self {
            Self::Embedded(broker) => {
                broker.create_topic(&state, partitions).expect("the embedded broker makes a topic")
            }
            Self::Kafka(..) => make_topics(&self.client_options(), &names, partitions, 1).await,
        }
        names
    }

    /// Makes the three topics under names that no other test has, and returns the names.
    pub(crate) async fn make_topics(&self, partitions: i32) -> Names {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let names = names(MADE.fetch_add(1, Ordering::Relaxed));
        match self {
            // It has a call of its own for that and none that Kafka has.
            Self::Embedded(broker) => {
                for topic in [&names.users, &names.late, &names.dead_letter] {
                    broker.create_topic(topic, partitions).expect("the embedded broker makes a topic");
                }
            }
            Self::Kafka(..) => make_topics(&self.client_options(), &names, partitions, 1).await,
        }
        names
    }
}

/// Returns names of the three topics that differ from those of any other number.
fn names(number: u32) -> Names {
    let Names { users, late, dead_letter, state } = Names::default();
    Names {
        users: format!("t{number}.{users}"),
        late: format!("t{number}.{late}"),
        dead_letter: format!("t{number}.{dead_letter}"),
        state,
    }
}

/// Makes the three topics as the contract has them.
pub(crate) async fn make_topics(options: &ClientOptions, names: &Names, partitions: i32, replication: i32) {
    let specs = Spec::contract(names, partitions, replication);
    kafka::topics::create(options, &specs, TOPICS_MAX).await.expect("Kafka makes the topics");
}

/// The runtime of all tests of a run, so that what they share outlives each of them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("the system can start threads"));

/// Runs a test that needs no broker of this module's making.
pub(crate) fn on_runtime<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(test)
}

/// Runs a test against an embedded broker of its own.
pub(crate) fn on_embedded(test: impl AsyncFnOnce(&Broker)) {
    on_runtime(async {
        let broker = Broker::Embedded(EmbeddedBroker::start(&[]).expect("the embedded broker starts"));
        test(&broker).await;
    });
}

/// Runs a test against the Apache Kafka that the run shares, or leaves it out as [`where_kafka_runs`] says.
pub(crate) fn on_kafka(name: &str, test: impl AsyncFnOnce(&Broker)) {
    static TESTS: AtomicU32 = AtomicU32::new(0);
    let number = TESTS.fetch_add(1, Ordering::Relaxed);
    where_kafka_runs(name, async || test(&Broker::Kafka(Kafka::shared().await, number)).await);
}

/// Runs a test that starts Apache Kafka itself.
///
/// Where it cannot run, the test is left out and says so; with `ROLLCALL_REQUIRE_KAFKA=1` it fails.
pub(crate) fn where_kafka_runs(name: &str, test: impl AsyncFnOnce()) {
    on_runtime(async {
        match engine::why_unavailable(IMAGE, TAG).await {
            None => test().await,
            Some(reason) if engine::kafka_is_required() => panic!("{reason}"),
            Some(reason) => engine::tell_left_out(name, reason),
        }
    });
}

/// Makes two tests of each function `async fn name(broker: &Broker)` in the list: `on_embedded::name` and
/// `on_kafka::name`.
macro_rules! on_both_brokers {
    ($($test:ident),+ $(,)?) => {
        mod on_embedded {
            $(#[test]
            fn $test() {
                $crate::support::broker::on_embedded(super::$test);
            })+
        }
        mod on_kafka {
            $(#[test]
            fn $test() {
                $crate::support::broker::on_kafka(concat!(module_path!(), "::", stringify!($test)), super::$test);
            })+
        }
    };
}
pub(crate) use on_both_brokers;
