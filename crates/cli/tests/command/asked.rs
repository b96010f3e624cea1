//! What scripts ask for: users, changes and the state of a projector, completions, manual pages, JSON.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{answering, answering_with, rollcall, run, stderr, stdout, text};

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
    let pages = folder.path().join("share/man1");
    let written = run(&["man", text(&pages)]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    let page = std::fs::read_to_string(pages.join("rollcall-dead-letter-list.1")).unwrap();
    assert!(page.contains("Lists the dead letters"), "{page}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let user = r#"{"userId":180,"_meta":{}}"#.to_owned();
    let url = answering(vec![user.clone(), format!("{user}\n")]);
    for args in [
        &["--help"][..],
        &["--version"],
        &["completions", "bash"],
        &["config", "show", "projector"],
        &["get", "180", "--projector", &url],
        &["export", "--projector", &url],
        &["export", "--csv", "--projector", &url],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = rollcall(args).stdout(writer).output().unwrap();
        assert_eq!(stderr(&output), "", "{args:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_export_that_cannot_be_written_says_that_alone() {
    // More than the buffer takes.
    let users = "{\"userId\":180,\"name\":\"Rachel Smith\",\"_meta\":{}}\n".repeat(10_000);
    let url = answering(vec![users]);
    for form in [&[][..], &["--csv"]] {
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = rollcall(&[&["export", "--projector", &url], form].concat()).stdout(full).output().unwrap();
        let told = "rollcall: the output cannot be written: No space left on device (os error 28)\n";
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(1), told), "{form:?}");
    }
}

#[test]
fn an_export_tells_why_it_was_refused() {
    let problem = r#"{"status":503,"detail":"waiting for Kafka"}"#.to_owned();
    let output = run(&["export", "--projector", &answering_with("503 Service Unavailable", vec![problem])]);
    let said = stderr(&output);
    assert!(said.ends_with("/users answers 503 Service Unavailable: waiting for Kafka\n"), "{said}");
}

#[test]
fn a_tail_from_what_is_no_id_is_wrong_usage() {
    for id in ["garbage", "", "0:3"] {
        let output = run(&["tail", "--from", id, "--projector", "http://127.0.0.1:1"]);
        assert_eq!(output.status.code(), Some(2), "{id:?}: {}", stderr(&output));
    }
}

#[test]
fn a_projector_that_is_not_there_is_told_with_the_remedy() {
    let nowhere = run(&["get", "1", "--projector", "http://127.0.0.1:1"]);
    let told = "http://127.0.0.1:1/users/1 does not answer: nothing listens there; is the address right?";
    assert_eq!((nowhere.status.code(), stderr(&nowhere)), (Some(1), format!("rollcall: {told}\n")));
}

#[test]
fn a_file_of_authorities_that_cannot_be_used_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, gone) = (folder.path().join("empty.pem"), folder.path().join("gone.pem"));
    std::fs::write(&empty, "").unwrap();
    for (file, reason) in
        [(&empty, "it is empty"), (&gone, "it cannot be read: No such file or directory (os error 2)")]
    {
        let told = format!("{} has no certificate authorities that can be used: {reason}\n", text(file));
        let get = run(&["get", "1", "--projector", "https://127.0.0.1:1", "--ca-file", text(file)]);
        let simulate = run(&["simulate", "https://127.0.0.1:1/x", "--events=1", "--ca-file", text(file)]);
        assert_eq!((get.status.code(), stderr(&get)), (Some(1), format!("rollcall: {told}")));
        assert_eq!(
            (simulate.status.code(), stderr(&simulate)),
            (Some(1), format!("rollcall: https cannot be used: {told}"))
        );
    }
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
    // Each is asked, though the other does not answer.
    let both = [&open[..], &["--online", "--bootstrap=127.0.0.1:1", "--set=registry.url=http://127.0.0.1:1"]].concat();
    let faults = check(&both).1["online_faults"].clone();
    assert_eq!(faults.as_array().unwrap().len(), 2, "{faults}");
    assert!(faults[1].as_str().unwrap().contains("the schema registry at http://127.0.0.1:1"), "{faults}");
    let in_words = run(&[&["config", "check", "ingest"], &both[..]].concat());
    let lines = stdout(&in_words);
    assert!(lines.contains("refuses the connection") && lines.contains("the schema registry at"), "{in_words:?}");
    assert!(in_words.status.code() == Some(1) && !lines.contains("can be used"), "{in_words:?}");
}

#[test]
fn a_configuration_is_shown_as_json() {
    let setting = ["--set", "security.allow_unauthenticated=true", "--set", "http.connections_max=77"];
    let shown = stdout(&run(&[&["config", "show", "ingest", "--json"], &setting[..]].concat()));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["http"]["connections_max"], 77);
}
