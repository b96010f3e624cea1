//! The counts of a simulation, and its report.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::post::Answer;
use crate::sender::{Attempt, Fate};

/// Latencies up to ten minutes are kept with three digits, which takes a few hundred kilobytes.
const LATENCY_MICROS_MAX: u64 = 600_000_000;
const LATENCY_DIGITS: u8 = 3;

/// The counts of a simulation.
#[derive(Debug)]
pub struct Tally {
    attempts: u64,
    /// The number of answers by label.
    answers: BTreeMap<String, u64>,
    delivered: u64,
    late: u64,
    repeated: u64,
    pub dropped: u64,
    /// The number of events that were neither delivered nor dropped when the simulation was ended early.
    abandoned: usize,
    took: Duration,
    /// The largest delay of an attempt against its schedule.
    behind: Duration,
    micros: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let micros =
            Histogram::new_with_max(LATENCY_MICROS_MAX, LATENCY_DIGITS).expect("the two constants are in bounds");
        Self {
            attempts: 0,
            answers: BTreeMap::new(),
            delivered: 0,
            late: 0,
            repeated: 0,
            dropped: 0,
            abandoned: 0,
            took: Duration::ZERO,
            behind: Duration::ZERO,
            micros,
        }
    }

    /// Counts an attempt that was sent `behind` schedule and answered after `took`.
    pub(crate) fn count(&mut self, attempt: &Attempt, answer: &Answer, fate: Fate, took: Duration, behind: Duration) {
        self.attempts += 1;
        *self.answers.entry(answer.label()).or_default() += 1;
        self.behind = self.behind.max(behind);
        self.repeated += u64::from(attempt.repeated);
        match fate {
            Fate::Delivered => {
                self.delivered += 1;
                self.late += u64::from(attempt.number > 1 && !attempt.repeated);
            }
            Fate::Dropped => self.dropped += 1,
            Fate::AnswerLost | Fate::Waiting => {}
        }
        if matches!(answer, Answer::Status(..)) {
            self.micros.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LATENCY_MICROS_MAX));
        }
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Closes the account after `took`, with `abandoned` deliveries still waiting.
    pub(crate) fn finish(&mut self, abandoned: usize, took: Duration) {
        (self.abandoned, self.took) = (abandoned, took);
    }

    /// Returns the report.
    pub fn report(&self) -> String {
        let mut text = String::new();
        let rate = self.attempts_per_second();
        let mut line = |name: &str, value: String| {
            writeln!(text, "{name:<12} {value}").expect("a String takes everything");
        };
        line(
            "delivered",
            format!("{} events in {:.1} s, {rate:.1} requests/s", self.delivered, self.took.as_secs_f64()),
        );
        line("late", format!("{} events arrived after lost attempts", self.late));
        line("repeated", format!("{} deliveries were sent again after they had been accepted", self.repeated));
        line("dropped", format!("{} events were given up after 15 attempts", self.dropped));
        if self.abandoned > 0 {
            line(
                "abandoned",
                format!("{} events were still to be delivered when the simulation was ended", self.abandoned),
            );
        }
        for (label, count) in &self.answers {
            line("answer", format!("{count:>8}  {label}"));
        }
        if !self.micros.is_empty() {
            let at = |quantile: f64| millis(self.micros.value_at_quantile(quantile));
            let max = millis(self.micros.max());
            line("latency", format!("p50 {}  p90 {}  p99 {}  max {max}", at(0.5), at(0.9), at(0.99)));
        }
        line("behind plan", format!("at most {:.3} s", self.behind.as_secs_f64()));
        text
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn attempts_per_second(&self) -> f64 {
        self.attempts as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time for people")]
fn millis(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1000.0)
}
