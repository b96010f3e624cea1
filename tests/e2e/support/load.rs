//! Load from senders that do as the vendor does, and what must be true of everything that they were promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use domain::Position;
use hyper::{Method, StatusCode};
use kafka::Record;
use testkit::deliveries::delivery;
use testkit::{Http, eventually};
use tokio::sync::Mutex;
use upkeep::Table;

use super::system::WEBHOOK;

const SENDERS: u64 = 4;
const USERS_PER_SENDER: u64 = 5;
/// How long the load may take to make the progress that a test waits for.
const PROGRESS_MAX: Duration = Duration::from_secs(120);
/// How long a sender waits for an answer before it sends again.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The pause of a sender that was not answered, so that a service which is away is not stormed.
const PAUSE: Duration = Duration::from_millis(5);

/// Senders that do as the vendor does: each delivery again and again until it is accepted.
pub(crate) struct Load {
    target: Mutex<Http>,
    accepted: AtomicU64,
    done: AtomicBool,
}

/// A delivery that was answered 200.
pub(crate) struct Accepted {
    event_id: String,
    position: Position,
}

impl Load {
    pub(crate) fn on(target: Http) -> Self {
        Self { target: Mutex::new(target), accepted: AtomicU64::new(0), done: AtomicBool::new(false) }
    }

    /// Sends until [`Load::end`], and returns everything that was accepted.
    pub(crate) async fn run(&self) -> Vec<Accepted> {
        let accepted = futures_util::future::join_all((0..SENDERS).map(|sender| self.send(sender))).await;
        accepted.into_iter().flatten().collect()
    }

    /// From now on the senders find the service there.
    pub(crate) async fn turn_to(&self, target: Http) {
        *self.target.lock().await = target;
    }

    pub(crate) fn end(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// Delivers change after change of the sender's own users until told to stop.
    async fn send(&self, sender: u64) -> Vec<Accepted> {
        let mut accepted = Vec::new();
        let users = sender * USERS_PER_SENDER..(sender + 1) * USERS_PER_SENDER;
        for (change, user) in (0..).flat_map(|change| users.clone().map(move |user| (change, user))) {
            let body = delivery(user, change);
            while !self.done.load(Ordering::Relaxed) {
                let target = self.target.lock().await.clone();
                let answer = tokio::time::timeout(ANSWER_MAX, target.send(Method::POST, WEBHOOK, body.clone())).await;
                // No answer at all is what a service that is being stopped gives.
                let Ok(Ok(answer)) = answer else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                if answer.status == StatusCode::OK {
                    accepted.push(Accepted { event_id: answer.text("/eventId"), position: answer.place("/position") });
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
            }
            if self.done.load(Ordering::Relaxed) {
                break;
            }
        }
        accepted
    }

    /// Waits until so many more deliveries were accepted.
    pub(crate) async fn progress(&self, more: u64) {
        let goal = self.accepted.load(Ordering::Relaxed) + more;
        eventually("deliveries are accepted", PROGRESS_MAX, async || {
            (self.accepted.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }
}

/// Every delivery that was answered 200 is in the log where the answer said.
pub(crate) fn assert_all_stored(accepted: &[Accepted], log: &[Record]) {
    let stored: BTreeMap<Position, String> = log
        .iter()
        .map(|record| {
            let value = record.value.as_deref().expect("nobody was forgotten");
            let head = domain::wire::decode_head(value).expect("every record can be read");
            (record.position, head.event_id.to_string())
        })
        .collect();
    for Accepted { event_id, position } in accepted {
        assert_eq!(stored.get(position), Some(event_id), "what was promised at {position}");
    }
}

/// Compares every user of the projector with the fold of the log, made here from the records alone.
pub(crate) async fn assert_state_is_fold(projector: &Http, log: &[Record]) {
    let (mut fold, mut users, mut last) = (Table::default(), BTreeSet::new(), BTreeMap::new());
    for record in log {
        let (user_id, _) = fold.take(record).expect("every record can be read");
        users.insert(user_id);
        last.insert(record.position.partition, record.position);
    }
    for position in last.values() {
        let reached = projector.get(&format!("/status?at_least={position}&wait_ms=30000")).await;
        assert_eq!(reached.status, StatusCode::OK, "{reached:?}");
    }
    assert_eq!(users.len() as u64, SENDERS * USERS_PER_SENDER, "every user was delivered");
    for user_id in users {
        let user = projector.get(&format!("/users/{user_id}")).await;
        let state = &fold.key(user_id).expect("the user is there").roll;
        let (position, winner) = (state.position(), state.winner().expect("nobody was forgotten"));
        assert_eq!(user.place("/_meta/position"), position, "user {user_id}");
        assert_eq!(user.text("/_meta/eventId"), winner.event_id.to_string(), "user {user_id}");
        let value = log.iter().find(|record| record.position == position).and_then(|record| record.value.as_deref());
        let event = domain::wire::decode(value.expect("the winner is in the log")).expect("every record can be read");
        assert_eq!(Some(user.text("/name")), event.new.name, "user {user_id}");
    }
}
