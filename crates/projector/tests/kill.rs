//! kill -9 in a loop: a process that follows the topic is killed at random moments while records arrive, and each time its
//! store, read independently, is the fold of the log up to its checkpoint.
//!
//! Ten rounds by default; `KILL_ROUNDS=200 cargo test -p rollcall-projector --test kill` is the whole of it. The process is this
//! test binary again, told by its environment what to follow.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "the environment tells the number of rounds, and the child what it is")]

mod history;

use std::process::{Command, Stdio};
use std::time::Duration;

use history::{Random, assert_is_fold, records};
use log::embedded::EmbeddedBroker;
use log::publish::{Limits, Outgoing, Publisher};
use log::{ClientOptions, Record};
use projector::store::Reader;
use projector::{Options, Projection};

const TOPIC: &str = "vcc.users";
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
    let broker = EmbeddedBroker::start(&[(TOPIC, 3)]).unwrap();
    let publisher = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("users.db");
    let (mut log, mut resumed, mut checkpoint) = (Vec::new(), 0, None);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_that_is_killed", "--nocapture"])
            .env("KILL_CHILD", broker.bootstrap())
            .env("KILL_FOLDER", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let life = Duration::from_millis(random.below(LIFE_MAX_MS));
        let arriving = records(&mut random, RECORDS_PER_ROUND);
        let pause = life / u32::try_from(arriving.len().max(1)).unwrap();
        for record in arriving {
            log.push(publish(&publisher, record).await);
            tokio::time::sleep(pause).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if link.exists() {
            let reader = Reader::open(&link).unwrap();
            assert_is_fold(&reader, &log, &format!("seed {seed}, round {round}"));
            let now = reader.checkpoint().unwrap();
            resumed += usize::from(checkpoint.as_ref().is_some_and(|before| *before != now));
            checkpoint = Some(now);
        }
    }
    assert!(resumed > 0, "no process lived long enough to commit anything");
    println!("{rounds} rounds, {resumed} of them moved the checkpoint, {} records, seed {seed}", log.len());

    // Left alone, it reads to the end.
    let options = Options { kafka: broker.client_options(), ..Options::new("", TOPIC, folder.path()) };
    let table = Projection::open(options).unwrap();
    table.ready().await.unwrap();
    assert!(log.iter().all(|record| table.checkpoint().covers(record.position)));
    table.close().await.unwrap();
    assert_is_fold(&Reader::open(&link).unwrap(), &log, "at the end");
}

/// Nothing, unless it is told what to follow: then it follows until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_is_killed() {
    let (Ok(bootstrap), Ok(folder)) = (std::env::var("KILL_CHILD"), std::env::var("KILL_FOLDER")) else { return };
    let mut kafka = ClientOptions::new(bootstrap);
    kafka.properties.insert("fetch.wait.max.ms".to_owned(), "5".to_owned());
    let table = Projection::open(Options { kafka, ..Options::new("", TOPIC, folder) }).unwrap();
    table.ended().await;
}

async fn publish(publisher: &Publisher, record: Record) -> Record {
    let outgoing = Outgoing {
        topic: TOPIC.to_owned(),
        key: record.key.clone().unwrap(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        timestamp: record.timestamp,
        partition: None,
    };
    Record { position: publisher.publish(outgoing).await.unwrap(), ..record }
}
