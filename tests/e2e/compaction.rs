//! The cleaner of a real broker at work on late and repeated deliveries: what it leaves is the newest of every user.
//!
//! Segments of a second and a cleaner that is awake all the time do in seconds what takes days in production. The one
//! setting that is kept is that for which the contract asks: while deliveries come and are mended,
//! `min.compaction.lag.ms` keeps the cleaner away, since without it the newest record of a user may be taken while the
//! late one after it is not repaired yet. When the keeper is at rest the lag is set to 0, the cleaner takes everything
//! that it may, and the next deliveries come late to a log that was compacted.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::topics::{Names, Spec};
use domain::{UserId, wire};
use hyper::StatusCode;
use kafka::ClientOptions;
use kafka::publish::{Outgoing, Publisher};
use kafka::topics::create;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::broker::{publisher, read_all};
use testkit::deliveries::{delivery, name};
use testkit::random::Random;
use upkeep::Table;
use upkeep::verify::{Options, verify};

use crate::support::broker::where_kafka_runs;
use crate::support::kafka::Kafka;
use crate::support::system::{Ingest, Projector, event_of, now};

const PARTITIONS: i32 = 2;
const USERS: u64 = 20;
/// Bursts of deliveries, each after the cleaner has been over the one before.
const ROUNDS: u64 = 3;
const CHANGES_PER_ROUND: u64 = 12;
/// Users whose changes do nothing but roll the segments of every partition on: the cleaner never takes the newest
/// segment.
const ROLLERS: std::ops::Range<u64> = 9_000..9_008;
/// Users who are changed three times in one second of each round, delivered in another order each: a tie that the
/// keeper ends in one record.
const TIED: std::ops::Range<u64> = 9_100..9_106;
const TIES: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
/// Longer than any repair may take here, on a machine that does much else.
const LAG_MS: &str = "3600000";
const NO_LAG_MS: &str = "0";
/// How long the keeper may take to be at rest, or the cleaner to be through.
const QUIET_MAX: Duration = Duration::from_secs(120);
/// How long Kafka may take to make or to set topics.
const ADMIN_MAX: Duration = Duration::from_secs(60);
/// How often the log is read meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often segments are rolled on while the cleaner is waited for.
const ROLL_EVERY: Duration = Duration::from_millis(1_000);
const SEED: u64 = 0xC1EA;

#[test]
fn compaction_leaves_the_newest_of_every_user() {
    where_kafka_runs("compaction::compaction_leaves_the_newest_of_every_user", async || {
        let kafka = Kafka::start(&[("KAFKA_LOG_CLEANER_BACKOFF_MS", "200")]).await;
        let (options, names) = (ClientOptions::new(kafka.bootstrap()), Names::default());
        make_topics(&options, &names).await;
        let store = TempDir::new().expect("a folder can be made");
        let ingest = Ingest::start(&options, &names, |_| {}).await;
        let lived_through = Projector::start(&options, &names, store.path(), |_| {}).await;
        ingest.ready().await;
        let publisher = publisher(&options);
        let mut log = Log { options, names, publisher, accepted: 0, rolled: 0, newest: BTreeMap::new() };

        log.until_the_keeper_is_at_work().await;
        for (round, burst) in history().into_iter().enumerate() {
            for (user, change) in burst {
                log.deliver(user, change).await;
            }
            for (user, order) in TIED.zip(TIES) {
                log.deliver_tie(user, u64::try_from(round).expect("a few"), order).await;
            }
            log.until_the_newest_is_last().await;
            set_lag(&log.options, &log.names, NO_LAG_MS).await;
            log.until_compacted().await;
            set_lag(&log.options, &log.names, LAG_MS).await;
            println!("round {round}: {} deliveries appended, one record of each user left", log.accepted);
        }

        let records = log.assert_newest_is_last().await;
        let written = log.written().await;
        let report = log.verified().await;
        println!(
            "seed {SEED:#x}: {written} records written, {records} left, {} repairs; {} dirty keys, {} gaps, \
             {} unreadable, {} misplaced",
            written - log.accepted,
            report.dirty.count,
            report.gaps.awaited.count,
            report.unreadable.count,
            report.misplaced.count
        );
        assert!(records < written, "{records} of {written} records are left");
        assert!(written > log.accepted, "late deliveries were mended");
        assert!(report.is_clean() && report.gaps.awaited.count == 0, "{report:?}");

        let empty = TempDir::new().expect("a folder can be made");
        let rebuilt = Projector::start(&log.options, &log.names, empty.path(), |_| {}).await;
        rebuilt.ready().await;
        log.assert_same_state(&lived_through, &rebuilt).await;
        for projector in [lived_through, rebuilt] {
            projector.stop().await.expect("the projector ends well");
        }
        ingest.stop().await.expect("ingest ends well");
    });
}

async fn make_topics(options: &ClientOptions, names: &Names) {
    let [_, late, dead_letter] = Spec::contract(names, PARTITIONS, 1).try_into().expect("three topics");
    let specs = [users_topic(names, LAG_MS), late, dead_letter];
    create(options, &specs, ADMIN_MAX).await.expect("Kafka makes the topics");
}

/// Returns the contract of the topic of users, but that it is compacted as soon as the lag allows.
fn users_topic(names: &Names, lag_ms: &str) -> Spec {
    Spec::users(&names.users, PARTITIONS, 1)
        .with("min.compaction.lag.ms", lag_ms)
        .with("min.cleanable.dirty.ratio", "0.01")
        .with("segment.ms", "1000")
}

async fn set_lag(options: &ClientOptions, names: &Names, lag_ms: &str) {
    let client = ClientConfig::new().set("bootstrap.servers", &options.bootstrap).create();
    let client: AdminClient<DefaultClientContext> = client.expect("the options are usable");
    let spec = users_topic(names, lag_ms);
    let all = AlterConfig {
        specifier: ResourceSpecifier::Topic(&spec.topic),
        // What is not named goes back to the broker's default.
        entries: spec.settings.iter().map(|(setting, value)| (setting.as_str(), value.as_str())).collect(),
    };
    let options = AdminOptions::new().request_timeout(Some(ADMIN_MAX));
    let altered = client.alter_configs([&all], &options).await.expect("Kafka answers");
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
}

/// Returns the deliveries of each round, as (user, change): three of ten come late, half of those rounds later; one of
/// ten comes twice.
fn history() -> Vec<Vec<(u64, u64)>> {
    let mut random = Random(SEED);
    let mut rounds: Vec<Vec<(u64, u64)>> = vec![Vec::new(); usize::try_from(ROUNDS).expect("a few")];
    let mut held_back = Vec::new();
    for (round, burst) in (0..).zip(&mut rounds) {
        let changes = round * CHANGES_PER_ROUND..(round + 1) * CHANGES_PER_ROUND;
        // What the round before held back is older than what this one brings, and comes after some of it.
        let mut late = std::mem::take(&mut held_back);
        for delivery in changes.flat_map(|change| (0..USERS).map(move |user| (user, change))) {
            match random.below(20) {
                0..3 if round + 1 < ROUNDS => held_back.push(delivery),
                0..6 => late.push(delivery),
                _ => burst.push(delivery),
            }
            if random.below(10) == 0 {
                late.push(delivery);
            }
        }
        for delivery in late {
            let place = random.below(burst.len() as u64 + 1);
            burst.insert(usize::try_from(place).expect("a place in the burst"), delivery);
        }
        // The last of all is a creation: its user is dirty when the round ends.
        burst.push((round % USERS, 0));
    }
    rounds
}

/// The topic of users, and what was sent to it.
struct Log {
    options: ClientOptions,
    names: Names,
    /// Deliveries are appended past the gate, which keeps late ones off the topic: everything is the keeper's to mend.
    publisher: Publisher,
    /// How many deliveries were appended.
    accepted: u64,
    /// The change that the rollers are at.
    rolled: u64,
    /// The newest change of each user that was delivered, and the name that the user has by it.
    newest: BTreeMap<u64, (u64, String)>,
}

impl Log {
    async fn deliver(&mut self, user: u64, change: u64) {
        let event = event_of(&delivery(user, change));
        let stored = self.publisher.publish(Outgoing::event(&event, &self.names.users, None)).await;
        stored.expect("the record is stored");
        self.accepted += 1;
        let delivered = (change, name(user, change));
        let newest = self.newest.entry(user).or_insert_with(|| delivered.clone());
        if newest.0 < change {
            *newest = delivered;
        }
    }

    /// Delivers three changes of one second, each built on the one before, in that order, and the first of them again.
    async fn deliver_tie(&mut self, user: u64, round: u64, order: [usize; 3]) {
        let states = ["A", "B", "C", "D"].map(|state| format!("User {user}, tie {round}{state}"));
        let change = |from: &String, to: &String| {
            let state = |name: &String| json!({"userId": user, "name": name});
            let timestamp = format!("2024-03-{:02}T10:00:00+01:00", round + 1);
            json!({"old": state(from), "new": state(to), "timestamp": timestamp})
        };
        for index in order.into_iter().chain([0]) {
            let event = event_of(&change(&states[index], &states[index + 1]).to_string());
            let stored = self.publisher.publish(Outgoing::event(&event, &self.names.users, None)).await;
            stored.expect("the record is stored");
            self.accepted += 1;
        }
        let [.., last] = states;
        self.newest.insert(user, (round, last));
    }

    /// Joining its group is the one thing that takes a keeper long, and is not what is looked at here.
    async fn until_the_keeper_is_at_work(&mut self) {
        for roller in ROLLERS {
            self.deliver(roller, 1).await;
            self.deliver(roller, 0).await;
        }
        self.rolled = 1;
        self.until_the_newest_is_last().await;
    }

    async fn until_the_newest_is_last(&self) {
        let mut records = Vec::new();
        let mended = async {
            loop {
                records = self.names_in_order().await;
                let last: BTreeMap<u64, String> = records.iter().cloned().collect();
                if self.newest.iter().all(|(user, (_, name))| last.get(user) == Some(name)) {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let mended = tokio::time::timeout(QUIET_MAX, mended).await;
        assert!(mended.is_ok(), "the keeper does not mend {records:?}, of which the newest are {:?}", self.newest);
    }

    /// Waits until one record is left of each user, rolling segments on meanwhile.
    async fn until_compacted(&mut self) {
        let compacted = async {
            loop {
                self.rolled += 1;
                for roller in ROLLERS {
                    self.deliver(roller, self.rolled).await;
                }
                let records = self.names_in_order().await;
                if records.iter().filter(|(user, _)| !ROLLERS.contains(user)).count() as u64
                    == USERS + TIED.count() as u64
                {
                    return;
                }
                tokio::time::sleep(ROLL_EVERY).await;
            }
        };
        tokio::time::timeout(QUIET_MAX, compacted).await.expect("the cleaner goes over the topic");
    }

    /// Returns the user of each record and the name that it gives the user, in the order of each partition.
    async fn names_in_order(&self) -> Vec<(u64, String)> {
        let records = read_all(&self.options, &self.names.users).await;
        let values = records.iter().map(|record| record.value.as_deref().expect("nobody was forgotten"));
        let events = values.map(|value| wire::decode(value).expect("every record can be read"));
        let id = |user: UserId| u64::try_from(user.get()).expect("the users of this test are small numbers");
        events.map(|event| (id(event.user_id), event.new.name.expect("every user has a name"))).collect()
    }

    /// Checks the last record of each user, by the order and by what was sent, and returns how many records there are.
    async fn assert_newest_is_last(&self) -> u64 {
        let records = read_all(&self.options, &self.names.users).await;
        let mut table = Table::default();
        for record in &records {
            let (user, _) = table.take(record).expect("every record can be read");
            assert_eq!(user.to_string().as_bytes(), record.key.as_deref().unwrap_or_default());
        }
        assert_eq!(table.keys(), self.newest.len(), "no user is lost");
        let key = |user: u64| table.key(UserId::new(i64::try_from(user).expect("small")).expect("an identifier"));
        assert!(self.newest.keys().all(|user| key(*user).is_some_and(|key| key.is_clean())), "{table:?}");
        let sizes = |user: u64| key(user).map(|key| key.roll.members().len());
        assert!(TIED.map(sizes).all(|size| size == Some(3)), "no event of a tied second is lost");
        let last: BTreeMap<u64, String> = self.names_in_order().await.into_iter().collect();
        let sent: BTreeMap<u64, String> = self.newest.iter().map(|(user, (_, name))| (*user, name.clone())).collect();
        assert_eq!(last, sent);
        records.len() as u64
    }

    /// Returns how many records were ever written: what compaction takes leaves its offset behind.
    async fn written(&self) -> u64 {
        let (options, topic) = (self.options.clone(), self.names.users.clone());
        let scan = move || kafka::scan::ranges(&options, &topic, QUIET_MAX).expect("Kafka tells where the topic ends");
        let ranges = tokio::task::spawn_blocking(scan).await.expect("it does not panic");
        ranges.iter().map(|range| u64::try_from(range.end).expect("an offset")).sum()
    }

    async fn verified(&self) -> upkeep::verify::Report {
        let options = Options {
            kafka: self.options.clone(),
            topics: self.names.clone(),
            schemas: Default::default(),
            threads: 2,
            settle: Duration::ZERO,
            now: now(),
            since: Duration::MAX,
            retention: Default::default(),
            keep_winners: false,
        };
        let verified = tokio::task::spawn_blocking(move || verify(&options, |_, _| {})).await;
        verified.expect("it does not panic").expect("the log can be read")
    }

    async fn assert_same_state(&self, lived_through: &Projector, rebuilt: &Projector) {
        let records = read_all(&self.options, &self.names.users).await;
        let ends: BTreeMap<i32, domain::Position> =
            records.iter().map(|record| (record.position.partition, record.position)).collect();
        for end in ends.values() {
            let reached = lived_through.http.get(&format!("/status?at_least={end}&wait_ms=30000")).await;
            assert_eq!(reached.status, StatusCode::OK, "{reached:?}");
        }
        for (user, (_, name)) in &self.newest {
            let path = format!("/users/{user}");
            let states = [lived_through.http.get(&path).await.json(), rebuilt.http.get(&path).await.json()];
            let [lived, made_anew] = states.map(without_continuity);
            assert_eq!(lived, made_anew);
            assert_eq!(lived["name"], **name);
        }
    }
}

/// What led to a state is known to whoever lived through it, and is not in a log that was compacted. The time as of
/// which it is answered is each projector's own.
fn without_continuity(mut user: Value) -> Value {
    let meta = user["_meta"].as_object_mut().expect("every user has a position");
    for own in ["continuity", "asOf"] {
        meta.remove(own);
    }
    user
}
