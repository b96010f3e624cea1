//! A user who was erased stays so, however much later an older event comes, and the data is on no partition.
//!
//! A real cleaner, and a topic whose tombstones live for seconds, so that one that nobody renews is gone long before
//! the test ends. Nothing is written meanwhile but by the keeper, and `segment.ms` is a week: only the append that the
//! keeper makes when `max.compaction.lag.ms` has passed closes the segment with the erased values. The topic got a
//! second partition after the user's first event.

use std::time::Duration;

use domain::roll::Standing;
use domain::topics::{DELETE_RETENTION, MAX_COMPACTION_LAG, MIN_COMPACTION_LAG, Names, Spec};
use domain::wire::Framing;
use domain::{Letter, UnixMillis, UserId};
use hyper::StatusCode;
use ingest::dead_letter::{Destination, sort};
use ingest::transport::BodyPolicy;
use kafka::placement::partition_for;
use kafka::publish::{Outgoing, Publisher};
use kafka::topics::{LogProbe, create};
use kafka::{ClientOptions, Record};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use tempfile::TempDir;
use testkit::broker::{publisher, read_all};
use testkit::deliveries::delivery;
use testkit::eventually;
use upkeep::forget::{self, Mention, forget};
use upkeep::letters;
use upkeep::verify::{Options, Report, topic, verify};

use crate::support::broker::where_kafka_runs;
use crate::support::kafka::Kafka;
use crate::support::system::{Ingest, Projector, event_of, now};

/// How long a tombstone lives. The keeper renews it within a quarter of that.
const RETENTION_MS: i64 = 16_000;
const LAG_MS: i64 = 2_000;
/// How many lives of a tombstone the test sees.
const LIVES: i64 = 3;
const PARTITIONS: i32 = 2;
/// Somebody who is not erased.
const OTHER: u64 = 9_000;
/// How long Kafka, or the keeper, may take for anything here.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn an_erased_user_stays_erased_however_much_later() {
    where_kafka_runs("erased_for_good::an_erased_user_stays_erased_however_much_later", async || {
        let kafka = Kafka::start(&[("KAFKA_LOG_CLEANER_BACKOFF_MS", "200")]).await;
        let (options, names) = (ClientOptions::new(kafka.bootstrap()), Names::default());
        let log = Log::make(options, names).await;
        let (store, empty) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let lived = Projector::start(&log.options, &log.names, store.path(), |_| {}).await;
        let mut ingest = log.ingest().await;
        assert_eq!(ingest.post(delivery(OTHER, 0)).await.status, StatusCode::OK);
        assert_eq!(ingest.post(delivery(log.user, 1)).await.status, StatusCode::OK);
        log.until_served(&lived, log.user, StatusCode::OK).await;

        let forgotten_at = log.forget().await;
        log.until_served(&lived, log.user, StatusCode::GONE).await;
        log.until_only_tombstones().await;
        for life in 1..=LIVES {
            // While no replica knows the forgetting by heart, an older event comes.
            ingest.stop().await.expect("ingest ends well");
            ingest = log.ingest().await;
            let again = ingest.post(delivery(log.user, 0)).await;
            assert_eq!(again.status, StatusCode::OK, "{again:?}");
            // And one that does not pass the gate, as an old one that another writer appends.
            log.append_older().await;
            log.until_renewed_at(forgotten_at.millis() + life * RETENTION_MS).await;
            log.until_served(&lived, log.user, StatusCode::GONE).await;
        }
        log.until_only_tombstones().await;

        ingest.stop().await.expect("ingest ends well");
        let ingest = log.ingest().await;
        let superseded = async || {
            let answer = ingest.post(delivery(log.user, 0)).await;
            (answer.text("/status") == "superseded").then_some(())
        };
        eventually("the restarted replica knows the forgetting", PATIENCE, superseded).await;
        assert!(matches!(log.replay().await, Standing::Forgotten(_)), "a letter of before");
        log.until_only_tombstones().await;
        let rebuilt = Projector::start(&log.options, &log.names, empty.path(), |_| {}).await;
        rebuilt.ready().await;
        for projector in [&lived, &rebuilt] {
            log.until_served(projector, log.user, StatusCode::GONE).await;
            log.until_served(projector, OTHER, StatusCode::OK).await;
        }
        let report = log.verified().await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.forgotten, report.users), (1, 1), "{report:?}");
        println!("{LIVES} lives of a tombstone, {} records left, {} of the keeper", report.records, report.reasserted);
        for projector in [lived, rebuilt] {
            projector.stop().await.expect("the projector ends well");
        }
        ingest.stop().await.expect("ingest ends well");
    });
}

/// The topics, and the user who is erased.
struct Log {
    options: ClientOptions,
    names: Names,
    publisher: Publisher,
    user: u64,
}

impl Log {
    /// Makes the topics. The first event of the user is on partition 0, its key belongs on partition 1.
    async fn make(options: ClientOptions, names: Names) -> Self {
        let is_moved = |user: &u64| partition_for(user.to_string().as_bytes(), PARTITIONS) == 1;
        let user = (1..).find(is_moved).expect("one of them");
        let [_, late, dead_letter] = Spec::contract(&names, PARTITIONS, 1).try_into().expect("three topics");
        let users = Spec::users(&names.users, 1, 1)
            .with(DELETE_RETENTION, RETENTION_MS.to_string())
            .with(MAX_COMPACTION_LAG, LAG_MS.to_string())
            .with(MIN_COMPACTION_LAG, (LAG_MS / 2).to_string())
            .with("min.cleanable.dirty.ratio", "0.01");
        create(&options, &[users, late, dead_letter], PATIENCE).await.expect("Kafka makes the topics");
        let log = Self { publisher: publisher(&options), options, names, user };
        log.append_older().await;
        log.keep_letter().await;
        // A publisher that was opened before learns of another partition within minutes only.
        let log = Self { publisher: publisher(&log.options), ..log };

        let client = ClientConfig::new().set("bootstrap.servers", &log.options.bootstrap).create();
        let client: AdminClient<DefaultClientContext> = client.expect("the options are usable");
        let partitions = usize::try_from(PARTITIONS).expect("a few");
        let more = NewPartitions::new(&log.names.users, partitions);
        let timeout = AdminOptions::new().request_timeout(Some(PATIENCE));
        let widened = client.create_partitions([&more], &timeout).await.expect("Kafka answers");
        assert!(widened.iter().all(Result::is_ok), "{widened:?}");
        let all = async || (read_all(&log.options, &log.names.users).await.len() == 1).then_some(());
        eventually("the topic has another partition", PATIENCE, all).await;
        log
    }

    async fn ingest(&self) -> Ingest {
        let ingest = Ingest::start(&self.options, &self.names, |_| {}).await;
        ingest.ready().await;
        ingest
    }

    async fn forget(&self) -> UnixMillis {
        let user_id = UserId::new(self.user.try_into().expect("small")).expect("an identifier");
        let at = now();
        let log = forget::Log::new(self.options.clone(), self.names.clone());
        let forgotten = forget(&log, &self.publisher, |_| Mention::No, user_id, None, at).await;
        let forgotten = forgotten.expect("the user is forgotten");
        assert_eq!(forgotten.positions.len(), 2, "on each partition that holds the user");
        assert_eq!(forgotten.deadlines.events, Some(UnixMillis::from_millis(at.millis() + LAG_MS)));
        at
    }

    /// Appends an event of the user that is older than the forgetting, to the partition that the key was on.
    async fn append_older(&self) {
        let event = event_of(&delivery(self.user, 0));
        let older = Outgoing { partition: Some(0), ..Outgoing::event(&event, &self.names.users, None) };
        self.publisher.publish(older).await.expect("the record is stored");
    }

    /// Keeps a letter of the same event, as if its body had not been readable then.
    async fn keep_letter(&self) {
        let letter = Letter {
            body: delivery(self.user, 0).into_bytes(),
            iv: None,
            rejection: "not_an_event".to_owned(),
            reason: String::new(),
            pointer: String::new(),
            received_at: now(),
            as_of: None,
            record: None,
        };
        let kept = self.publisher.publish(Outgoing::letter(&letter, &self.names.dead_letter)).await;
        kept.expect("the letter is stored");
    }

    /// Replays the letter, and returns how its event stands to the log.
    async fn replay(&self) -> Standing {
        let (options, names) = (self.options.clone(), self.names.clone());
        let read = move || {
            let table = letters::table(&options, &names.users, &Default::default()).expect("the log can be read");
            (table, letters::list(&options, &names.dead_letter).expect("the letters can be read"))
        };
        let (table, kept) = tokio::task::spawn_blocking(read).await.expect("it does not panic");
        let sorted = sort(kept, &BodyPolicy::default(), now());
        let [replay] = &sorted.events[..] else { panic!("one letter") };
        let standing = replay.standing(&table);
        let logs = LogProbe::new(&self.options, &self.names.users);
        let log = logs.now(PATIENCE).await.expect("the topic has an id");
        let (publisher, topics, framing) = (&self.publisher, &self.names, Framing::default());
        let to = Destination { publisher, topics, framing, log: &log, logs: &logs };
        replay.deliver(standing, &to).await.expect("it is stored");
        standing
    }

    /// Returns the records of the user that are left.
    async fn records(&self) -> Vec<Record> {
        let key = self.user.to_string().into_bytes();
        let records = read_all(&self.options, &self.names.users).await;
        records.into_iter().filter(|record| record.key.as_ref() == Some(&key)).collect()
    }

    /// Waits until both partitions have nothing but tombstones of the user. Only the keeper writes meanwhile.
    async fn until_only_tombstones(&self) {
        let erased = async || {
            let records = self.records().await;
            let on = |partition| records.iter().any(|record| record.position.partition == partition);
            (records.iter().all(|record| record.value.is_none()) && on(0) && on(1)).then_some(())
        };
        eventually("no value is left, and a tombstone on each partition", PATIENCE, erased).await;
    }

    /// Waits until the user's last record on each partition is a tombstone that was appended at that time or later.
    async fn until_renewed_at(&self, at: i64) {
        let renewed = async || {
            let records = self.records().await;
            let is_renewed = |partition| {
                let last = records.iter().rfind(|record| record.position.partition == partition);
                last.is_some_and(|last| last.value.is_none() && last.timestamp.millis() >= at)
            };
            (0..PARTITIONS).all(is_renewed).then_some(())
        };
        eventually("the tombstones are renewed", PATIENCE, renewed).await;
    }

    async fn until_served(&self, projector: &Projector, user: u64, status: StatusCode) {
        let path = format!("/users/{user}");
        let served = async || (projector.http.get(&path).await.status == status).then_some(());
        eventually("the projector answers so", PATIENCE, served).await;
    }

    async fn verified(&self) -> Report {
        let options = Options {
            kafka: self.options.clone(),
            topics: self.names.clone(),
            schemas: Default::default(),
            threads: 2,
            settle: PATIENCE,
            now: now(),
            since: Duration::MAX,
            retention: topic(&self.options, &self.names).await.expect("Kafka describes the topic").1,
            keep_winners: false,
        };
        let verified = tokio::task::spawn_blocking(move || verify(&options, |_, _| {})).await;
        verified.expect("it does not panic").expect("the log can be read")
    }
}
