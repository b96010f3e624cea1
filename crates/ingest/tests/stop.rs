//! A service that has stopped leaves no thread of a Kafka client behind: a process that exits under one can be aborted.
//!
//! A test binary of its own, because it looks at the threads of the process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod support;

use std::time::Duration;

use support::{CREATED, PATH, Service, exchange};

/// Names of threads that a client runs in, ours and the library's; the embedded broker has one client of its own.
const OURS: [&str; 3] = ["kafka-tail", "kafka-group", "producer pollin"];
const MAIN_OF_A_CLIENT: &str = "rdk:main";
/// A thread that was joined is in the kernel's list for a moment longer.
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
    let metric = async |line: &str| {
        let get = "GET /metrics HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
        exchange(service.admin, get).await.text.lines().any(|found| found == line)
    };
    let working = async {
        while !metric("rollcall_gate_in_force 1").await || !metric("rollcall_keeper_keys 1").await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::PATIENCE, working).await.unwrap();
    assert_eq!(threads(&["kafka-tail"]) + threads(&["kafka-group"]), 2, "the names are as this test knows them");

    let (broker, _) = service.stop_and_keep_broker().await;
    if threads(&OURS) > 0 || threads(&[MAIN_OF_A_CLIENT]) > 1 {
        std::thread::sleep(KERNEL);
    }
    assert_eq!(threads(&OURS), 0);
    assert_eq!(threads(&[MAIN_OF_A_CLIENT]), 1);
    drop(broker);
}
