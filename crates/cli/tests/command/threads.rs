//! A limit of threads is said before the Kafka client, which ends the process without a thread, is there.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{stderr, text};

const SERVICES: [&str; 2] = ["ingest", "projector"];
/// Nobody answers there.
const BOOTSTRAP: &str = "127.0.0.1:1";
/// A user without processes: the limit is one of all threads of a user, and does not hold for root.
const NOBODY: u32 = 61_213;

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Returns a service with this limit of threads. Root runs a copy as another user, who may not reach the build tree.
fn limited(threads: u32, service: &str, folder: &Path) -> Command {
    let mut binary = Path::new(env!("CARGO_BIN_EXE_rollcall")).to_owned();
    let mut command = Command::new("bash");
    command.args(["-c", &format!("ulimit -u {threads} && exec \"$@\""), "bash"]).env_clear();
    if is_root() {
        let copy = folder.join("rollcall");
        fs::copy(&binary, &copy).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        binary = copy;
        command.uid(NOBODY).gid(NOBODY);
    }
    command.arg(binary).args([service, "--bootstrap", BOOTSTRAP]);
    command.args(["--set", "http.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0"]);
    match service {
        "projector" => command.args(["--set", &format!("store.dir={}", text(&folder.join("table")))]),
        _ => command.env("ROLLCALL_SECURITY__SECRET_KEYS", "a-secret-of-the-tests"),
    };
    command
}

#[test]
fn a_service_that_cannot_run_is_refused() {
    for service in SERVICES {
        let folder = tempfile::tempdir().unwrap();
        let output = limited(8, service, folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{service}: {output:?}");
        let said = stderr(&output);
        let expected = "rollcall: the limit of threads (RLIMIT_NPROC, pids.max) is 8, and a service needs 128";
        assert!(said.starts_with(expected) && said.lines().count() == 1, "{service}: {said}");
    }
}

#[test]
fn few_threads_are_said_first() {
    if !is_root() {
        eprintln!("left out: few_threads_are_said_first: the user's other processes have threads too");
        return;
    }
    for service in SERVICES {
        let folder = tempfile::tempdir().unwrap();
        let mut child = limited(100, service, folder.path()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = lines.find(|line| line.as_ref().is_ok_and(|line| !line.contains(" cli::sources: ")));
        child.kill().unwrap();
        child.wait().unwrap();
        let said = said.unwrap().unwrap();
        let expected = "the limit of threads (RLIMIT_NPROC, pids.max) is too low";
        assert!(said.contains(expected) && said.contains("threads.needed=128"), "{service}: {said}");
    }
}
