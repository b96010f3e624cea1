//! The loop of a simulation: posts each attempt that is due, and returns the answer to the desk.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use service::Shutdown;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::post::{Answer, Post};
use crate::sender::{Attempt, Desk, Fate};
use crate::tally::Tally;

/// How long attempts in flight may take after the shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// One answered attempt, for an observer.
#[derive(Debug)]
pub struct Answered<'a> {
    pub attempt: &'a Attempt,
    pub answer: &'a Answer,
    pub fate: Fate,
    pub delivered: u64,
}

/// Delivers all events of the sender, at most `concurrency` attempts at a time, until there are no more or a shutdown
/// is requested. Attempts in flight are then finished within `DRAIN_MAX`. Calls `watch` with each answer.
pub async fn deliver(
    sender: &mut Desk,
    post: &Arc<Post>,
    concurrency: NonZeroUsize,
    shutdown: &Shutdown,
    mut watch: impl FnMut(Answered<'_>),
) -> Tally {
    let started = Instant::now();
    let mut tally = Tally::new();
    let mut in_flight = JoinSet::new();
    let mut ending = false;
    loop {
        let due = if ending { None } else { sender.next_due() };
        if due.is_none() && in_flight.is_empty() {
            break;
        }
        let has_room = in_flight.len() < concurrency.get();
        tokio::select! {
            // Answers first: they free the room for the next attempt.
            biased;
            () = shutdown.requested(), if !ending => ending = true,
            Some(answered) = in_flight.join_next() => {
                let (attempt, answer, sent, took): (Attempt, Answer, Instant, Duration) =
                    answered.expect("posting does not panic");
                let fate = sender.answered(attempt.clone(), answer.is_accepted(), started.elapsed());
                tally.count(&attempt, &answer, fate, took, (sent - started).saturating_sub(attempt.due));
                watch(Answered { attempt: &attempt, answer: &answer, fate, delivered: tally.delivered() });
            }
            () = tokio::time::sleep_until(started + due.unwrap_or(Duration::ZERO)), if has_room && due.is_some() => {
                if let Some(attempt) = sender.take() {
                    let (post, shutdown) = (Arc::clone(post), shutdown.clone());
                    in_flight.spawn(async move {
                        let sent = Instant::now();
                        let answer = tokio::select! {
                            answer = post.deliver(&attempt.notice) => answer,
                            () = drained(&shutdown) => Answer::None("no answer before the end"),
                        };
                        (attempt, answer, sent, sent.elapsed())
                    });
                }
            }
        }
    }
    tally.finish(sender.waiting(), started.elapsed());
    tally
}

async fn drained(shutdown: &Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(DRAIN_MAX).await;
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use domain::{UnixMillis, UserId};

    use super::*;
    use crate::history::{History, Population};
    use crate::sender::Habits;

    #[tokio::test]
    async fn a_server_that_says_nothing_does_not_hold_up_the_end() {
        // It accepts a connection, at which the end begins, and nobody reads it.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", silent.local_addr().unwrap());
        let population = Population {
            seed: 1,
            users: 1,
            first_user: UserId::new(1000).unwrap(),
            start: UnixMillis::from_millis(1_700_000_000_000),
            events_per_second: 1.0,
            passwords: false,
        };
        let minute = Duration::from_secs(60);
        let habits = Habits { events_per_second: 1.0, events: Some(1), late: 0.0, repeat: 0.0, minute };
        let mut sender = Desk::new(habits, History::new(population), 1);
        let post = Arc::new(Post::new(&url, None, None).unwrap());
        let shutdown = Shutdown::new();
        let signal = shutdown.clone();
        let accepted = std::thread::spawn(move || {
            let connection = silent.accept().unwrap();
            signal.trigger();
            connection
        });
        let mut answers = Vec::new();
        let concurrency = NonZeroUsize::new(4).unwrap();
        deliver(&mut sender, &post, concurrency, &shutdown, |line| answers.push(line.answer.clone())).await;
        drop(accepted.join().unwrap());
        assert_eq!(answers, [Answer::None("no answer before the end")]);
        assert_eq!(sender.waiting(), 1, "it was not delivered");
    }
}
