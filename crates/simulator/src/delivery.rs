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

/// One answered attempt, for an observer.
#[derive(Debug)]
pub struct Answered<'a> {
    pub attempt: &'a Attempt,
    pub answer: &'a Answer,
    pub fate: Fate,
    pub delivered: u64,
}

/// Delivers all events of the sender, at most `concurrency` attempts at a time, until there are no more or a shutdown
/// is requested. Attempts in flight are then finished. Calls `watch` with each answer.
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
                    let post = Arc::clone(post);
                    in_flight.spawn(async move {
                        let sent = Instant::now();
                        let answer = post.deliver(&attempt.notice).await;
                        (attempt, answer, sent, sent.elapsed())
                    });
                }
            }
        }
    }
    tally.finish(sender.waiting(), started.elapsed());
    tally
}
