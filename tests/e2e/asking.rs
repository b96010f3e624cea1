//! What `README.md` says to those who ask for users can be pasted, and each port says what is there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use hyper::StatusCode;
use testkit::deliveries::CREATED;

use crate::support::broker::{Broker, on_embedded};
use crate::support::engine::tell_left_out;
use crate::support::system::System;

const README: &str = include_str!("../../README.md");
/// The address that the snippets have.
pub(crate) const ADDRESS: &str = "http://127.0.0.1:8081";

/// Returns the snippets of the section in a language.
pub(crate) fn snippets(language: &str) -> Vec<String> {
    let (_, section) = README.split_once("\n## Asking for users\n").expect("README has the section");
    let (section, _) = section.split_once("\n## ").expect("another section follows");
    let fence = format!("```{language}\n");
    let code = section.split(&fence).skip(1).filter_map(|rest| rest.split_once("\n```"));
    code.map(|(code, _)| format!("{code}\n")).collect()
}

/// Runs a snippet on standard input of a command until it has printed a line that is the `last`, and ends it.
fn run(command: &[&str], code: &str, last: &str) {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was tried before");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(code.as_bytes()).expect("the snippet is read");
    drop(input);
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut printed = Vec::new();
    for line in output.lines() {
        printed.push(line.expect("the output is text"));
        if printed.last().is_some_and(|line| line == last) {
            child.kill().ok();
            child.wait().expect("it is a child");
            return;
        }
    }
    child.wait().expect("it is a child");
    panic!("{command:?} has not printed {last:?} but {printed:#?}, of\n{code}");
}

/// Runs the snippets in a language, if the machine can: `probe` is a command that shows it.
fn paste(url: &str, (language, probe): (&str, &[&str]), command: &[&str], last: &str) {
    if !Command::new(probe[0]).args(&probe[1..]).output().is_ok_and(|output| output.status.success()) {
        return tell_left_out("asking::snippets_can_be_pasted", &format!("{probe:?} fails here"));
    }
    // `browser::source` has that.
    let pasted: Vec<String> = snippets(language).into_iter().filter(|code| !code.contains("EventSource")).collect();
    assert_eq!(pasted.len(), 1, "{language}");
    for code in pasted {
        assert!(code.contains(ADDRESS), "{code}");
        run(command, &code.replace(ADDRESS, url), last);
    }
}

async fn with_a_user(broker: &Broker) -> System {
    let system = System::start(broker, 3).await;
    let delivered = system.ingest.post(CREATED).await;
    assert_eq!(system.user_after(180, &delivered).await.status, StatusCode::OK);
    system
}

#[test]
fn snippets_can_be_pasted() {
    on_embedded(async |broker| {
        let system = with_a_user(broker).await;
        let url = system.projector.url();
        paste(&url, ("sh", &["curl", "--version"]), &["sh", "-e"], "304");
        paste(&url, ("python", &["python3", "--version"]), &["python3", "-"], "180 Rachel Smith active");
        let node = &["node", "-e", "fetch; new TextDecoderStream()"];
        paste(&url, ("js", node), &["node", "--input-type=module"], "caught-up 1");
        system.stop().await;
    });
}

#[test]
fn each_port_says_what_is_there() {
    on_embedded(async |broker| {
        let system = with_a_user(broker).await;
        for (http, says) in [
            (&system.ingest.http, "POST /webhooks/users"),
            (system.ingest.admin(), "/readyz"),
            (&system.projector.http, "/users/by-extension/{extension}"),
            (system.projector.admin(), "/metrics"),
        ] {
            let answer = http.get("/").await;
            assert_eq!(answer.status, StatusCode::OK, "{says}");
            assert!(answer.body_text().contains(says), "{says} in {}", answer.body_text());
        }
        system.stop().await;
    });
}
