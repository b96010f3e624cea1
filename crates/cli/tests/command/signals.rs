//! Signals to a service: the first one drains it, a further one ends it at once. And what its memory is protected by.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Dev, Service, on_runtime, rollcall, signal, stdout};
use testkit::Http;
use testkit::broker::Log;

const SECRET: [(&str, &str); 1] = [("ROLLCALL_SECURITY__SECRET_KEYS", "a-secret-of-the-tests")];

fn ingest(log: &Log) -> Service {
    // Longer than the test waits.
    let patient = ["--set", "http.drain_ms=600000", "--set", "webhook.body_read_ms=600000"];
    let bootstrap = log.broker.bootstrap();
    let service = Service::start(&[&["ingest", "--bootstrap", &bootstrap], &patient[..]].concat(), &SECRET);
    service.until_ready();
    service
}

#[test]
fn a_hang_up_drains_the_service() {
    let log = Log::start(1);
    let mut service = ingest(&log);
    service.signal("HUP");
    service.until_logged("ingest stopped");
    assert_eq!(service.ended().code(), Some(0));
}

#[test]
fn a_log_that_nobody_reads_stops_neither_the_requests_nor_the_end() {
    let log = Log::start(1);
    let mut service = ingest(&log);
    service.close_log();
    let webhooks = Http::to(service.listens["webhooks"].as_str().unwrap().parse().unwrap());
    on_runtime(async {
        // Each is worth a line.
        for secret in ["wrong", "wrong", SECRET[0].1] {
            let status = webhooks.post(&format!("/webhooks/users?secret-key={secret}"), "{}").await.status;
            assert_eq!(status, if secret == "wrong" { 401 } else { 422 });
        }
    });
    service.signal("TERM");
    assert_eq!(service.ended().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let log = Log::start(1);
    let mut service = ingest(&log);
    // A request whose body does not come holds up the end. It is in progress once its body is asked for.
    let mut held = TcpStream::connect(service.listens["webhooks"].as_str().unwrap()).unwrap();
    let head = "POST /webhooks/users?secret-key=a-secret-of-the-tests HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\n\
                content-length: 9\r\n\r\n";
    held.write_all(head.as_bytes()).unwrap();
    let mut status = [0; 12];
    held.read_exact(&mut status).unwrap();
    assert_eq!(std::str::from_utf8(&status).unwrap(), "HTTP/1.1 100");
    service.signal("TERM");
    service.until_logged("shutdown requested");
    service.signal("INT");
    service.until_logged("ending at once");
    assert_eq!(service.ended().code(), Some(130));
}

/// Process 1 of a container has no default action for a signal.
#[test]
#[cfg(target_os = "linux")]
fn a_signal_ends_every_command_by_a_handler_of_its_own() {
    let reads = &["import", "-", "--as-of", "2025-01-01T00:00:00Z", "--set", "security.allow_unauthenticated=true"];
    for (name, status) in [("TERM", 143), ("INT", 130)] {
        // It waits for the list, which does not come.
        let mut child = rollcall(reads).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        until_handled(&mut child);
        // To wait for the child would close it, and end the list.
        let list = child.stdin.take();
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(status), "{name}");
        drop(list);
    }
}

/// A list that was not sent to its end is no success, as for every other command.
#[test]
#[cfg(target_os = "linux")]
fn a_simulation_that_a_signal_ends_reports_and_has_the_status_of_the_signal() {
    for (name, status) in [("TERM", 143), ("INT", 130)] {
        let mut command = rollcall(&["simulate", "http://127.0.0.1:1/hook", "--rate=1", "--events=100000"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        until_handled(&mut child);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{name}: {output:?}");
        assert!(stdout(&output).contains("delivered    0 events"), "{output:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_ends_dev_while_it_connects_to_a_cluster() {
    for (name, status) in [("TERM", 143), ("INT", 130)] {
        // It accepts connections, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let bootstrap = silent.local_addr().unwrap().to_string();
        let mut command = rollcall(&Dev::arguments(&["--bootstrap", &bootstrap]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let _connection = silent.accept().unwrap();
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(status), "{name}");
    }
}

/// Waits until the process has a handler of SIGTERM, which has the number 15.
#[cfg(target_os = "linux")]
fn until_handled(child: &mut std::process::Child) {
    let path = format!("/proc/{}/status", child.id());
    let has_handler = || {
        let status = std::fs::read_to_string(&path).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() >> 14 & 1 == 1
    };
    while !has_handler() {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn no_core_is_dumped() {
    let log = Log::start(1);
    let service = ingest(&log);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", service.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core")).unwrap();
    let core: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{core:?}");
    service.stop();
}
