//! A stopped service leaves no thread of a Kafka client behind: a process that exits during one can be aborted.
//!
//! A separate test binary, because it inspects the threads of the process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod support;

use std::time::Duration;

use support::{PATH, Service};
use testkit::deliveries::CREATED;

/// Names of a client's threads, Rollcall's and librdkafka's. The embedded broker has one client of its own.
const OURS: [&str; 3] = ["kafka-tail", "kafka-group", "producer pollin"];
const MAIN_OF_A_CLIENT: &str = "rdk:main";
/// A joined thread stays in the kernel's list for a moment.
const KERNEL: Duration = Duration::from_millis(20);

fn threads(names: &[&str]) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let comms = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    comms.filter(|comm| names.contains(&comm.trim_end())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_thread_of_a_kafka_client_outlives_the_service() {
    let service = Service::start("").await;
    assert_eq!(service.post(PATH, CREATED).await.status, 200);
    service.measures("rollcall_gate_in_force 1").await;
    service.measures("rollcall_gate_keys 1").await;
    assert_eq!(threads(&["kafka-tail"]) + threads(&["kafka-group"]), 2, "the names are as this test knows them");

    let (log, _) = service.stop_and_keep_log().await;
    drop(log.publisher);
    if threads(&OURS) > 0 || threads(&[MAIN_OF_A_CLIENT]) > 1 {
        std::thread::sleep(KERNEL);
    }
    assert_eq!(threads(&OURS), 0);
    assert_eq!(threads(&[MAIN_OF_A_CLIENT]), 1);
    drop(log.broker);
}
