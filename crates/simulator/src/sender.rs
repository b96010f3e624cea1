//! The vendor's delivery desk: when each delivery is attempted, and how an answer counts.
//!
//! Pure: time is a duration since the start, an answer is an argument.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use domain::topics::ATTEMPTS_MAX;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use crate::history::{History, Notice};

/// The most attempts of a late delivery that are lost: six are 63 of the vendor's minutes, enough to be overtaken.
const LOST_ATTEMPTS_MAX: u32 = 6;
/// The most deliveries that wait for another attempt. Beyond it no new event is created, so that a dead receiver does
/// not exhaust the memory.
const WAITING_MAX: usize = 100_000;

/// The rates of failures, and the times of retries.
#[derive(Clone, Debug)]
pub struct Habits {
    pub events_per_second: f64,
    /// The number of events; `None` for an endless simulation.
    pub events: Option<u64>,
    /// The share of events whose first attempts are lost on their way, so that they arrive late.
    pub late: f64,
    /// The share of accepted deliveries whose answer is lost, so that they are sent again.
    pub repeat: f64,
    /// The length of one of the vendor's minutes.
    pub minute: Duration,
}

/// One attempt to deliver an event.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub notice: Arc<Notice>,
    /// Counts from 1, and includes attempts lost on their way.
    pub number: u32,
    pub due: Duration,
    /// Whether an earlier attempt was accepted without the sender's knowledge.
    pub repeated: bool,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    /// Accepted, but the answer is lost. The sender will send it again.
    AnswerLost,
    Waiting,
    /// The last attempt failed. The vendor gives the event up.
    Dropped,
}

/// The desk: the events of a history, in the order of their attempts.
#[derive(Debug)]
pub struct Desk {
    habits: Habits,
    history: History,
    rng: ChaCha8Rng,
    created: u64,
    queued: u64,
    waiting: BinaryHeap<Reverse<Queued>>,
}

/// An attempt in the queue: earliest first, then in the order of queueing.
#[derive(Debug)]
struct Queued {
    number: u64,
    attempt: Attempt,
}

impl Desk {
    pub fn new(habits: Habits, history: History, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // A separate random stream: failures on the way must not change the history.
        rng.set_stream(1);
        Self { habits, history, rng, created: 0, queued: 0, waiting: BinaryHeap::new() }
    }

    /// Returns when the next attempt is due, or `None` when only attempts in flight are left.
    pub(crate) fn next_due(&mut self) -> Option<Duration> {
        self.fill_queue();
        self.waiting.peek().map(|Reverse(queued)| queued.attempt.due)
    }

    /// Takes the attempt that is due next.
    pub fn take(&mut self) -> Option<Attempt> {
        self.fill_queue();
        self.waiting.pop().map(|Reverse(queued)| queued.attempt)
    }

    /// Records the answer to an attempt, which came at `now`.
    pub fn answered(&mut self, attempt: Attempt, accepted: bool, now: Duration) -> Fate {
        let last = attempt.number >= ATTEMPTS_MAX;
        // The answer to a repetition is not lost again: one repetition is enough.
        let lost = accepted && !attempt.repeated && !last && self.rng.random_bool(self.habits.repeat);
        match (accepted, lost) {
            (true, false) => Fate::Delivered,
            (false, _) if last => Fate::Dropped,
            _ => {
                let due = now + self.delay_after(attempt.number);
                let (number, repeated) = (attempt.number + 1, attempt.repeated || accepted);
                self.queue(Attempt { number, due, repeated, ..attempt });
                if accepted { Fate::AnswerLost } else { Fate::Waiting }
            }
        }
    }

    /// Returns the number of deliveries that wait for an attempt.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of events; `None` for an endless simulation.
    pub fn events(&self) -> Option<u64> {
        self.habits.events
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// Creates events until the next one occurs later than a waiting attempt, so that the queue holds the earliest of
    /// all.
    fn fill_queue(&mut self) {
        while self.may_queue()
            && self.waiting.peek().is_none_or(|Reverse(next)| self.next_event_at() < next.attempt.due)
        {
            let occurred = self.next_event_at();
            self.created += 1;
            let notice = Arc::new(self.history.advance());
            let lost =
                if self.rng.random_bool(self.habits.late) { self.rng.random_range(1..=LOST_ATTEMPTS_MAX) } else { 0 };
            let due = (1..=lost).fold(occurred, |due, number| due + self.delay_after(number));
            self.queue(Attempt { notice, number: lost + 1, due, repeated: false });
        }
    }

    fn may_queue(&self) -> bool {
        self.waiting.len() < WAITING_MAX && self.habits.events.is_none_or(|events| self.created < events)
    }

    #[expect(clippy::cast_precision_loss, reason = "the number of an event, far below 2^52")]
    fn next_event_at(&self) -> Duration {
        Duration::from_secs_f64(self.created as f64 / self.habits.events_per_second)
    }

    /// Returns the vendor's pause after a failed attempt: 1, 2, 4, 8 … minutes.
    fn delay_after(&self, attempt: u32) -> Duration {
        self.habits.minute * (1 << (attempt - 1).min(ATTEMPTS_MAX))
    }

    fn queue(&mut self, attempt: Attempt) {
        self.queued += 1;
        self.waiting.push(Reverse(Queued { number: self.queued, attempt }));
    }
}

impl Queued {
    fn key(&self) -> (Duration, u64) {
        (self.attempt.due, self.number)
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Population;
    use domain::{UnixMillis, UserId};

    fn sender(events: u64, late: f64, repeat: f64) -> Desk {
        let population = Population {
            seed: 1,
            users: 10,
            first_user: UserId::new(1000).unwrap(),
            start: UnixMillis::from_millis(1_700_000_000_000),
            events_per_second: 10.0,
            passwords: false,
        };
        let habits =
            Habits { events_per_second: 10.0, events: Some(events), late, repeat, minute: Duration::from_millis(60) };
        Desk::new(habits, History::new(population), 1)
    }

    /// Sends everything, with the answers of `accept`. Returns the attempts in the order of sending.
    fn run(sender: &mut Desk, accept: impl Fn(&Attempt) -> bool) -> Vec<(Attempt, Fate)> {
        let mut sent = Vec::new();
        while let Some(attempt) = sender.take() {
            let now = attempt.due;
            let fate = sender.answered(attempt.clone(), accept(&attempt), now);
            sent.push((attempt, fate));
        }
        sent
    }

    #[test]
    fn without_faults_each_event_is_sent_once_in_its_order_and_at_its_time() {
        let sent = run(&mut sender(100, 0.0, 0.0), |_| true);
        assert_eq!(sent.len(), 100);
        assert!(sent.iter().all(|(attempt, fate)| attempt.number == 1 && *fate == Fate::Delivered));
        assert_eq!(sent[99].0.due, Duration::from_millis(9_900));
    }

    #[test]
    fn delays_are_1_2_4_8_minutes_and_the_fifteenth_attempt_is_the_last() {
        let sent = run(&mut sender(1, 0.0, 0.0), |_| false);
        let minutes: Vec<_> = sent.windows(2).map(|two| (two[1].0.due - two[0].0.due).as_millis() / 60).collect();
        assert_eq!(minutes, (0..14).map(|power| 1 << power).collect::<Vec<u128>>());
        assert_eq!(sent.len(), 15);
        assert_eq!(sent[14].1, Fate::Dropped);
        assert!(sent[..14].iter().all(|(_, fate)| *fate == Fate::Waiting));
    }

    #[test]
    fn a_late_delivery_comes_after_lost_attempts_and_may_be_overtaken() {
        let sent = run(&mut sender(1000, 0.3, 0.0), |_| true);
        let late = sent.iter().filter(|(attempt, _)| attempt.number > 1).count();
        assert!((200..400).contains(&late), "{late} of 1000 for a share of 0.3");
        assert_eq!(sent.len(), 1000);
        assert!(sent.windows(2).all(|two| two[0].0.due <= two[1].0.due));
        let occurred = |index: usize| sent[index].0.notice.event.occurred_at;
        assert!((1..1000).any(|index| occurred(index) < occurred(index - 1)));
    }

    #[test]
    fn a_repeated_delivery_is_accepted_twice_and_no_more() {
        let sent = run(&mut sender(1000, 0.0, 0.2), |_| true);
        let repeated = sent.iter().filter(|(attempt, _)| attempt.repeated).count();
        assert!((120..280).contains(&repeated), "{repeated} of 1000 for a share of 0.2");
        assert_eq!(sent.len(), 1000 + repeated);
        assert_eq!(sent.iter().filter(|(_, fate)| *fate == Fate::AnswerLost).count(), repeated);
    }

    #[test]
    fn what_goes_wrong_on_the_way_does_not_change_what_happened() {
        let newest = |sender: &Desk| sender.history().newest().map(|event| event.event_id).collect::<Vec<_>>();
        let (mut calm, mut rough) = (sender(300, 0.0, 0.0), sender(300, 0.4, 0.4));
        run(&mut calm, |_| true);
        run(&mut rough, |attempt| attempt.number > 2);
        assert_eq!(newest(&calm), newest(&rough));
    }
}
