//! A projection that is closed leaves no thread behind that reads from Kafka.
//!
//! A test binary of its own, because it looks at the threads of the process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

use std::time::Duration;

use kafka::embedded::EmbeddedBroker;
use projector::{Options, Projection};

const TOPICS: [(&str, i32); 2] = [("vcc.users", 1), ("vcc.users.late", 1)];
/// The name of a thread that follows a topic.
const TAIL: &str = "kafka-tail";
/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// A thread that was joined is in the kernel's list for a moment longer.
const KERNEL: Duration = Duration::from_millis(20);

fn tails() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let comms = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    comms.filter(|comm| comm.trim_end() == TAIL).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_thread_that_reads_outlives_the_projection() {
    let broker = EmbeddedBroker::start(&TOPICS).unwrap();
    let store = tempfile::tempdir().unwrap();
    let [(users, _), (late, _)] = TOPICS;
    let options = Options {
        kafka: broker.client_options(),
        late_topic: Some(late.to_owned()),
        ..Options::new("", users, store.path())
    };
    let table = Projection::open(options).unwrap();
    let both = async {
        while tails() < TOPICS.len() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, both).await.expect("users and late deliveries are followed");
    table.close().await.unwrap();
    if tails() > 0 {
        std::thread::sleep(KERNEL);
    }
    assert_eq!(tails(), 0);
}
