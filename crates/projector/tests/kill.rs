//! kill -9 in a loop: a process that follows the topic is killed at random moments while records arrive, and each time
//! its store, read independently, is the fold of the log up to its checkpoint.
//!
//! Ten rounds by default; `KILL_ROUNDS=200 cargo test -p rollcall-projector --test kill` is the whole of it. With
//! `KILL_BOOTSTRAP=127.0.0.1:9092` the topic is one of that cluster instead of the embedded broker's. The process is
//! this test binary again, told by its environment what to follow.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "the environment tells the number of rounds, and the child what it is")]

mod history;

use std::process::{Command, Stdio};
use std::time::Duration;

use domain::topics::Spec;
use history::{assert_is_fold, records};
use kafka::embedded::EmbeddedBroker;
use kafka::publish::{Limits, Outgoing, Publisher};
use kafka::topics;
use kafka::{ClientOptions, Record};
use projector::store::StoreReader;
use projector::{Options, Projection};
use testkit::eventually;
use testkit::random::Random;
use testkit::wait::PATIENCE;

const TOPIC: &str = "vcc.users";
const PARTITIONS: i32 = 3;
/// How long a cluster may take to make the topic.
const MAKING_MAX: Duration = Duration::from_secs(30);
const ROUNDS: usize = 10;
/// How many records arrive in a round, some at a time.
const RECORDS_PER_ROUND: usize = 60;
/// A process is killed at the latest after this: time to start, to catch up and to follow.
const LIFE_MAX_MS: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_the_table_is_the_fold_of_its_log() {
    let rounds = std::env::var("KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let seed = std::env::var("KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    let embedded = EmbeddedBroker::start(&[(TOPIC, PARTITIONS)]).unwrap();
    let (kafka, topic) = match std::env::var("KILL_BOOTSTRAP") {
        Ok(bootstrap) => made_on(&bootstrap).await,
        Err(_) => (embedded.client_options(), TOPIC.to_owned()),
    };
    let publisher = Publisher::open(&kafka, Limits::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("users.db");
    let (mut log, mut resumed, mut checkpoint) = (Vec::new(), 0, None);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_that_is_killed", "--nocapture"])
            .env("KILL_CHILD", &kafka.bootstrap)
            .env("KILL_TOPIC", &topic)
            .env("KILL_FOLDER", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let life = Duration::from_millis(random.below(LIFE_MAX_MS));
        let arriving = records(&mut random, RECORDS_PER_ROUND);
        let pause = life / u32::try_from(arriving.len().max(1)).unwrap();
        for record in arriving {
            log.push(publish(&publisher, &topic, record).await);
            tokio::time::sleep(pause).await;
        }
        // On a busy machine a process can be killed before it has read anything, each time.
        if round % 2 == 1 {
            eventually("the checkpoint moves", PATIENCE, async || {
                let reader = link.exists().then(|| StoreReader::open(&link).ok()).flatten()?;
                (reader.checkpoint().ok() != checkpoint).then_some(())
            })
            .await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if link.exists() {
            let reader = StoreReader::open(&link).unwrap();
            assert_is_fold(&reader, &log, &format!("seed {seed}, round {round}"));
            let now = reader.checkpoint().unwrap();
            resumed += usize::from(checkpoint.as_ref().is_some_and(|before| *before != now));
            checkpoint = Some(now);
        }
    }
    assert!(resumed > 0, "no process lived long enough to commit anything");
    println!(
        "{topic} on {}: {rounds} rounds, {resumed} of them moved the checkpoint, {} records, seed {seed}",
        kafka.bootstrap,
        log.len()
    );

    // Left alone, it reads to the end.
    let options = Options { kafka, ..Options::new("", &topic, folder.path()) };
    let table = Projection::open(options).unwrap();
    table.ready().await.unwrap();
    assert!(log.iter().all(|record| table.checkpoint().covers(record.position)));
    table.close().await.unwrap();
    assert_is_fold(&StoreReader::open(&link).unwrap(), &log, "at the end");
}

/// Nothing, unless it is told what to follow: then it follows until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_is_killed() {
    let told = |name| std::env::var(name);
    let (Ok(bootstrap), Ok(topic), Ok(folder)) = (told("KILL_CHILD"), told("KILL_TOPIC"), told("KILL_FOLDER")) else {
        return;
    };
    let mut kafka = ClientOptions::new(bootstrap);
    kafka.properties.insert("fetch.wait.max.ms".to_owned(), "5".to_owned());
    let table = Projection::open(Options { kafka, ..Options::new("", &topic, folder) }).unwrap();
    table.ended().await;
}

/// Makes a topic that no other run has.
async fn made_on(bootstrap: &str) -> (ClientOptions, String) {
    let kafka = ClientOptions::new(bootstrap);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let topic = format!("kill.{}", since.as_millis());
    topics::create(&kafka, &[Spec::users(&topic, PARTITIONS, 1)], MAKING_MAX).await.unwrap();
    (kafka, topic)
}

async fn publish(publisher: &Publisher, topic: &str, record: Record) -> Record {
    let outgoing = Outgoing {
        topic: topic.to_owned(),
        key: record.key.clone().unwrap(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        timestamp: record.timestamp,
        partition: None,
    };
    Record { position: publisher.publish(outgoing).await.unwrap(), ..record }
}
