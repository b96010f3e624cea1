//! Two ingest replicas and a projector, each a process, killed at random moments while two simulations play the vendor
//! against them with late and repeated deliveries. Once all is delivered, `rollcall verify` finds the log and the
//! projector right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::Position;
use domain::topics::Names;
use hyper::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::random::Random;
use testkit::{Http, eventually};

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::process::{Ports, Process, cluster_arguments, service_arguments};
use crate::support::system::{SECRET, WEBHOOK};

on_both_brokers!(verify_is_clean_after_kills_at_random_moments);

const PARTITIONS: i32 = 3;
/// The seed unless the variable gives another; it is not named as a setting of Rollcall, which refuses those that it
/// does not know.
const SEED: u64 = 1;
const SEED_VARIABLE: &str = "CHAOS_SEED";
/// Of each of the two simulations.
const EVENTS: &str = "500";
const RATE: &str = "25";
const USERS: &str = "60";
/// One of the vendor's minutes. The last attempts of its rule are hours apart: a minute must be short.
const MINUTE_MS: &str = "50";
/// So many kills at most. The vendor's rule doubles its waits: a service that never lives would be waited for without
/// end.
const KILLS_MAX: u64 = 25;
/// A process lives at most so long before it is killed, and is gone at most so long before it is started again.
const LIFE_MS_MAX: u64 = 1_500;
const GONE_MS_MAX: u64 = 400;
/// How long a member of the keeper's group that was killed may keep its partitions, and more.
const SETTLE_SECONDS: &str = "120";
/// How long the projector may take to start for the last time and read what it missed.
const SETTLED_MAX: Duration = Duration::from_secs(120);

async fn verify_is_clean_after_kills_at_random_moments(broker: &Broker) {
    let names = broker.make_topics(PARTITIONS).await;
    let cluster = cluster_arguments(&broker.client_options(), &names);
    let dir = TempDir::new().expect("a folder can be made");
    let ports = [Ports::free(), Ports::free(), Ports::free()];
    let secret = format!("security.secret_keys=['{SECRET}']");
    let store = format!("store.dir='{}'", dir.path().join("store").display());
    let mut victims = [
        Victim::start("ingest", ports[0], &secret, &cluster),
        Victim::start("ingest", ports[1], &secret, &cluster),
        Victim::start("projector", ports[2], &store, &cluster),
    ];

    let seed = seed();
    let done = AtomicBool::new(false);
    let simulations = async {
        let (first, second) = tokio::join!(
            simulate(ports[0], "1000", seed, dir.path().join("first")),
            simulate(ports[1], "5000", seed + 1, dir.path().join("second"))
        );
        done.store(true, Ordering::Relaxed);
        [first, second]
    };
    let ((), [first, second]) = tokio::join!(kill_until(&done, &mut victims, seed), simulations);
    println!("{}\n{}", text(&first), text(&second));
    for simulation in [&first, &second] {
        assert!(simulation.status.success(), "no event was given up: {}", text(simulation));
    }

    let kills: Vec<u64> = victims.iter().map(|victim| victim.kills).collect();
    let expected = dir.path().join("expected");
    let both = ["first", "second"].map(|name| std::fs::read(dir.path().join(name)).expect("the simulation wrote it"));
    std::fs::write(&expected, both.concat()).expect("the file can be written");
    // The log first: what the projector must have read is known when the keeper is at rest.
    let log = verify(&cluster, &expected, &[]).await;
    assert!(log.status.success(), "seed {seed}, kills {kills:?}: {}", text(&log));
    let projector = ports[2].http();
    until_read(broker, &names, &projector).await;
    let url = ports[2].url();
    let all = verify(&cluster, &expected, &["--projector", &url]).await;
    println!("seed {seed}: {kills:?} kills of the two replicas and the projector\n{}", text(&all));
    assert!(all.status.success(), "seed {seed}, kills {kills:?}: {}", text(&all));
    assert!(kills.iter().all(|kills| *kills > 0), "everything was killed: {kills:?}");
}

/// Kills one after the other, whichever, until told to stop or it is enough.
async fn kill_until(done: &AtomicBool, victims: &mut [Victim; 3], seed: u64) {
    let mut random = Random(seed);
    for _ in 0..KILLS_MAX {
        if done.load(Ordering::Relaxed) {
            break;
        }
        // Chance is the point here: nothing is waited for, and a process may die before it was ready.
        tokio::time::sleep(Duration::from_millis(random.below(LIFE_MS_MAX))).await;
        let victim = &mut victims[usize::try_from(random.below(3)).expect("one of three")];
        victim.kill();
        tokio::time::sleep(Duration::from_millis(random.below(GONE_MS_MAX))).await;
        victim.start_again();
    }
}

/// A service that is killed and started again, the same each time.
struct Victim {
    arguments: Vec<String>,
    process: Option<Process>,
    kills: u64,
}

impl Victim {
    fn start(command: &str, ports: Ports, setting: &str, cluster: &[String]) -> Self {
        let arguments = service_arguments(command, cluster, ports, &[setting.to_owned()]);
        let mut victim = Self { arguments, process: None, kills: 0 };
        victim.start_again();
        victim
    }

    fn start_again(&mut self) {
        self.process = Some(Process::start(&self.arguments));
    }

    fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
            self.kills += 1;
        }
    }
}

async fn simulate(ports: Ports, first_user: &str, seed: u64, expect: PathBuf) -> Output {
    let (url, seed) = (format!("{}{WEBHOOK}", ports.url()), seed.to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall-under-test"));
    command.args(["simulate", &url, "--late", "0.3", "--repeat", "0.1", "--events", EVENTS, "--rate", RATE]);
    command.args(["--users", USERS, "--first-user", first_user, "--seed", &seed, "--minute-ms", MINUTE_MS]);
    command.arg("--expect").arg(expect);
    output(command).await
}

async fn verify(cluster: &[String], expected: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall-under-test"));
    command.arg("verify").args(cluster).args(["--settle", SETTLE_SECONDS]).arg("--expect").arg(expected).args(more);
    output(command).await
}

async fn output(mut command: Command) -> Output {
    let run = tokio::task::spawn_blocking(move || command.output());
    run.await.expect("it does not panic").expect("the command can be started")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Waits until the projector has read all of the log, and checks that it holds no gap and met nothing unreadable.
async fn until_read(broker: &Broker, names: &Names, projector: &Http) {
    let records = read_all(&broker.client_options(), &names.users).await;
    let ends: BTreeMap<i32, Position> =
        records.iter().map(|record| (record.position.partition, record.position)).collect();
    let mut status = Value::Null;
    for end in ends.values() {
        let path = format!("/status?at_least={end}&wait_ms=30000");
        let answered = eventually("the projector has read all", SETTLED_MAX, async || {
            let answer = projector.send(Method::GET, &path, "").await.ok()?;
            (answer.status == StatusCode::OK).then_some(answer)
        });
        status = answered.await.json();
    }
    println!("projector: {status}");
    assert_eq!([&status["gaps"]["awaited"], &status["gaps"]["lost"]], [0, 0], "{status}");
}

fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a run with another seed is asked for from outside")]
    let given = std::env::var(SEED_VARIABLE).ok();
    given.map_or(SEED, |seed| seed.parse().expect("the seed is a number"))
}
