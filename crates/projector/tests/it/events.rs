//! A reader of Server-Sent Events.

use domain::{Position, TopicPosition};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::support::{PATIENCE, Service, send};

/// One event of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) data: Option<Value>,
}

/// A stream that is read event by event.
pub(crate) struct Events {
    stream: TcpStream,
    raw: Vec<u8>,
    text: String,
    in_body: bool,
}

impl Events {
    pub(crate) async fn open(service: &Service, path: &str, last_event_id: Option<&str>) -> Self {
        let headers: Vec<(&str, &str)> = last_event_id.map(|id| ("last-event-id", id)).into_iter().collect();
        Self::with(service, path, &headers).await
    }

    pub(crate) async fn with(service: &Service, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::of(send(service.http, "GET", path, headers).await)
    }

    /// Reads what comes from a connection on which a request was sent.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream, raw: Vec::new(), text: String::new(), in_body: false }
    }

    /// Waits for the next event with a name; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((text, rest)) = self.text.split_once("\n\n") {
                let event = parse(text);
                self.text = rest.to_owned();
                if event.name.is_some() {
                    return Some(event);
                }
            }
            let mut bytes = vec![0; 16 * 1024];
            let count = tokio::time::timeout(PATIENCE, self.stream.read(&mut bytes)).await.unwrap().unwrap();
            if count == 0 {
                return None;
            }
            self.raw.extend(&bytes[..count]);
            self.unchunk();
        }
    }

    pub(crate) async fn until(&mut self, name: &str) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}: {events:?}"));
            events.push(event.clone());
            if event.name.as_deref() == Some(name) {
                return events;
            }
        }
    }

    pub(crate) async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.unwrap());
        }
        events
    }

    fn unchunk(&mut self) {
        if !self.in_body {
            let Some(end) = self.raw.windows(4).position(|window| window == b"\r\n\r\n") else { return };
            let head = String::from_utf8(self.raw.drain(..end + 4).collect()).unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            self.in_body = true;
        }
        while let Some(line) = self.raw.windows(2).position(|window| window == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&self.raw[..line]).unwrap(), 16).unwrap();
            if self.raw.len() < line + 2 + size + 2 {
                return;
            }
            self.text.push_str(std::str::from_utf8(&self.raw[line + 2..line + 2 + size]).unwrap());
            self.raw.drain(..line + 2 + size + 2);
        }
    }
}

fn parse(text: &str) -> Event {
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned);
    Event {
        id: field("id"),
        name: field("event"),
        data: field("data").map(|data| serde_json::from_str(&data).unwrap()),
    }
}

pub(crate) fn positions(events: &[Event]) -> Vec<Position> {
    let position = |event: &Event| {
        let named: TopicPosition = event.data.as_ref()?["_meta"]["position"].as_str()?.parse().ok()?;
        Some(named.position)
    };
    events.iter().filter_map(position).collect()
}

pub(crate) fn last_id(events: &[Event]) -> String {
    events.last().unwrap().id.clone().unwrap()
}
