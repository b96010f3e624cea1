//! A reader of `/changes` that notes when each change came, and the times at which they were due.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Outcome;
use crate::bodies::{NUMBER_DIGITS, NUMBER_FIELD};
use crate::load::{histogram, record};

/// How long the last changes may take to be seen.
pub(crate) const SEEN_WAIT_MAX: Duration = Duration::from_secs(60);
/// The end of an event.
const EVENT_END: &[u8] = b"\n\n";

/// What a stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A change, or a state of the table, with the number in it.
    User(u64),
    CaughtUp,
    /// The end of the stream, with its reason in an event: too slow, or no place.
    CutOff,
}

/// An open stream.
#[derive(Debug)]
pub(crate) struct Stream {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The id of the last event that had one.
    pub(crate) last_id: String,
}

impl Stream {
    /// Asks for the changes, from `last_id` on or, where it is empty, with the table before them.
    ///
    /// # Errors
    /// If the projector does not answer 200.
    pub(crate) async fn open(server: SocketAddr, query: &str, last_id: &str) -> Outcome<Self> {
        let mut stream = TcpStream::connect(server).await?;
        // Closed at once: a reader that closes in order may have closed its sending half alone.
        stream.set_zero_linger()?;
        let resumes = if last_id.is_empty() { String::new() } else { format!("last-event-id: {last_id}\r\n") };
        let request =
            format!("GET /changes{query} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{resumes}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = Vec::with_capacity(16 * 1024);
        loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err("the projector closed a stream before its answer".into());
            }
            if let Some(end) = find(&buffer, b"\r\n\r\n") {
                if !buffer.starts_with(b"HTTP/1.1 200") {
                    return Err(format!("/changes: {}", String::from_utf8_lossy(&buffer)).into());
                }
                buffer.drain(..end + 4);
                return Ok(Self { stream, buffer, last_id: last_id.to_owned() });
            }
        }
    }

    /// Waits until an event has come, and calls `each` for every event that has. Returns whether the stream goes on.
    /// Dropping the call loses nothing.
    ///
    /// # Errors
    /// If the connection fails.
    pub(crate) async fn read(&mut self, mut each: impl FnMut(Heard)) -> io::Result<bool> {
        while !self.take(&mut each) {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes all whole events out of the buffer, and returns whether there was one.
    fn take(&mut self, each: &mut impl FnMut(Heard)) -> bool {
        let mut from = 0;
        while let Some(end) = find(&self.buffer[from..], EVENT_END) {
            let event = Event::of(&self.buffer[from..from + end]);
            if let Some(id) = event.id {
                self.last_id = String::from_utf8_lossy(id).into_owned();
            }
            if let Some(heard) = event.heard {
                each(heard);
            }
            from += end + EVENT_END.len();
        }
        self.buffer.drain(..from);
        from > 0
    }

    /// Reads until the stream has caught up.
    ///
    /// # Errors
    /// If it ends before.
    pub(crate) async fn caught_up(&mut self) -> Outcome<()> {
        let mut caught_up = false;
        while !caught_up {
            let goes_on = self.read(|heard| caught_up |= heard == Heard::CaughtUp).await?;
            if !goes_on && !caught_up {
                return Err("a stream ended before it had caught up".into());
            }
        }
        Ok(())
    }

    /// Reads until so many of the changes that are due have come, and returns how long after its time each did.
    ///
    /// # Errors
    /// If the stream ends before, or they have not come in `patience`.
    pub(crate) async fn delays(mut self, dues: Arc<Dues>, count: u64, patience: Duration) -> Outcome<Histogram<u64>> {
        let mut delays = histogram()?;
        let reading = async {
            let mut is_cut_off = false;
            while delays.len() < count {
                let goes_on = self.read(|heard| {
                    is_cut_off |= heard == Heard::CutOff;
                    dues.record(heard, &mut delays);
                });
                // The connection may go on after the stream.
                if (!goes_on.await? || is_cut_off) && delays.len() < count {
                    return Err("the stream of changes ended".into());
                }
            }
            Outcome::Ok(())
        };
        match tokio::time::timeout(patience, reading).await {
            Ok(read) => read.map(|()| delays),
            Err(_) => Err(format!("{} of {count} changes were seen", delays.len()).into()),
        }
    }
}

#[derive(Debug)]
struct Event<'a> {
    id: Option<&'a [u8]>,
    heard: Option<Heard>,
}

impl<'a> Event<'a> {
    /// Returns what an event says. Between its lines can be those of HTTP's chunks, which say nothing.
    fn of(bytes: &'a [u8]) -> Self {
        let mut event = Self { id: None, heard: None };
        for line in bytes.split(|byte| *byte == b'\n') {
            if let Some(id) = line.strip_prefix(b"id:") {
                event.id = Some(id.trim_ascii());
            } else if let Some(name) = line.strip_prefix(b"event:") {
                event.heard = match name.trim_ascii() {
                    b"caught-up" => Some(Heard::CaughtUp),
                    b"cut-off" | b"busy" => Some(Heard::CutOff),
                    _ => event.heard,
                };
            } else if line.starts_with(b"data:")
                && event.heard.is_none()
                && let Some(number) = number_in(line)
            {
                event.heard = Some(Heard::User(number));
            }
        }
        event
    }
}

/// Returns the number that a webhook or a record of the yardstick has in a field of its user.
fn number_in(data: &[u8]) -> Option<u64> {
    let at = find(data, NUMBER_FIELD)? + NUMBER_FIELD.len();
    std::str::from_utf8(data.get(at..at + NUMBER_DIGITS)?).ok()?.parse().ok()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The times at which the changes of these numbers were due.
#[derive(Debug)]
pub(crate) struct Dues {
    base: Instant,
    first: u64,
    /// Microseconds since the base; 0 where nothing was due yet.
    micros: Vec<AtomicU64>,
}

impl Dues {
    /// Returns the times of so many numbers, from the first on.
    pub(crate) fn new(first: u64, count: u64) -> Self {
        let micros = (0..count).map(|_| AtomicU64::new(0)).collect();
        Self { base: Instant::now(), first, micros }
    }

    /// Notes when a number is due.
    pub(crate) fn note(&self, number: u64, due: Instant) {
        if let Some(micros) = self.of(number) {
            let since = u64::try_from((due - self.base).as_micros()).unwrap_or(u64::MAX);
            micros.store(since.max(1), Ordering::Relaxed);
        }
    }

    /// Records how long ago a change was due, if it is of these.
    pub(crate) fn record(&self, heard: Heard, delays: &mut Histogram<u64>) {
        if let Heard::User(number) = heard
            && let Some(since) = self.since(number)
        {
            record(delays, since);
        }
    }

    /// Returns how long ago a number was due; `None` for one that is not among these.
    pub(crate) fn since(&self, number: u64) -> Option<Duration> {
        let micros = self.of(number)?.load(Ordering::Relaxed);
        (micros > 0).then(|| self.base.elapsed().saturating_sub(Duration::from_micros(micros)))
    }

    fn of(&self, number: u64) -> Option<&AtomicU64> {
        self.micros.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_between_the_lines_of_chunks() {
        let bytes = b"1a3\r\nid: topic/0:17\nevent: changed\ndata: {\"userId\":7,\"contactPhone\":\"000000001234\"}";
        let event = Event::of(bytes);
        assert_eq!((event.id, event.heard), (Some(b"topic/0:17".as_slice()), Some(Heard::User(1234))));
        let event = Event::of(b"id: x\nevent: caught-up\ndata: {\"checkpoint\":\"x\"}");
        assert_eq!(event.heard, Some(Heard::CaughtUp));
        assert_eq!(Event::of(b": heartbeat").heard, None);
    }

    #[test]
    fn only_what_was_due_has_a_delay() {
        let dues = Dues::new(10, 2);
        dues.note(10, Instant::now());
        assert!(dues.since(10).is_some());
        assert_eq!((dues.since(9), dues.since(11), dues.since(12)), (None, None, None));
    }
}
