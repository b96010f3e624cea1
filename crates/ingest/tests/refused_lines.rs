//! The line about each refused request, with its reason and without its content.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use support::{PATH, Service};
use testkit::deliveries::CREATED;
use tracing_subscriber::fmt::MakeWriter;

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// The most lines a minute for each reason.
const LINES_MAX: usize = 20;

/// Logs to `lines`. The runtime has one thread, so that the subscriber of the thread sees all of the service.
fn log_to(lines: &Lines) -> tracing::subscriber::DefaultGuard {
    tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish())
}

fn sent(method: &str, path: &str, fields: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{fields}\r\n{body}")
}

fn with_length(method: &str, path: &str, body: &str) -> String {
    sent(method, path, &format!("content-length: {}\r\n", body.len()), body)
}

#[tokio::test]
async fn each_refused_request_has_a_line_with_its_reason_address_and_size() {
    let lines = Lines::default();
    let _guard = log_to(&lines);
    let service = Service::start("[http]\nallowed_hosts = ['t']").await;
    let (elsewhere, size) = (PATH.replace("users", "elsewhere"), CREATED.len());
    let stranger = "/webhooks/users?secret-key=of-a-stranger";
    let other_host = with_length("POST", PATH, CREATED).replace("host: t", "host: elsewhere");
    let chunked = sent("POST", PATH, "transfer-encoding: chunked\r\n", "3\r\n{}}\r\n0\r\n\r\n");
    for (label, request, size, detail) in [
        ("not_found", with_length("POST", &elsewhere, CREATED), size, Some("there is no such path")),
        ("not_found", sent("GET", &elsewhere, "", ""), 0, Some("there is no such path")),
        ("method_not_allowed", sent("DELETE", PATH, "", ""), 0, Some("expected one of these methods: POST")),
        ("other_host", other_host, size, Some("a host that `http.allowed_hosts` does not name")),
        ("unauthenticated", with_length("POST", stranger, CREATED), size, None),
        ("not_an_event", chunked, 3, Some("")),
    ] {
        for _ in 0..3 {
            let count = || {
                let (label, size) = (format!("rejection=\"{label}\""), format!("body.bytes={size}"));
                let text = lines.text();
                let of_request = text.lines().filter(|line| line.contains(&label) && line.contains(&size));
                of_request.filter(|line| line.contains("network.peer.address=127.0.0.1")).count()
            };
            let before = count();
            let answer = service.http.exchange(&request).await;
            let said = answer.json()["detail"].as_str().map(str::to_owned);
            assert_eq!(said.is_some(), detail.is_some(), "{label}: {said:?}");
            assert!(said.unwrap_or_default().contains(detail.unwrap_or_default()), "{label}");
            assert_eq!(count(), before + 1, "{label}, {size}: {}", lines.text());
        }
    }
    service.stop().await;
    let text = lines.text();
    for content in ["of-a-stranger", "a-secret-of-the-tests", "userId"] {
        assert!(!text.contains(content), "{content}: {text}");
    }
}

#[tokio::test]
async fn a_flood_of_refusals_is_bounded_and_its_rest_is_counted_in_one_line() {
    let lines = Lines::default();
    let _guard = log_to(&lines);
    let service = Service::start("").await;
    let (more, begun) = (5, tokio::time::Instant::now());
    for _ in 0..LINES_MAX + more {
        service.http.exchange(&sent("GET", "/elsewhere", "", "")).await;
    }
    service.stop().await;
    let text = lines.text();
    let told = text.lines().filter(|line| line.contains("request refused")).count();
    let left_out: usize = text
        .lines()
        .filter_map(|line| line.split_once("left_out="))
        .map(|(_, count)| count.trim().parse::<usize>().unwrap())
        .sum();
    assert_eq!(told + left_out, LINES_MAX + more, "{text}");
    // On a machine that takes minutes for these requests there are several minutes, each with its lines.
    if begun.elapsed().as_secs() < 60 {
        assert_eq!((told, left_out), (LINES_MAX, more), "{text}");
    }
}
