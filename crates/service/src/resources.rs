//! The limits of the process on files and threads, at start.

use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};

use crate::cgroup;
use crate::serve::ServerLimits;

/// The open files that are not for connections of the main listener: those of Kafka's clients, of the store with its
/// readers, and of the admin listener.
const FILES_RESERVED: u64 = 320;
/// The threads that a service may have: the runtime with its pool for work that blocks, and those of Kafka's clients,
/// one for each broker. The client library ends the process when it gets none.
const THREADS_NEEDED: u64 = 128;
/// The threads without which a service cannot even start: with one broker and two processors it has 35 to 41.
const THREADS_MIN: u64 = 32;

/// A limit of threads with which no service can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit of threads (RLIMIT_NPROC, pids.max) is {0}, and a service needs {THREADS_NEEDED}: without one, the \
     Kafka client ends the process"
)]
pub struct TooFewThreads(u64);

/// Raises the soft limit of open files to the hard one, and returns the limits with no more places for connections than
/// there are files for.
pub fn fit(limits: ServerLimits) -> ServerLimits {
    let places = places(limits.connections_max, raised());
    if places < limits.connections_max {
        tracing::warn!(
            connections.wanted = limits.connections_max,
            connections.max = places,
            files.needed = limits.connections_max as u64 + FILES_RESERVED,
            "the limit of open files leaves fewer places for connections"
        );
    }
    ServerLimits { connections_max: places, ..limits }
}

/// Returns how many of `wanted` places there are files for; all without a limit.
fn places(wanted: usize, files: Option<u64>) -> usize {
    let free = files.map_or(u64::MAX, |files| files.saturating_sub(FILES_RESERVED));
    wanted.min(usize::try_from(free).unwrap_or(usize::MAX)).max(1)
}

/// Returns the limit of open files once it is as high as the process may raise it; `None` when there is none.
fn raised() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            current
        }
    }
}

/// Checks that a service can start with the threads that the process may have: before the first of them.
///
/// # Errors
/// [`TooFewThreads`] when it cannot.
pub fn check_threads() -> Result<(), TooFewThreads> {
    suffices(threads())
}

fn suffices(limit: Option<u64>) -> Result<(), TooFewThreads> {
    limit.filter(|limit| *limit < THREADS_MIN).map_or(Ok(()), |limit| Err(TooFewThreads(limit)))
}

/// Logs an error when the process may have fewer threads than it may need: before there is a Kafka client.
pub fn log_threads() {
    if let Some(limit) = threads().filter(|limit| *limit < THREADS_NEEDED) {
        tracing::error!(
            threads.max = limit,
            threads.needed = THREADS_NEEDED,
            "the limit of threads (RLIMIT_NPROC, pids.max) is too low: without one, the Kafka client ends the process"
        );
    }
}

/// Returns the limit of threads; `None` when there is none.
fn threads() -> Option<u64> {
    // The limit of a user does not hold for root (setrlimit(2)).
    let of_user = if getuid().is_root() { None } else { getrlimit(Resource::Nproc).current };
    [of_user, cgroup::processes()].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        for (wanted, files, given) in
            [(1024, None, 1024), (1024, Some(20_000), 1024), (1024, Some(1024), 704), (1024, Some(100), 1)]
        {
            assert_eq!(places(wanted, files), given, "{wanted} of {files:?}");
        }
    }

    #[test]
    fn few_threads_are_refused() {
        assert_eq!(suffices(None), Ok(()));
        assert_eq!(suffices(Some(THREADS_MIN)), Ok(()));
        assert_eq!(suffices(Some(THREADS_MIN - 1)), Err(TooFewThreads(THREADS_MIN - 1)));
    }

    #[test]
    fn the_soft_limit_is_the_hard_one() {
        raised();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
