//! What scripts ask for: users, changes and the state of a projector, completions, manual pages, JSON.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{answering, rollcall, run, stderr, stdout, text};

#[test]
fn a_user_is_printed_as_answered() {
    let user = r#"{"userId":180,"monthly":12.50,"_meta":{}}"#;
    let output = run(&["get", "180", "181", "--projector", &answering(vec![user.to_owned()])]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), format!("{user}\n{user}\n")), "{}", stderr(&output));
}

#[test]
fn the_state_of_a_projector_is_told_in_words_or_as_json() {
    let status = r#"{"phaseDetail":"following the log","users":7,"partitions":[]}"#;
    let url = answering(vec![status.to_owned()]);
    let words = stdout(&run(&["status", "--projector", &url]));
    assert!(words.contains("phase       following the log\n") && words.contains("users       7\n"), "{words}");
    assert_eq!(stdout(&run(&["status", "--json", "--projector", &url])), format!("{status}\n"));
}

#[test]
fn a_tail_goes_on_when_the_stream_has_ended() {
    let stream = |id: u8| format!("id: {id}\nevent: changed\ndata: {{\"userId\":{id}}}\n\n");
    let url = answering(vec![stream(1), stream(2)]);
    let mut child = rollcall(&["tail", "--projector", &url]).stdout(Stdio::piped()).spawn().unwrap();
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().take(2).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let line = |id: u8| format!("{{\"event\":\"changed\",\"id\":\"{id}\",\"data\":{{\"userId\":{id}}}}}");
    assert_eq!(lines, [line(1), line(2)]);
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&["completions", shell]));
        assert!(script.contains("dead-letter") && script.contains("import"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let written = run(&["man", text(folder.path())]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    let page = std::fs::read_to_string(folder.path().join("rollcall-dead-letter-list.1")).unwrap();
    assert!(page.contains("Lists the dead letters"), "{page}");
}

#[test]
fn a_configuration_is_checked_as_json() {
    let check = |settings: &[&str]| {
        let output = run(&[&["config", "check", "ingest", "--json"], settings].concat());
        let outcome: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{output:?}"));
        (output.status.code(), outcome)
    };
    let faulty =
        ["http.listen=nowhere", "webhook.requests_max=many", "kafka.bootstrap=a:1,,b:1", "topics.partitions=301"];
    let (status, wrong) = check(&faulty.map(|setting| ["--set", setting]).concat());
    assert_eq!((status, &wrong["valid"], &wrong["online_faults"]), (Some(1), &false.into(), &Value::Null));
    let keys: Vec<&str> =
        wrong["faults"].as_array().unwrap().iter().map(|fault| fault["key"].as_str().unwrap()).collect();
    for key in ["webhook.requests_max", "http.listen", "kafka.bootstrap", "topics.partitions"] {
        assert!(keys.contains(&key), "{key}: {wrong}");
    }
    let set = wrong["faults"].as_array().unwrap().iter().filter(|fault| fault["origin"] == "flag");
    assert_eq!(set.count(), faulty.len(), "{wrong}");
    let open = ["--set", "security.allow_unauthenticated=true"];
    assert_eq!(check(&open).1["valid"], true);
    let away = [&open[..], &["--online", "--bootstrap", "127.0.0.1:1"]].concat();
    let (status, away) = check(&away);
    assert_eq!((status, &away["valid"], &away["faults"]), (Some(1), &false.into(), &serde_json::json!([])));
    assert!(away["online_faults"][0].as_str().unwrap().contains("refuses the connection"), "{away}");
}

#[test]
fn a_configuration_is_shown_as_json() {
    let setting = ["--set", "security.allow_unauthenticated=true", "--set", "http.connections_max=77"];
    let shown = stdout(&run(&[&["config", "show", "ingest", "--json"], &setting[..]].concat()));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["http"]["connections_max"], 77);
}
