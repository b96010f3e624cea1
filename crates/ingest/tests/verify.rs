//! The findings of `verify` in a log, and the records that `forget` leaves, on the embedded broker.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod support;

use std::time::Duration;

use domain::headers::REASSERTED;
use domain::topics::Names;
use domain::{Letter, UnixMillis, UserEvent, wire};
use ingest::dead_letter;
use ingest::transport::BodyPolicy;
use kafka::placement::partition_for;
use kafka::publish::Outgoing;
use support::Service;
use testkit::broker::{Log, record};
use testkit::event;
use testkit::wait::PATIENCE;
use upkeep::forget;
use upkeep::verify::{Options, Report, verify};

const PARTITIONS: i32 = 3;
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The time of arrival of every event.
const NOW: UnixMillis = UnixMillis::from_millis(1_700_000_000_000);

/// Returns the event that gives user `id` the name `to`.
fn named(id: i64, from: Option<&str>, to: &str, second: i64) -> UserEvent {
    let occurred = event::event(from.map(|from| event::user(id, from)), event::user(id, to), 1_496_743_200 + second);
    UserEvent { received_at: NOW, ..occurred }
}

async fn append(log: &Log, topic: &str, key: &str, value: Option<Vec<u8>>) {
    log.append(record(topic, key, value, NOW)).await;
}

async fn verified(log: &Log, settle: Duration, keep_winners: bool) -> Report {
    verified_at(log, settle, keep_winners, NOW).await
}

async fn verified_at(log: &Log, settle: Duration, keep_winners: bool, now: UnixMillis) -> Report {
    let (kafka, topics, schemas) = (log.options(), Names::default(), Default::default());
    let (retention, since) = (Default::default(), WEEK);
    let options = Options { kafka, topics, schemas, threads: 2, settle, now, since, retention, keep_winners };
    tokio::task::spawn_blocking(move || verify(&options, |_, _| ()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_log_as_it_should_be_is_clean() {
    let log = Log::start(PARTITIONS);
    for id in 0..20 {
        log.event(&named(id, None, "a", 1)).await;
        log.event(&named(id, Some("a"), "b", 2)).await;
    }
    log.forget(event::user_id(0), NOW).await;
    let report = verified(&log, Duration::ZERO, true).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.records, report.users, report.forgotten), (41, 19, 1));
    let winner = &report.winners[&event::user_id(7)];
    let (_, value) = winner.event.as_ref().unwrap();
    assert_eq!(wire::decode(value).unwrap().new.name.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_repair_that_a_newer_event_overtook_counts_as_appended_again() {
    let log = Log::start(PARTITIONS);
    let states = [named(1, None, "a", 1), named(1, Some("a"), "b", 2), named(1, Some("b"), "c", 3)];
    let [first, second, third] = &states;
    for event in [second, first, third] {
        log.event(event).await;
    }
    for (event, offset) in [(second, "0"), (third, "2")] {
        let mut again = Outgoing::event(event, "vcc.users", None);
        again.headers.push((REASSERTED.to_owned(), offset.as_bytes().to_vec()));
        log.append(again).await;
    }
    let report = verified(&log, Duration::ZERO, true).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.records, report.reasserted), (5, 2));
}

#[tokio::test]
async fn each_kind_of_fault_is_found() {
    let log = Log::start(PARTITIONS);
    // User 1: its newest event is not its last record.
    log.event(&named(1, None, "a", 1)).await;
    log.event(&named(1, Some("a"), "b", 3)).await;
    log.event(&named(1, Some("x"), "y", 2)).await;
    // User 2: the event from b to c is missing.
    log.event(&named(2, None, "b", 1)).await;
    log.event(&named(2, Some("c"), "d", 2)).await;
    // User 3: the event came late, and is on the late topic.
    log.event(&named(3, None, "b", 1)).await;
    log.event(&named(3, Some("c"), "d", 3)).await;
    log.late(&named(3, Some("b"), "c", 2)).await;
    // User 4 is on the wrong partition.
    let elsewhere = (partition_for(b"4", PARTITIONS) + 1) % PARTITIONS;
    let misplaced = named(4, None, "a", 1);
    let misplaced = wire::encode(&misplaced);
    let astray = record("vcc.users", "4", Some(misplaced.clone()), NOW);
    log.append(Outgoing { partition: Some(elsewhere), ..astray }).await;
    // Three records are not events.
    append(&log, "vcc.users", "5", Some(misplaced[..20].to_vec())).await;
    append(&log, "vcc.users", "5", Some(b"{}".to_vec())).await;
    append(&log, "vcc.users", "six", Some(misplaced.clone())).await;
    append(&log, "vcc.users", "7", Some(misplaced)).await;

    let report = verified(&log, Duration::ZERO, true).await;
    assert!(!report.is_clean());
    assert_eq!((report.dirty.count, report.dirty.examples[0].user_id.get()), (1, 1));
    let awaited = &report.gaps.awaited;
    assert_eq!((awaited.count, report.gaps.lost.count), (1, 0), "{:?}", report.gaps);
    assert_eq!((awaited.examples[0].user_id.get(), &awaited.examples[0].fields[..]), (2, &["name".to_owned()][..]));
    assert_eq!((report.misplaced.count, report.misplaced.examples[0].partition), (1, partition_for(b"4", PARTITIONS)));
    assert_eq!((report.unreadable.count, report.unknown.count), (3, 1));
    let stateless: Vec<i64> = report.stateless.examples.iter().map(|stateless| stateless.user_id.get()).collect();
    let outdated: Vec<_> = report.outdated.examples.iter().map(|user| (user.user_id.get(), user.since)).collect();
    assert_eq!((stateless, outdated), (vec![7], vec![(5, NOW)]));
}

#[tokio::test]
async fn a_tombstone_is_overdue_after_half_of_its_time() {
    let log = Log::start(PARTITIONS);
    log.event(&named(1, None, "a", 1)).await;
    log.forget(event::user_id(1), NOW).await;
    let after = async |days: i64| {
        let now = UnixMillis::from_millis(NOW.millis() + days * 24 * 60 * 60 * 1000);
        let report = verified_at(&log, Duration::ZERO, false, now).await;
        (report.is_clean(), report.overdue.examples.iter().map(|overdue| overdue.user_id.get()).collect::<Vec<_>>())
    };
    assert_eq!(after(11).await, (true, vec![]));
    assert_eq!(after(12).await, (false, vec![1]), "no keeper has renewed it");
}

#[tokio::test]
async fn an_erased_user_is_dirty_until_each_partition_that_holds_the_key_ends_in_a_tombstone() {
    let log = Log::start(PARTITIONS);
    let home = partition_for(b"1", PARTITIONS);
    let before = (home + 1) % PARTITIONS;
    let on = |partition, record| Outgoing { partition: Some(partition), ..record };
    let tombstone = Outgoing::forgotten(event::user_id(1), "vcc.users", NOW, NOW);
    for value in [wire::encode(&named(1, None, "a", 1)), wire::encode(&named(1, None, "a", 1))[..20].to_vec()] {
        log.append(on(before, record("vcc.users", "1", Some(value), NOW))).await;
        log.append(on(home, tombstone.clone())).await;
        assert_eq!(verified(&log, Duration::ZERO, false).await.dirty.count, 1, "its value stays on the old partition");
        log.append(on(before, tombstone.clone())).await;
        assert_eq!(verified(&log, Duration::ZERO, false).await.dirty.count, 0);
    }
}

#[tokio::test]
async fn a_missing_delivery_is_a_fault_from_the_day_it_is_lost_and_for_a_week() {
    let log = Log::start(PARTITIONS);
    log.event(&named(2, None, "b", 1)).await;
    log.event(&named(2, Some("c"), "d", 2)).await;
    let after = async |days: i64| {
        let now = UnixMillis::from_millis(NOW.millis() + days * 24 * 60 * 60 * 1000);
        let report = verified_at(&log, Duration::ZERO, false, now).await;
        let gaps = &report.gaps;
        (report.is_clean(), gaps.awaited.count, gaps.lost.count, gaps.lost_before.count)
    };
    assert_eq!(after(22).await, (true, 1, 0, 0), "a delivery on its way does not fail the run");
    assert_eq!(after(23).await, (false, 0, 1, 0));
    assert_eq!(after(29).await, (false, 0, 1, 0));
    assert_eq!(after(30).await, (true, 0, 0, 1), "a lost delivery does not alarm for ever");
    log.late(&named(2, Some("b"), "c", 1)).await;
    assert_eq!(after(29).await, (true, 0, 0, 0), "it came after all");
}

#[tokio::test]
async fn a_key_whose_last_record_cannot_be_read_is_dirty_unless_a_newer_release_wrote_it() {
    let log = Log::start(PARTITIONS);
    let mut newer = wire::encode(&named(2, Some("a"), "b", 2));
    newer[wire::MARKER.len()] ^= 1;
    let broken = newer[..wire::MARKER.len()].to_vec();
    for (id, last) in [(1, broken), (2, newer), (3, b"{}".to_vec())] {
        log.event(&named(id, None, "a", 1)).await;
        append(&log, "vcc.users", &id.to_string(), Some(last)).await;
    }
    let report = verified(&log, Duration::ZERO, true).await;
    let dirty: Vec<i64> = report.dirty.examples.iter().map(|dirty| dirty.user_id.get()).collect();
    assert_eq!((dirty, report.unreadable.count, report.unknown.count), (vec![1], 1, 2));
}

#[tokio::test]
async fn a_key_under_repair_is_not_reported() {
    // The service's keeper repairs the key while verify checks it again.
    let service = Service::start("").await;
    for event in [named(1, Some("a"), "b", 2), named(1, None, "a", 1)] {
        service.log.event(&event).await;
    }
    let report = verified(&service.log, PATIENCE * 2, false).await;
    assert_eq!(report.dirty.count, 0);
    service.stop().await;
}

#[tokio::test]
async fn forgetting_removes_every_copy_it_can_and_reports_the_rest() {
    let log = Log::start(PARTITIONS);
    let topics = Names::default();
    log.event(&named(180, None, "a", 2)).await;
    log.late(&named(180, None, "b", 1)).await;
    log.late(&named(181, None, "b", 1)).await;
    for (key, body) in [("a", r#"{"new":{"userid":"180"}}"#), ("b", r#"{"new":{"userId":181}}"#), ("c", "QmFzZTY0")] {
        append(&log, "vcc.users.dead-letter", key, Some(body.as_bytes().to_vec())).await;
    }
    let (kafka, id) = (log.options(), event::user_id(180));
    let mentions = move |letter: &Letter| dead_letter::mentions(letter, &BodyPolicy::default(), id);
    let cluster = forget::Log::new(kafka.clone(), topics.clone());
    let forgotten = forget::forget(&cluster, &log.publisher, mentions, id, Some(NOW), NOW).await.unwrap();
    assert_eq!((forgotten.dead_letters_removed, forgotten.dead_letters_perhaps.count), (1, 1));
    assert_eq!(forgotten.dead_letters_perhaps.examples, ["c"]);
    assert_eq!((forgotten.late.records, forgotten.late.newest), (1, Some(NOW)));
    assert!(forgotten.late.stay_because.is_some(), "the embedded broker cannot delete records");
    assert_eq!(forgotten.deadlines, forget::Deadlines::default(), "the embedded broker does not describe its settings");

    let report = verified(&log, Duration::ZERO, true).await;
    assert_eq!((report.users, report.forgotten), (0, 1));
    // A late delivery of an older event does not bring the user back; a newer event does.
    log.event(&named(180, None, "late", 1)).await;
    assert_eq!(verified(&log, Duration::ZERO, true).await.forgotten, 1);
    let mut newer = named(180, Some("a"), "again", 3);
    newer.occurred_at = UnixMillis::from_millis(NOW.millis() + 1);
    log.event(&newer).await;
    assert_eq!(verified(&log, Duration::ZERO, true).await.users, 1);
}

#[tokio::test]
async fn a_user_on_several_partitions_is_forgotten_on_each() {
    let log = Log::start(PARTITIONS);
    let id = event::user_id(180);
    // As after an addition of partitions: the older records are where the key was before.
    let home = partition_for(b"180", PARTITIONS);
    let before = (home + 1) % PARTITIONS;
    let older = Outgoing::event(&named(180, None, "a", 1), "vcc.users", None);
    log.append(Outgoing { partition: Some(before), ..older }).await;
    log.event(&named(180, Some("a"), "b", 2)).await;
    log.event(&named(181, None, "c", 2)).await;
    let mentions = move |letter: &Letter| dead_letter::mentions(letter, &BodyPolicy::default(), id);
    let (kafka, topics) = (log.options(), Names::default());
    let held = forget::look(&forget::Log::new(kafka.clone(), topics.clone()), mentions, id).await.unwrap();
    assert_eq!((held.name.as_deref(), held.partitions.len()), (Some("b"), 2));
    let forgotten =
        forget::forget(&forget::Log::new(kafka.clone(), topics.clone()), &log.publisher, mentions, id, None, NOW)
            .await
            .unwrap();
    assert_eq!(forgotten.positions.len(), 2);

    let records = log.records("vcc.users").await;
    for partition in [before, home] {
        let of_user = |record: &&kafka::Record| {
            record.position.partition == partition && record.key.as_deref() == Some(&b"180"[..])
        };
        let last = records.iter().rfind(of_user).unwrap();
        assert_eq!(last.value, None, "partition {partition} keeps the user");
        assert!(forgotten.positions.contains(&last.position));
    }
}

#[tokio::test]
async fn a_user_on_no_topic_gets_no_tombstone() {
    let log = Log::start(PARTITIONS);
    log.event(&named(181, None, "a", 1)).await;
    append(&log, "vcc.users.dead-letter", "a", Some(b"QmFzZTY0".to_vec())).await;
    let (kafka, topics) = (log.options(), Names::default());
    let forget = async |id| {
        let id = event::user_id(id);
        let mentions = move |letter: &Letter| dead_letter::mentions(letter, &BodyPolicy::default(), id);
        forget::forget(&forget::Log::new(kafka.clone(), topics.clone()), &log.publisher, mentions, id, None, NOW).await
    };
    let refused = forget(180).await.unwrap_err();
    assert!(matches!(refused, forget::Error::Nowhere { dead_letters_perhaps: 1, .. }), "{refused}");
    assert_eq!(log.records("vcc.users").await.len(), 1, "nothing was appended");
    // A late delivery, a readable letter or an unreadable record is a record of the user.
    log.late(&named(180, None, "b", 1)).await;
    append(&log, "vcc.users.dead-letter", "b", Some(br#"{"new":{"userId":182}}"#.to_vec())).await;
    append(&log, "vcc.users", "183", Some(b"{}".to_vec())).await;
    for id in [180, 182, 183] {
        assert_eq!(forget(id).await.unwrap().positions.len(), 1, "user {id}");
    }
}
