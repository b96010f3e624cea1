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

/// The runtime has one thread, which is this one, so that the subscriber of the thread sees all of the service.
#[tokio::test]
async fn each_reason_has_a_line_and_strangers_have_one_a_minute() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let service = Service::start("[http]\nallowed_hosts = ['t']").await;
    let sent = |method: &str, path: &str, host: &str| {
        let length = CREATED.len();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{CREATED}"
        )
    };
    let path = PATH.replace("users", "elsewhere");
    for (label, request, detail) in [
        ("not_found", sent("POST", &path, "t"), Some("there is no such path")),
        ("method_not_allowed", sent("DELETE", PATH, "t"), Some("expected one of these methods: POST")),
        ("other_host", sent("POST", PATH, "elsewhere"), Some("a host that `http.allowed_hosts` does not name")),
        ("unauthenticated", sent("POST", "/webhooks/users?secret-key=of-a-stranger", "t"), None),
    ] {
        let count = || lines.text().matches(&format!("rejection=\"{label}\"")).count();
        for _ in 0..3 {
            let answer = service.http.exchange(&request).await;
            let said = answer.json()["detail"].as_str().map(str::to_owned);
            assert_eq!(said.is_some(), detail.is_some(), "{label}: {said:?}");
            assert!(said.unwrap_or_default().contains(detail.unwrap_or_default()), "{label}");
            assert_eq!(count(), 1, "{label}: {}", lines.text());
        }
    }
    service.stop().await;
    let text = lines.text();
    for content in ["of-a-stranger", "a-secret-of-the-tests", "userId"] {
        assert!(!text.contains(content), "{content}: {text}");
    }
}
