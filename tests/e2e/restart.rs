//! Services, and Kafka itself, stopped at any moment under load and started again: no acknowledged event is lost, and the
//! state is the fold of the log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use domain::fold::{KeyState, apply};
use domain::{Position, UserId};
use hyper::{Method, StatusCode};
use log::topics::Names;
use log::{ClientOptions, Record};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::support::broker::{Broker, make_topics, on_both_brokers, read_to_end, where_kafka_runs};
use crate::support::deliveries::delivery;
use crate::support::eventually::eventually;
use crate::support::http::Http;
use crate::support::kafka::Kafka;
use crate::support::system::{Ingest, Projector, WEBHOOK};

on_both_brokers!(services_are_stopped_at_any_moment);

const PARTITIONS: i32 = 2;
const SENDERS: u64 = 4;
const USERS_PER_SENDER: u64 = 5;
/// How many times something is stopped.
const STOPS: u64 = 12;
/// How many deliveries at most are accepted between one stop and the next.
const DELIVERIES_BETWEEN_STOPS_MAX: u64 = 60;
/// How long ingest waits for Kafka here: short, since the senders wait it out while Kafka is dead.
const PUBLISH_DEADLINE_MS: u64 = 2000;
/// How long the load may take to make the progress that the next stop waits for.
const PROGRESS_MAX: Duration = Duration::from_secs(120);

async fn services_are_stopped_at_any_moment(broker: &Broker) {
    let names = broker.make_topics(PARTITIONS).await;
    stop_at_any_moment(&broker.client_options(), &names, None).await;
}

#[test]
fn kafka_too_is_killed_at_any_moment() {
    where_kafka_runs("restart::kafka_too_is_killed_at_any_moment", async || {
        let kafka = Kafka::start(&[]).await;
        let (options, names) = (ClientOptions::new(kafka.bootstrap()), Names::default());
        make_topics(&options, &names, PARTITIONS, 1).await;
        stop_at_any_moment(&options, &names, Some(&kafka)).await;
    });
}

async fn stop_at_any_moment(options: &ClientOptions, names: &Names, kafka: Option<&Kafka>) {
    let store = TempDir::new().expect("a folder can be made");
    let start_ingest = || Ingest::start(options, names, |raw| raw.webhook.publish_deadline_ms = PUBLISH_DEADLINE_MS);
    let start_projector = || Projector::start(options, names, store.path(), |_| {});
    let mut ingest = start_ingest().await;
    let mut projector = start_projector().await;
    let load =
        Load { target: Mutex::new(ingest.http.clone()), accepted: AtomicU64::new(0), done: AtomicBool::new(false) };

    let senders = futures_util::future::join_all((0..SENDERS).map(|sender| load.send(sender)));
    let stops = async {
        let mut random = Random(0x5EED);
        for _ in 0..STOPS {
            load.progress(random.below(DELIVERIES_BETWEEN_STOPS_MAX)).await;
            match (random.below(3), kafka) {
                (0, _) => {
                    ingest.stop().await.expect("ingest ends well");
                    ingest = start_ingest().await;
                    *load.target.lock().await = ingest.http.clone();
                }
                (1, Some(kafka)) => {
                    kafka.kill().await;
                    kafka.start_again().await;
                }
                _ => {
                    projector.stop().await.expect("the projector ends well");
                    projector = start_projector().await;
                }
            }
        }
        load.progress(DELIVERIES_BETWEEN_STOPS_MAX).await;
        load.done.store(true, Ordering::Relaxed);
        (ingest, projector)
    };
    let (accepted, (ingest, projector)) = tokio::join!(senders, stops);
    ingest.stop().await.expect("ingest ends well");

    let log = read_to_end(options, &names.users, 2).await;
    let accepted: Vec<Accepted> = accepted.into_iter().flatten().collect();
    assert_all_stored(&accepted, &log);
    assert_state_is_fold(&projector, &log).await;
    projector.stop().await.expect("the projector ends well");
    println!("{STOPS} stops; {} deliveries accepted, {} records stored, 0 lost", accepted.len(), log.len());
}

/// Senders that do as the vendor does: each delivery again and again until it is accepted.
struct Load {
    target: Mutex<Http>,
    accepted: AtomicU64,
    done: AtomicBool,
}

/// A delivery that was answered 200.
struct Accepted {
    event_id: String,
    position: String,
}

impl Load {
    /// Delivers change after change of the sender's own users until told to stop.
    async fn send(&self, sender: u64) -> Vec<Accepted> {
        let mut accepted = Vec::new();
        let users = sender * USERS_PER_SENDER..(sender + 1) * USERS_PER_SENDER;
        for (change, user) in (0..).flat_map(|change| users.clone().map(move |user| (change, user))) {
            let body = delivery(user, change);
            while !self.done.load(Ordering::Relaxed) {
                let target = self.target.lock().await.clone();
                // No answer at all is what a service that is being stopped gives.
                let Ok(answer) = target.send(Method::POST, WEBHOOK, body.clone()).await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                if answer.status == StatusCode::OK {
                    accepted.push(Accepted { event_id: answer.text("/eventId"), position: answer.text("/position") });
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
    async fn progress(&self, more: u64) {
        let goal = self.accepted.load(Ordering::Relaxed) + more;
        eventually("deliveries are accepted", PROGRESS_MAX, async || {
            (self.accepted.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }
}

fn assert_all_stored(accepted: &[Accepted], log: &[Record]) {
    let stored: BTreeMap<String, String> = log
        .iter()
        .map(|record| {
            let value = record.value.as_deref().expect("nobody was forgotten");
            let head = domain::wire::decode_head(value).expect("every record can be read");
            (record.position.to_string(), head.event_id.to_string())
        })
        .collect();
    for Accepted { event_id, position } in accepted {
        assert_eq!(stored.get(position), Some(event_id), "what was promised at {position}");
    }
}

/// Compares every user of the projector with the fold of the log, made here from the records alone.
async fn assert_state_is_fold(projector: &Projector, log: &[Record]) {
    let mut fold: BTreeMap<UserId, (i32, KeyState)> = BTreeMap::new();
    let mut last = BTreeMap::new();
    for record in log {
        let Position { partition, offset } = record.position;
        let ce_time = record.header(domain::headers::CE_TIME);
        let (user_id, head) =
            domain::record::read(record.key.as_deref(), record.value.as_deref(), ce_time, record.timestamp)
                .expect("every record can be read");
        let before = fold.get(&user_id).map(|(_, state)| *state);
        let (state, _) = apply(before, offset, head);
        fold.insert(user_id, (partition, state));
        last.insert(partition, record.position);
    }
    for position in last.values() {
        let reached = projector.http.get(&format!("/status?at_least={position}&wait_ms=30000")).await;
        assert_eq!(reached.status, StatusCode::OK, "{reached:?}");
    }
    assert_eq!(fold.len() as u64, SENDERS * USERS_PER_SENDER, "every user was delivered");
    for (user_id, (partition, state)) in fold {
        let user = projector.http.get(&format!("/users/{user_id}")).await;
        let position = Position { partition, offset: state.winner_offset };
        assert_eq!(user.text("/_meta/position"), position.to_string(), "user {user_id}");
        let winner = log.iter().find(|record| record.position == position).and_then(|record| record.value.as_deref());
        let event = domain::wire::decode(winner.expect("the winner is in the log")).expect("every record can be read");
        assert_eq!(user.text("/_meta/eventId"), event.event_id.to_string(), "user {user_id}");
        assert_eq!(Some(user.text("/name")), event.new.name, "user {user_id}");
    }
}

/// Numbers that look random and are the same in every run: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
