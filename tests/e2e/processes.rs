//! `rollcall` as processes, as an operator and a newcomer have them: what they print, and how they end.

use std::process::Command;

use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::random::Random;

use crate::support::broker::{Broker, on_both_brokers, on_runtime};
use crate::support::engine::tell_left_out;
use crate::support::load::{Load, assert_all_stored, assert_state_is_fold};
use crate::support::process::{Ports, Process};
use crate::support::system::SECRET;

on_both_brokers!(ingest_is_terminated_a_hundred_times, services_are_killed_at_any_moment);

const PARTITIONS: i32 = 2;
const TERMINATIONS: u64 = 100;
const KILLS: u64 = 20;
/// How many deliveries at most are accepted between one signal and the next.
const DELIVERIES_BETWEEN_SIGNALS_MAX: u64 = 20;

async fn ingest_is_terminated_a_hundred_times(broker: &Broker) {
    let names = broker.make_topics(PARTITIONS).await;
    let options = broker.client_options();
    let ports = Ports::free();
    let load = Load::on(ports.http());

    let terminations = async {
        let mut random = Random(0x7E21);
        for round in 0..TERMINATIONS {
            let ingest = Process::ingest(&options, &names, ports);
            load.progress(1 + random.below(DELIVERIES_BETWEEN_SIGNALS_MAX)).await;
            ingest.terminate();
            let finished = ingest.finished().await;
            assert!(finished.status.success(), "round {round}: {finished:?}");
            let written = finished.stdout + &finished.stderr;
            assert!(written.contains("ingest stopped"), "round {round}: the requests are accounted for: {written}");
            assert!(!written.contains(SECRET), "round {round}: the secret is kept: {written}");
        }
        load.end();
    };
    let (accepted, ()) = tokio::join!(load.run(), terminations);

    let log = read_all(&options, &names.users).await;
    assert_all_stored(&accepted, &log);
    println!("{TERMINATIONS} SIGTERMs; {} deliveries accepted, {} records stored, 0 lost", accepted.len(), log.len());
}

async fn services_are_killed_at_any_moment(broker: &Broker) {
    let names = broker.make_topics(PARTITIONS).await;
    let options = broker.client_options();
    let store = TempDir::new().expect("a folder can be made");
    let (ingest_ports, projector_ports) = (Ports::free(), Ports::free());
    let start_ingest = || Process::ingest(&options, &names, ingest_ports);
    let start_projector = || Process::projector(&options, &names, projector_ports, store.path());
    let load = Load::on(ingest_ports.http());

    let kills = async {
        let mut random = Random(0x0D1E);
        let (mut ingest, mut projector) = (start_ingest(), start_projector());
        for _ in 0..KILLS {
            load.progress(1 + random.below(DELIVERIES_BETWEEN_SIGNALS_MAX)).await;
            if random.below(2) == 0 {
                ingest.kill();
                ingest = start_ingest();
            } else {
                projector.kill();
                projector = start_projector();
            }
        }
        load.progress(DELIVERIES_BETWEEN_SIGNALS_MAX).await;
        load.end();
        (ingest, projector)
    };
    let (accepted, (ingest, projector)) = tokio::join!(load.run(), kills);
    ingest.terminate();
    let finished = ingest.finished().await;
    assert!(finished.status.success(), "{finished:?}");

    let log = read_all(&options, &names.users).await;
    assert_all_stored(&accepted, &log);
    assert_state_is_fold(&projector_ports.http(), &log).await;
    println!("{KILLS} SIGKILLs; {} deliveries accepted, {} records stored, 0 lost", accepted.len(), log.len());
    drop(projector);
}

#[test]
fn what_dev_prints_can_be_pasted() {
    if Command::new("curl").arg("--version").output().is_err() {
        return tell_left_out("processes::what_dev_prints_can_be_pasted", "no curl");
    }
    on_runtime(async {
        let any = ["--port-webhooks", "--port-queries", "--port-ingest-admin", "--port-projector-admin"];
        let arguments: Vec<&str> = ["dev"].into_iter().chain(any.into_iter().flat_map(|port| [port, "0"])).collect();
        let dev = Process::start(&arguments);
        let lines =
            |printed: &str| printed.lines().filter(|line| line.starts_with("curl ")).map(str::to_owned).collect();
        let whole = |printed: &str| printed.ends_with('\n') && Vec::<String>::len(&lines(printed)) == 2;
        let printed = dev.until_stdout("dev prints two lines to paste", whole).await;

        let pasted: Vec<String> = lines(&printed).iter().map(|line| paste(line)).collect();
        let [delivered, user] = pasted.as_slice() else { panic!("two lines to paste: {printed}") };
        assert!(delivered.contains("\"status\":\"stored\""), "{delivered}");
        let user: serde_json::Value = serde_json::from_str(user).expect("a user is JSON");
        assert_eq!((&user["userId"], &user["name"]), (&180.into(), &"Rachel Smith".into()));
        dev.terminate();
        let finished = dev.finished().await;
        assert!(finished.status.success(), "{finished:?}");
    });
}

/// Runs a line as a shell does, and returns what it printed.
fn paste(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().expect("there is a shell");
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).expect("answers are text")
}
