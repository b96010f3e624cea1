//! What `verify` finds in a log, and what `forget` leaves of a user, on the embedded broker.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod support;

use std::time::Duration;

use domain::headers::{REASSERTED, for_event, for_forgotten};
use domain::{Facts, Letter, UnixMillis, User, UserEvent, UserId, wire};
use ingest::transport::BodyPolicy;
use ingest::{Topics, dead_letter};
use kafka::embedded::EmbeddedBroker;
use kafka::placement::partition_for;
use kafka::publish::{Limits, Outgoing, Publisher};
use support::{CHANGED, PATH, Service};
use upkeep::forget;
use upkeep::verify::{Options, Report, verify};

const PARTITIONS: i32 = 3;
const NOW: UnixMillis = UnixMillis::from_millis(1_700_000_000_000);

struct Log {
    broker: EmbeddedBroker,
    publisher: Publisher,
}

impl Log {
    fn new() -> Self {
        let topics = Topics::default();
        let broker =
            EmbeddedBroker::start(&[(&topics.users, PARTITIONS), (&topics.late, 1), (&topics.dead_letter, 1)]).unwrap();
        let publisher = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
        Self { broker, publisher }
    }

    async fn append(
        &self,
        topic: &str,
        key: &str,
        value: Option<Vec<u8>>,
        headers: Vec<(&'static str, String)>,
        partition: Option<i32>,
    ) {
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
        let (topic, key) = (topic.to_owned(), key.as_bytes().to_vec());
        self.publisher.publish(Outgoing { topic, key, value, headers, timestamp: NOW, partition }).await.unwrap();
    }

    async fn event(&self, topic: &str, event: &UserEvent) {
        self.append(topic, &event.user_id.to_string(), Some(wire::encode(event)), for_event(event, None), None).await;
    }

    async fn verify(&self, settle: Duration) -> Report {
        let kafka = self.broker.client_options();
        let options = Options { kafka, topics: Topics::default(), threads: 2, settle, keep_winners: true };
        tokio::task::spawn_blocking(move || verify(&options, |_, _| ()).unwrap()).await.unwrap()
    }
}

/// The state of user `id` in which its name is `name`.
fn named(id: i64, name: &str) -> User {
    User { name: Some(name.to_owned()), ..User::new(UserId::new(id).unwrap()) }
}

fn event(id: i64, from: Option<&str>, to: &str, second: u32) -> UserEvent {
    UserEvent::new(Facts {
        old: from.map(|from| named(id, from)),
        new: named(id, to),
        timestamp: format!("2017-06-06T10:00:{second:02}Z"),
        received_at: NOW,
        password_changed: false,
        extra: Default::default(),
        omitted: Vec::new(),
    })
    .unwrap()
}

#[tokio::test]
async fn a_log_as_it_should_be_is_clean() {
    let log = Log::new();
    for id in 0..20 {
        log.event("vcc.users", &event(id, None, "a", 1)).await;
        log.event("vcc.users", &event(id, Some("a"), "b", 2)).await;
    }
    log.append("vcc.users", "0", None, for_forgotten(UserId::new(0).unwrap(), NOW), None).await;
    let report = log.verify(Duration::ZERO).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.records, report.users, report.forgotten), (41, 19, 1));
    let winner = &report.winners[&UserId::new(7).unwrap()];
    assert_eq!(wire::decode(&winner.value).unwrap().new.name.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_repair_that_a_newer_event_overtook_counts_as_appended_again() {
    let log = Log::new();
    let states = [event(1, None, "a", 1), event(1, Some("a"), "b", 2), event(1, Some("b"), "c", 3)];
    let [first, second, third] = &states;
    for event in [second, first, third] {
        log.event("vcc.users", event).await;
    }
    for (event, offset) in [(second, "0"), (third, "2")] {
        let mut headers = for_event(event, None);
        headers.push((REASSERTED, offset.to_owned()));
        log.append("vcc.users", "1", Some(wire::encode(event)), headers, None).await;
    }
    let report = log.verify(Duration::ZERO).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.records, report.reasserted), (5, 2));
}

#[tokio::test]
async fn each_kind_of_fault_is_found() {
    let log = Log::new();
    // User 1: its newest event is not its last.
    log.event("vcc.users", &event(1, None, "a", 1)).await;
    log.event("vcc.users", &event(1, Some("a"), "b", 3)).await;
    log.event("vcc.users", &event(1, Some("x"), "y", 2)).await;
    // User 2: the event from b to c never came.
    log.event("vcc.users", &event(2, None, "b", 1)).await;
    log.event("vcc.users", &event(2, Some("c"), "d", 2)).await;
    // User 3: it came late, and was put aside.
    log.event("vcc.users", &event(3, None, "b", 1)).await;
    log.event("vcc.users", &event(3, Some("c"), "d", 3)).await;
    log.event("vcc.users.late", &event(3, Some("b"), "c", 2)).await;
    // User 4 is on a partition that is not its own.
    let elsewhere = (partition_for(b"4", PARTITIONS) + 1) % PARTITIONS;
    let misplaced = event(4, None, "a", 1);
    log.append("vcc.users", "4", Some(wire::encode(&misplaced)), Vec::new(), Some(elsewhere)).await;
    // Three records are no events.
    log.append("vcc.users", "5", Some(b"{}".to_vec()), Vec::new(), None).await;
    log.append("vcc.users", "six", Some(wire::encode(&misplaced)), Vec::new(), None).await;
    log.append("vcc.users", "7", Some(wire::encode(&misplaced)), Vec::new(), None).await;

    let report = log.verify(Duration::ZERO).await;
    assert!(!report.is_clean());
    assert_eq!((report.dirty.count, report.dirty.examples[0].user_id.get()), (1, 1));
    assert_eq!(report.gaps.count, 1, "{:?}", report.gaps);
    assert_eq!(
        (report.gaps.examples[0].user_id.get(), &report.gaps.examples[0].fields[..]),
        (2, &["name".to_owned()][..])
    );
    assert_eq!((report.misplaced.count, report.misplaced.examples[0].partition), (1, partition_for(b"4", PARTITIONS)));
    assert_eq!(report.unreadable.count, 3);
}

#[tokio::test]
async fn a_key_whose_last_record_cannot_be_read_is_dirty_unless_a_newer_release_wrote_it() {
    let log = Log::new();
    let mut newer = wire::encode(&event(2, Some("a"), "b", 2));
    newer[wire::MARKER.len()] ^= 1;
    for (id, last) in [(1, b"{}".to_vec()), (2, newer)] {
        log.event("vcc.users", &event(id, None, "a", 1)).await;
        log.append("vcc.users", &id.to_string(), Some(last), Vec::new(), None).await;
    }
    let report = log.verify(Duration::ZERO).await;
    let dirty: Vec<i64> = report.dirty.examples.iter().map(|dirty| dirty.user_id.get()).collect();
    assert_eq!((dirty, report.unreadable.count), (vec![1], 2));
}

#[tokio::test]
async fn a_key_in_the_keepers_hands_is_no_false_alarm() {
    // The service's keeper mends the key while verify looks at it again.
    let service = Service::start("[gate]\nenabled = false").await;
    service.post(PATH, CHANGED).await;
    service.post(PATH, support::CREATED).await;
    let kafka = service.broker.client_options();
    let options =
        Options { kafka, topics: Topics::default(), threads: 1, settle: support::PATIENCE * 2, keep_winners: false };
    let report = tokio::task::spawn_blocking(move || verify(&options, |_, _| ()).unwrap()).await.unwrap();
    assert_eq!(report.dirty.count, 0);
    service.stop().await;
}

#[tokio::test]
async fn forgetting_removes_what_can_be_removed_and_tells_of_the_rest() {
    let log = Log::new();
    let topics = Topics::default();
    log.event("vcc.users", &event(180, None, "a", 2)).await;
    log.event("vcc.users.late", &event(180, None, "b", 1)).await;
    log.event("vcc.users.late", &event(181, None, "b", 1)).await;
    for (key, body) in [("a", r#"{"new":{"userid":"180"}}"#), ("b", r#"{"new":{"userId":181}}"#), ("c", "QmFzZTY0")] {
        log.append("vcc.users.dead-letter", key, Some(body.as_bytes().to_vec()), Vec::new(), None).await;
    }
    let (kafka, id) = (log.broker.client_options(), UserId::new(180).unwrap());
    let mentions = move |letter: &Letter| dead_letter::mentions(letter, &BodyPolicy::default(), id);
    let forgotten = forget::forget(&kafka, &topics, &log.publisher, mentions, id, Some(NOW), NOW).await.unwrap();
    assert_eq!((forgotten.dead_letters_removed, forgotten.dead_letters_unreadable), (1, 1));
    assert_eq!((forgotten.late.records, forgotten.late.newest), (1, Some(NOW)));
    assert!(forgotten.late.stay_because.is_some(), "the embedded broker cannot delete records");
    assert_eq!(forgotten.deadlines, forget::Deadlines::default(), "the embedded broker does not describe its settings");

    let report = log.verify(Duration::ZERO).await;
    assert_eq!((report.users, report.forgotten), (0, 1));
    // A late delivery of an older event does not bring the user back, a newer one does.
    log.event("vcc.users", &event(180, None, "late", 1)).await;
    assert_eq!(log.verify(Duration::ZERO).await.forgotten, 1);
    let mut newer = event(180, Some("a"), "again", 3);
    newer.occurred_at = UnixMillis::from_millis(NOW.millis() + 1);
    log.event("vcc.users", &newer).await;
    assert_eq!(log.verify(Duration::ZERO).await.users, 1);
}
