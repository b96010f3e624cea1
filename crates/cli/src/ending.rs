//! The end of the process, while threads of the runtime and of the Kafka client may still run.

use std::io;
use std::process::ExitCode;

#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Disables OpenSSL's cleanup at exit. Must be called before any other use of OpenSSL.
///
/// By default OpenSSL cleans up in an exit(3) handler. A thread that ends at the same moment frees the same memory, and
/// the allocator aborts the process after all its work is done. (`OPENSSL_INIT_NO_ATEXIT`, OPENSSL_init_crypto(3).)
pub(crate) fn without_cleanup() {
    openssl::init();
}

/// Ends the process at SIGTERM or SIGINT. Without a handler both would end it too, but not where it is process 1 of a
/// container: the kernel keeps signals without a handler from that.
///
/// # Errors
/// When the process may not install a signal handler.
pub(crate) fn at_signals() -> io::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // The task lives as long as the process, so nothing needs to await it.
    tokio::spawn(async move {
        let kind = tokio::select! {
            _ = term.recv() => SignalKind::terminate(),
            _ = int.recv() => SignalKind::interrupt(),
        };
        at_once(kind.as_raw_value());
    });
    Ok(())
}

/// Ends the process after a signal, without finishing anything.
pub(crate) fn at_once(signal: i32) {
    std::process::exit(status_after(signal));
}

/// Returns the exit status of a command that has ended at this signal.
pub(crate) fn ended_by(signal: i32) -> ExitCode {
    u8::try_from(status_after(signal)).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Returns the exit status of a process that a signal has ended, as shells report it.
fn status_after(signal: i32) -> i32 {
    128 + signal
}

/// Lets neither a crash nor another process of this user write the memory of this process to a file: it has secrets,
/// keys and bodies. A limit of 0 alone does not keep the memory from a program in `core_pattern`.
pub(crate) fn without_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    #[cfg(target_os = "linux")]
    let limited = limited.and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = limited {
        eprintln!("rollcall: core dumps cannot be turned off: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Barrier;

    use super::*;

    /// Set for the processes that the test starts.
    const CHILD: &str = "ROLLCALL_TEST_ENDING";
    const CHILDREN: usize = 100;
    /// The number of threads that start others.
    const SOURCES: usize = 8;

    #[test]
    fn a_process_may_end_while_its_threads_do() {
        if std::env::var_os(CHILD).is_some() {
            without_cleanup();
            return end_with_threads();
        }
        let this = std::env::current_exe().unwrap();
        for round in 0..CHILDREN {
            let arguments = ["--exact", "ending::tests::a_process_may_end_while_its_threads_do"];
            let output = Command::new(&this).args(arguments).env(CHILD, "1").output().unwrap();
            assert!(output.status.success(), "round {round}: {output:?}");
        }
    }

    /// Returns while threads that have used OpenSSL end, one after the other.
    fn end_with_threads() {
        static BEGUN: Barrier = Barrier::new(SOURCES + 1);
        for _ in 0..SOURCES {
            std::thread::spawn(|| {
                BEGUN.wait();
                while std::thread::spawn(|| openssl::sha::sha256(b"")).join().is_ok() {}
            });
        }
        BEGUN.wait();
        openssl::sha::sha256(b"");
    }
}
