//! The tour of `README.md` is what the binary prints and answers, but for addresses, secrets, names and times.

use std::process::Command;

use kafka::ClientOptions;
use serde_json::Value;
use testkit::wait::PATIENCE;

use crate::support::{Dev, on_runtime, post, rollcall, run, stderr, stdout};

const README: &str = include_str!("../../../../README.md");
/// The members of an answer that differ from run to run.
const OF_A_RUN: [&str; 3] = ["position", "receivedAt", "asOf"];

/// Returns the first block of code after these words of the tour.
fn block(words: &str) -> &'static str {
    let (_, tour) = README.split_once("\n## Five minutes\n").expect("README has the tour");
    let (_, after) = tour.split_once(words).unwrap_or_else(|| panic!("the tour does not say {words:?}"));
    let (_, code) = after.split_once("\n```").expect("code follows");
    let (_language, code) = code.split_once('\n').expect("the code begins on a line of its own");
    code.split_once("\n```").expect("the code ends").0
}

/// Returns the text with one port and one secret for all.
fn without_addresses(text: &str) -> String {
    let ports = cut_after(text, "127.0.0.1:", |of_port| of_port.is_ascii_digit());
    cut_after(&ports, "secret-key=", |of_secret| of_secret.is_ascii_hexdigit())
}

/// Returns the text with `…` in place of what follows each `mark`.
fn cut_after(text: &str, mark: &str, is_part: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(mark);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}{mark}…{}", part.trim_start_matches(&is_part)))
}

/// Returns the JSON without what differs from run to run.
fn of_every_run(json: &str) -> Value {
    fn mask(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    if OF_A_RUN.contains(&name.as_str()) { *value = "…".into() } else { mask(value) }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(mask),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"));
    mask(&mut value);
    value
}

#[test]
fn the_tour_is_what_is_printed_and_answered() {
    let dev = Dev::start(&[]);
    let (addresses, _) = dev.welcome.split_once("\nThe vendor's sample in").unwrap();
    let addresses = without_addresses(addresses.trim_end());
    assert_eq!(addresses, without_addresses(block("two lines to paste:")), "of the first lines");

    let answers = dev.follow_curls();
    let [(200, stored), (200, user)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(of_every_run(stored), of_every_run(block("**A webhook in.**")));
    assert_eq!(of_every_run(user), of_every_run(block("**The user out.**")));

    // Before the repeats, of which those are stored that come before the gate has read the record.
    check_record(dev.address("Kafka"), block("**The record itself**"));

    // Once the gate has read the record.
    let webhooks = dev.address("webhooks");
    let sample = include_str!("../../../../schemas/golden/v1/user-created.json");
    let repeated = async || Some(post_on(webhooks, sample).await).filter(|answer| answer["status"] == "duplicate");
    let duplicate = on_runtime(testkit::eventually("the repeat is known", PATIENCE, repeated));
    assert_eq!(duplicate["position"], serde_json::from_str::<Value>(stored).unwrap()["position"]);
    let (_, said) = README.split_once("**The same webhook again**").unwrap();
    assert!(said.lines().next().unwrap().contains("`{\"status\":\"duplicate\", …,\"position\":"), "{said}");

    let refusal = block("**An invalid body**");
    let lines: Vec<&str> = refusal.lines().collect();
    let [_curl, problem, _command, listed] = lines.as_slice() else { panic!("{refusal}") };
    let (status, answer) = post(webhooks, r#"{"new":{"userId":"x"}}"#);
    assert_eq!((status, of_every_run(&answer)), (422, of_every_run(problem)));
    let letters = stdout(&run(&["dead-letter", "list", "--bootstrap", dev.address("Kafka")]));
    // Key and time come first.
    let rest = |line: &str| line.split_whitespace().skip(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(rest(&letters), rest(listed), "{letters}");
}

/// `cargo run` gives the program the variables that its build script has set, and `cargo test` gives them to this test:
/// none of them may be taken for a setting.
#[test]
fn what_cargo_sets_is_no_setting() {
    let of_build = std::env::vars().filter(|(name, _)| name.contains("COMMIT"));
    let output = rollcall(&["config", "show", "projector"]).envs(of_build.collect::<Vec<_>>()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        std::env::vars().any(|(name, value)| name.ends_with("COMMIT") && value == "a debug build"),
        "cargo sets it"
    );
}

async fn post_on(url: &str, body: &str) -> Value {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let request = testkit::http::request("POST", &format!("/{path}"), &[], body);
    testkit::Http::to(authority.parse().unwrap()).exchange(&request).await.json()
}

/// Compares the only record with a line that `kcat` prints of it: `2:0 180 name=value,name=value`.
fn check_record(bootstrap: &str, line: &str) {
    let mut words = line.splitn(3, ' ');
    let (position, key, headers) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let found = on_runtime(testkit::broker::read_all(&ClientOptions::new(bootstrap), "vcc.users"));
    let [record] = found.as_slice() else { panic!("{} records", found.len()) };
    assert_eq!((record.position.to_string().as_str(), record.key.as_deref()), (position, Some(key.as_bytes())));
    for header in headers.split(',') {
        let (name, value) = header.split_once('=').unwrap();
        let found = record.header(name).unwrap_or_else(|| panic!("no header {name}"));
        // Each request has a trace of its own.
        assert!(name == "traceparent" || found == value.as_bytes(), "{name}: {}", String::from_utf8_lossy(found));
    }
    assert_eq!(record.headers.len(), headers.split(',').count());
}

/// Says in a line that the test was left out.
fn leave_out(reason: &str) {
    eprintln!("left out: tour::the_way_to_parquet_can_be_pasted: {reason}");
}

#[test]
fn the_way_to_parquet_can_be_pasted() {
    // The command of DuckDB is not in PyPI's package, which does the same.
    let is_there = Command::new("python3").args(["-c", "import duckdb"]).output();
    if !is_there.is_ok_and(|output| output.status.success()) {
        return leave_out("python3 has no module duckdb");
    }
    let dev = Dev::start(&[]);
    assert_eq!(dev.follow_curls().len(), 2);
    let folder = tempfile::tempdir().unwrap();
    let (_, after) = README.split_once("DuckDB makes Parquet of it:\n\n```sh\n").expect("README has the line");
    let line = after.split_once("\n```").unwrap().0;
    let projector = dev.address("queries").trim_end_matches("/users");
    let script = format!(
        "rollcall() {{ \"$ROLLCALL\" \"$@\" --projector {projector}; }}\n\
         duckdb() {{ python3 -c 'import duckdb, sys; duckdb.sql(sys.argv[2])' \"$@\"; }}\n\
         {line}\n\
         python3 -c 'import duckdb\n\
         print(duckdb.read_parquet(\"users.parquet\").project(\"userId, name\").fetchall())'\n"
    );
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", &script]).current_dir(folder.path()).env("ROLLCALL", env!("CARGO_BIN_EXE_rollcall"));
    let pasted = shell.output().unwrap();
    assert_eq!(stdout(&pasted), "[(180, 'Rachel Smith')]\n", "{}", stderr(&pasted));
}
