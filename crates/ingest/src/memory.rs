//! What ingest needs of the memory that its container gives, said before the kernel ends the process without a word.

use std::time::Duration;

use service::{Shutdown, cgroup};
use upkeep::Gate;

const MIB: u64 = 1 << 20;
/// What is needed without a user: the process, the queues of the Kafka clients while the topic is read, requests.
const WITHOUT_USERS_BYTES: u64 = 192 * MIB;
/// Of the table of gate and keeper for each user: 150 bytes as measured (`bench gate-table`), up to 165 where the
/// system gives huge pages, and room for a part of its index to double.
const USER_BYTES: u64 = 168;
/// The interval of looks at the table: a start reads some hundred thousand records in it.
const INTERVAL: Duration = Duration::from_secs(1);

/// Says once that the memory is too little: at start, or as soon as so many users are known. Ends with `stop`.
pub(crate) async fn watch(gate: Gate, stop: Shutdown) {
    if let Some(given) = cgroup::memory() {
        tokio::select! {
            () = stop.requested() => {}
            () = until_too_little(given, &gate) => {}
        }
    }
    stop.requested().await;
}

async fn until_too_little(given: u64, gate: &Gate) {
    loop {
        let users = gate.keys() as u64;
        if given < needed(users) {
            tracing::error!(
                memory.given_mib = given / MIB,
                memory.needed_mib = needed(users).div_ceil(MIB),
                memory.bytes_for_each_user = USER_BYTES,
                users,
                "the kernel may end this process for its use of memory: its cgroup gives less than ingest needs"
            );
            return;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Returns how many bytes ingest needs with that many users.
const fn needed(users: u64) -> u64 {
    WITHOUT_USERS_BYTES + users * USER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_need_grows_with_the_users() {
        assert_eq!(needed(0), WITHOUT_USERS_BYTES);
        assert_eq!((needed(1_000_000) - needed(0)) / MIB, 160);
    }
}
