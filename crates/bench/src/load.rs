//! The load: a closed loop, where each connection sends when it was answered, and an open loop, where requests are due
//! at fixed times whatever the answers do.
//!
//! In an open loop the latency counts from the time at which the request was due, not from its sending: a service that
//! stalls keeps the requests after it waiting, and that is part of the answer (coordinated omission).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Outcome;
use crate::connection::Connection;

/// Latencies are kept in microseconds, with three digits.
const DIGITS: u8 = 3;
/// A thread that sleeps wakes so much too late; what is due within it is sent at once.
const SLEEP_SLACK: Duration = Duration::from_micros(60);

/// Writes the request of a number, due at that time, into the buffer.
pub(crate) type WriteRequest = Arc<dyn Fn(u64, Instant, &mut Vec<u8>) + Send + Sync>;

/// The answers to a load.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    /// Microseconds of the answers 200: in a closed loop from the sending, in an open one from the time due.
    pub(crate) good: Histogram<u64>,
    /// Microseconds of the answers 503 from their sending.
    pub(crate) busy: Histogram<u64>,
    /// The number of all other answers.
    pub(crate) other: u64,
}

impl Answers {
    pub(crate) fn new() -> Outcome<Self> {
        Ok(Self { good: histogram()?, busy: histogram()?, other: 0 })
    }

    fn count(&mut self, status: u16, since_due: Duration, since_sent: Duration) {
        match status {
            200 => record(&mut self.good, since_due),
            503 => record(&mut self.busy, since_sent),
            _ => self.other += 1,
        }
    }

    fn add(&mut self, other: &Self) -> Outcome<()> {
        self.good.add(&other.good)?;
        self.busy.add(&other.busy)?;
        self.other += other.other;
        Ok(())
    }

    /// Returns an error if there was an answer other than 200 and 503.
    ///
    /// # Errors
    /// See above.
    pub(crate) fn checked(self) -> Outcome<Self> {
        if self.other > 0 {
            return Err(format!("{} answers were neither 200 nor 503", self.other).into());
        }
        Ok(self)
    }
}

/// Sends from all connections as fast as they are answered, for a time.
///
/// # Errors
/// If a connection fails.
pub(crate) async fn closed(
    server: SocketAddr,
    connections: usize,
    duration: Duration,
    numbers: &Arc<AtomicU64>,
    write: &WriteRequest,
) -> Outcome<Answers> {
    let until = Instant::now() + duration;
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let (numbers, write) = (Arc::clone(numbers), Arc::clone(write));
        workers.spawn(async move {
            let mut connection = Connection::open(server).await?;
            let (mut answers, mut request) = (Answers::new()?, Vec::with_capacity(4096));
            loop {
                let sent = Instant::now();
                if sent >= until {
                    return Ok(answers);
                }
                request.clear();
                write(numbers.fetch_add(1, Ordering::Relaxed), sent, &mut request);
                let status = connection.exchange(&request).await?;
                let took = sent.elapsed();
                answers.count(status, took, took);
            }
        });
    }
    all(workers).await
}

/// Sends at `rate` a second for a time, from as many connections as are free, and then what is still to be sent:
/// until all is answered, or, with `until_end`, until the time is over.
///
/// # Errors
/// If a connection fails.
pub(crate) async fn open(
    server: SocketAddr,
    connections: usize,
    pace: Pace,
    until_end: bool,
    numbers: &Arc<AtomicU64>,
    write: &WriteRequest,
) -> Outcome<Answers> {
    let end = Instant::now() + pace.duration;
    let due = Arc::new(Mutex::new(pace.start()));
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let (numbers, write, due) = (Arc::clone(numbers), Arc::clone(write), Arc::clone(&due));
        workers.spawn(async move {
            let mut connection = Connection::open(server).await?;
            let (mut answers, mut request) = (Answers::new()?, Vec::with_capacity(4096));
            loop {
                let next = due.lock().await.recv().await;
                let Some(due_at) = next else { return Ok(answers) };
                let sent = Instant::now();
                if until_end && sent >= end {
                    continue;
                }
                request.clear();
                write(numbers.fetch_add(1, Ordering::Relaxed), due_at, &mut request);
                let status = connection.exchange(&request).await?;
                answers.count(status, due_at.elapsed(), sent.elapsed());
            }
        });
    }
    all(workers).await
}

async fn all(mut workers: JoinSet<Outcome<Answers>>) -> Outcome<Answers> {
    let mut sum = Answers::new()?;
    while let Some(answers) = workers.join_next().await {
        sum.add(&answers??)?;
    }
    Ok(sum)
}

/// When requests are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
}

impl Pace {
    /// Returns the number of all requests.
    pub(crate) fn count(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of requests, rounded")]
        let count = (self.rate * self.duration.as_secs_f64()).round() as u64;
        count
    }

    /// Returns what receives the times at which requests are due, each when it has come.
    ///
    /// A thread of its own keeps them: the runtime's timers have a resolution of a millisecond.
    pub(crate) fn start(&self) -> mpsc::UnboundedReceiver<Instant> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (pace, count) = (*self, self.count());
        std::thread::spawn(move || {
            let began = Instant::now();
            for number in 0..count {
                let due = began + Duration::from_secs_f64(number as f64 / pace.rate);
                let ahead = due.saturating_duration_since(Instant::now());
                if ahead > SLEEP_SLACK {
                    std::thread::sleep(ahead.checked_sub(SLEEP_SLACK).unwrap_or_default());
                }
                if sender.send(due).is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

/// Returns an empty histogram of microseconds.
///
/// # Errors
/// Never with these digits.
pub(crate) fn histogram() -> Outcome<Histogram<u64>> {
    Ok(Histogram::new(DIGITS)?)
}

/// Records a latency.
pub(crate) fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    histogram.record(micros).expect("a histogram without bounds grows as it must");
}

/// Returns a quantile of latencies in milliseconds; not a number where there are none.
pub(crate) fn quantile_ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    if histogram.is_empty() { f64::NAN } else { histogram.value_at_quantile(quantile) as f64 / 1000.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_due_in_order_and_all_of_them_come() {
        let pace = Pace { rate: 10_000.0, duration: Duration::from_millis(20) };
        let (mut due, mut times) = (pace.start(), Vec::new());
        while let Some(at) = due.recv().await {
            times.push(at);
        }
        assert_eq!((times.len(), times.is_sorted()), (200, true));
        assert_eq!(times[199] - times[0], Duration::from_micros(19_900));
    }
}
