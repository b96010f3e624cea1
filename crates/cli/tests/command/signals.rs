//! Signals to a service: the first one drains it, a further one ends it at once. And what its memory is protected by.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::Service;
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
