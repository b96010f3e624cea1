//! The binary from a user's view: usage, configuration, `dev`, and a simulated vendor whose log is then verified.

#![expect(clippy::unwrap_used, reason = "a test fails where its premise does")]

mod signals;
mod support;
mod threads;

mod readers;

mod cluster;

mod asked;

mod import;

mod dev;

mod tour;

use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Dev, Service, answering, get, post, rollcall, run, stderr, stdout, text};
use testkit::deliveries::CHANGED;

#[test]
fn a_mistake_in_usage_is_status_2_and_help_is_not_one() {
    for args in [&["dev", "--prot", "1"][..], &["ingst"], &["simulate"], &["dev", "--port-webhooks", "99999"], &[]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let commands = "dev ingest projector topics config dead-letter import export forget verify get tail status \
                    simulate health token completions man";
    for command in commands.split_whitespace() {
        assert!(stdout(&help).contains(&format!("  {command}")), "{command}");
    }
}

#[test]
fn the_version_names_the_commit_and_the_libraries() {
    let version = run(&["--version"]);
    for line in ["rollcall 0.1.0", "commit      a debug build", "librdkafka  2.", "OpenSSL     3."] {
        assert!(stdout(&version).contains(line), "{}", stdout(&version));
    }
    assert_eq!(stdout(&run(&["-V"])), "rollcall 0.1.0\n");
}

#[test]
fn the_health_of_a_service_that_is_not_ready_or_not_there_is_status_1() {
    let nowhere = ["--bootstrap", "127.0.0.1:1", "--set", "security.allow_unauthenticated=true"];
    let ingest = Service::start(&[&["ingest"], &nowhere[..]].concat(), &[]);
    let admin = ingest.listens["admin"].as_str().unwrap().to_owned();
    let health = |more: &[&str]| run(&[&["health", "--admin", &admin], more].concat());
    assert_eq!(stdout(&health(&["--live"])), "ok\n");
    let ill = health(&[]);
    assert_eq!(ill.status.code(), Some(1));
    assert!(stdout(&ill).contains("kafka: "), "{}", stdout(&ill));
    drop(ingest);
    let gone = health(&[]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains("does not answer"), "{}", stderr(&gone));
}

#[test]
fn a_failure_is_one_line_and_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    let below_a_file = file.path().join("data");
    let cases = [
        (vec!["dev", "--port-webhooks", &port], "is taken by another process; choose another with --port-webhooks"),
        (
            vec![
                "dev",
                "--port-queries",
                &port,
                "--port-webhooks=0",
                "--port-ingest-admin=0",
                "--port-projector-admin=0",
            ],
            "choose another with --port-queries",
        ),
        (
            vec![
                "dev",
                "--data-dir",
                text(&below_a_file),
                "--port-webhooks=0",
                "--port-queries=0",
                "--port-ingest-admin=0",
                "--port-projector-admin=0",
            ],
            "cannot be written; choose another with --data-dir",
        ),
        (vec!["simulate", "ftp://127.0.0.1/"], "is not an address of the form http://host:port/path"),
        (vec!["simulate", "http://127.0.0.1/", "--encrypt", "rot-13", "--key", "k"], "there is no cipher rot-13"),
        (vec!["config", "check", "ingest", "--config", "/nowhere.toml"], "/nowhere.toml: cannot be read"),
    ];
    for (args, expected) in cases {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = stderr(&output);
        assert!(said.starts_with("rollcall: ") && said.contains(expected), "{args:?} said {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn config_check_lists_all_faults_at_once_and_show_keeps_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ingest.toml");
    std::fs::write(
        &file,
        "typo = 1\n[http]\nlisten = 'nowhere'\n[webhook]\nrequests_max = 0\n[kafka.properties]\nacks = 1\n",
    )
    .unwrap();
    let output = rollcall(&["config", "check", "ingest", "--config", text(&file)])
        .envs([("ROLLCALL_WEBHOOK__BODY_BYTES_MAX", "many"), ("ROLLCALL_STORE__DIR", "/of/the/projector")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    for key in ["typo (", "body_bytes_max (", "http.listen", "webhook.requests_max", "acks", "security.secret_keys"] {
        assert!(stderr(&output).contains(key), "{key} is missing in\n{}", stderr(&output));
    }
    assert!(!stderr(&output).contains("store"), "the variables of the other service are no fault");

    // Faults of files and values that a service loads only at its start are also reported.
    let cases = [
        ("ingest", "security.allow_unauthenticated=true", 0),
        ("ingest", "log.filter=ingest=loud", 1),
        ("ingest", "kafka.properties.sasl.mechanism=OAUTHBEARER", 1),
        ("projector", "kafka.oauth.token_url=https://idp.example/token", 1),
        ("ingest", "kafka.properties.security.protocol=SASL_SSL", 1),
        ("ingest", "kafka.properties.sasl.mechanism=GSSAPI", 1),
        ("ingest", "kafka.bootstrap=kafka:1,,b:2", 1),
        ("ingest", "topics.users=", 1),
        ("ingest", "topics.users=vcc.users.late", 1),
        ("projector", "topics.partitions=1000", 1),
        ("projector", "log.format=json", 0),
        ("projector", "kafka.properties.ssl.ca.location=/nowhere.pem", 0),
        ("projector", "topics.late=", 0),
        ("projector", "cors.origins=['https://desk.example/']", 1),
    ];
    for (service, setting, status) in cases {
        let mut args = vec!["config", "check", service, "--set", setting];
        if service == "ingest" {
            args.extend(["--set", "security.allow_unauthenticated=true"]);
        }
        let output = run(&args);
        assert_eq!(output.status.code(), Some(status), "{setting}: {}{}", stdout(&output), stderr(&output));
    }

    let secret = ("ROLLCALL_SECURITY__SECRET_KEYS", "hunter2-of-the-environment");
    let shown = rollcall(&["config", "show", "ingest", "--set", "http.connections_max=77"])
        .envs([
            secret,
            ("ROLLCALL_KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2-of-kafka"),
            ("ROLLCALL_KAFKA__OAUTH__CLIENT_SECRET", "hunter2-of-tokens"),
            ("ROLLCALL_HTTP__DRAIN_MS", "9"),
        ])
        .output()
        .unwrap();
    assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
    let shown = stdout(&shown);
    assert!(shown.contains("connections_max = 77") && shown.contains("drain_ms = 9"), "{shown}");
    assert!(!shown.contains("hunter2") && shown.contains("body_bytes_max = 65536"), "{shown}");
}

#[test]
fn dev_prints_two_curl_lines_that_bring_the_vendors_sample_in_and_out() {
    let dev = Dev::start(&[]);
    assert!(dev.welcome.contains("in memory"), "{}", dev.welcome);
    let first = dev.welcome.lines().find(|line| line.contains("http://")).unwrap();
    let page = dev.address("queries").trim_end_matches("users");
    assert_eq!(first.split_whitespace().collect::<Vec<_>>(), ["page", page], "{}", dev.welcome);
    for _pasted_again in 0..2 {
        let answers = dev.follow_curls();
        let [(200, stored), (200, user)] = answers.as_slice() else { panic!("{answers:?}") };
        let (stored, user): (Value, Value) =
            (serde_json::from_str(stored).unwrap(), serde_json::from_str(user).unwrap());
        assert_eq!(stored["userId"], 180);
        assert_eq!((&user["userId"], &user["name"]), (&180.into(), &"Rachel Smith".into()));
        assert_eq!(user["_meta"]["eventId"], stored["eventId"]);
    }
    assert_eq!(dev.signal("TERM").code(), Some(0));
}

#[test]
fn dev_simulate_shows_what_happens_and_ends_on_an_interrupt() {
    let mut dev = Dev::start(&["--simulate"]);
    assert_eq!(dev.next_line(), "\n");
    let line = dev.next_line();
    assert!(line.starts_with("created 10") && line.contains("hired → 200 stored "), "{line}");
    assert_eq!(dev.signal("INT").code(), Some(0));
}

#[test]
fn forget_refuses_a_time_that_would_lose_and_says_what_it_did() {
    let dev = Dev::start(&[]);
    let at = "2017-06-06T08:44:18Z";
    assert_eq!(post(dev.address("webhooks"), CHANGED).0, 200);
    let forget =
        |more: &[&str]| run(&[&["forget", "180", "--yes", "--bootstrap", dev.address("Kafka")], more].concat());
    let refused = forget(&["--at", "2017-06-06T08:44:17Z"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains(&format!("newest event happened at {at}, which is after 2017-06-06T08:44:17Z")),
        "{refused:?}"
    );
    assert_eq!(stderr(&refused).lines().count(), 1);
    let future = forget(&["--at", "2999-01-01T00:00:00Z"]);
    assert_eq!(future.status.code(), Some(1));
    assert!(stderr(&future).contains("2999-01-01T00:00:00Z is in the future"), "{future:?}");
    let done = forget(&[]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert!(stdout(&done).starts_with("user 180 is forgotten as of 20"), "{done:?}");
    assert!(stdout(&done).contains(&format!("newest record: of {at}")), "{done:?}");
    let verified = run(&["verify", "--bootstrap", dev.address("Kafka")]);
    assert!(stdout(&verified).contains("0 users, 1 forgotten, 0 records appended again"), "{}", stdout(&verified));
    assert_eq!(dev.signal("TERM").code(), Some(0));
}

#[test]
fn forget_waits_for_projectors_and_says_which_are_pending() {
    let dev = Dev::start(&[]);
    assert_eq!(post(dev.address("webhooks"), CHANGED).0, 200);
    let status = |erased_up_to: i64| {
        let partition = |number: i32| json!({"partition": number, "nextOffset": 99, "erasedUpTo": erased_up_to});
        let held = "another process reads the write-ahead log";
        let partitions: Vec<Value> = (0..3).map(partition).collect();
        json!({"topic": "vcc.users", "partitions": partitions, "erasureHeldBack": held}).to_string()
    };
    let (erased, stuck) = (answering(vec![status(0), status(0), status(99)]), answering(vec![status(0)]));
    let forget = |user: &str, more: &[&str]| {
        run(&[&["forget", user, "--yes", "--bootstrap", dev.address("Kafka")], more].concat())
    };
    let nobody = forget("181", &["--projector", &erased]);
    assert_eq!((nobody.status.code(), stdout(&nobody).as_str()), (Some(1), ""));
    assert!(stderr(&nobody).starts_with("rollcall: user 181 is on no topic: "), "{nobody:?}");

    // The projector of `dev` itself, and one that is slower.
    let own = dev.address("queries").trim_end_matches("/users");
    let done = forget("180", &["--projector", own, "--projector", &erased]);
    assert!(stdout(&done).contains(&format!("projector {own}: erased\n")), "{done:?}");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(stdout(&done).contains(&format!("projector {erased}: erased\n")), "{done:?}");

    let pending = forget("180", &["--projector", &erased, "--projector", &stuck, "--wait", "1"]);
    assert_eq!(pending.status.code(), Some(1), "{pending:?}");
    let said = stdout(&pending);
    assert!(said.contains(&format!("projector {erased}: erased\n")), "{said}");
    let reason = "pending: another process reads the write-ahead log";
    assert!(said.contains(&format!("projector {stuck}: {reason}\n")), "{said}");

    let gone = forget("180", &["--projector", "http://127.0.0.1:9", "--wait", "0"]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    assert!(stdout(&gone).contains("projector http://127.0.0.1:9: pending: "), "{gone:?}");
    assert_eq!(dev.signal("TERM").code(), Some(0));
}

#[test]
fn dead_letters_are_replayed_without_a_secret_and_by_keys_that_there_are() {
    let dev = Dev::start(&[]);
    assert_eq!(post(dev.address("webhooks"), r#"{"new":{"userId":"x"}}"#).0, 422);
    let replay = |keys: &[&str]| run(&[&["dead-letter", "replay", "--bootstrap", dev.address("Kafka")], keys].concat());
    let all = replay(&[]);
    assert_eq!(all.status.code(), Some(1), "what is still refused");
    assert!(stdout(&all).contains("still refused: the body is not a user event") && stderr(&all).is_empty(), "{all:?}");
    let key = stdout(&all).split(' ').next().unwrap().to_owned();
    let unknown = replay(&[&key, "no-such-key"]);
    assert_eq!((unknown.status.code(), stdout(&unknown).as_str()), (Some(1), ""));
    assert!(stderr(&unknown).contains("no dead letter has a key that begins with \"no-such-key\""), "{unknown:?}");
    assert_eq!(stdout(&replay(&[&key])), stdout(&all));

    let letters = |args: &[&str]| run(&[&["dead-letter"], args, &["--bootstrap", dev.address("Kafka")]].concat());
    assert_eq!(stdout(&letters(&["list", "--rejection", "ahead"])), "");
    let unknown = letters(&["list", "--rejection", "nope"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(stderr(&unknown).contains("[possible values: undecryptable, not_an_event, ahead, unreadable_record]"));
    let listed: Value = serde_json::from_str(&stdout(&letters(&["list", "--json"]))).unwrap();
    assert!(listed["key"].as_str().unwrap().starts_with(&key) && listed["pointer"] == "/new/userId", "{listed}");
    let shown: Value = serde_json::from_str(&stdout(&letters(&["show", &key, "--json"]))).unwrap();
    assert_eq!((&shown["key"], &shown["body"]), (&listed["key"], &r#"{"new":{"userId":"x"}}"#.into()));
    assert!(stdout(&letters(&["list", "--groups"])).starts_with("     1 not_an_event "));
    assert_eq!(letters(&["delete", "--yes"]).status.code(), Some(1), "without a condition");
    assert_eq!(stdout(&letters(&["delete", "--yes", "--rejection", "not_an_event"])), "1 dead letters deleted\n");
    assert_eq!(stdout(&letters(&["list"])), "");
    assert_eq!(dev.signal("TERM").code(), Some(0));
}

#[test]
fn after_late_and_repeated_deliveries_the_log_and_the_projector_are_as_the_vendor_knows_them() {
    let dev = Dev::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let expect = folder.path().join("expect.jsonl");
    let simulated = run(&[
        "simulate",
        dev.address("webhooks"),
        "--rate=400",
        "--users=40",
        "--events=800",
        "--late=0.3",
        "--repeat=0.1",
        "--minute-ms=10",
        "--expect",
        text(&expect),
    ]);
    assert_eq!(simulated.status.code(), Some(0), "{}{}", stdout(&simulated), stderr(&simulated));
    let report = stdout(&simulated);
    for part in ["delivered    800 events", "dropped      0 events", "200 stored", "latency      p50"] {
        assert!(report.contains(part), "{part} is missing in\n{report}");
    }
    assert_eq!(std::fs::read_to_string(&expect).unwrap().lines().count(), 40);

    let queries = format!("http://{}", dev.address("queries").trim_start_matches("http://").trim_end_matches("/users"));
    let args = ["verify", "--bootstrap", dev.address("Kafka"), "--expect", text(&expect), "--projector", &queries];
    let verified = run(&[&args[..], &["--json"]].concat());
    assert_eq!(verified.status.code(), Some(0), "{}{}", stdout(&verified), stderr(&verified));
    let verified: Value = serde_json::from_str(&stdout(&verified)).unwrap();
    assert_eq!((&verified["clean"], &verified["users"]), (&true.into(), &40.into()));
    let settings = &verified["findings"]["topic_settings"]["count"];
    assert_eq!(settings, &Value::Null, "the broker in memory does not describe them");

    let online = run(&["config", "check", "projector", "--online", "--bootstrap", dev.address("Kafka")]);
    assert!(stdout(&online).contains("partitions is 3, expected 12"), "{}{}", stdout(&online), stderr(&online));

    // A file with another expectation does not match: the comparison works.
    let wrong = std::fs::read_to_string(&expect).unwrap().replacen("\"active\"", "\"elsewhere\"", 1);
    std::fs::write(&expect, wrong).unwrap();
    assert_eq!(run(&args).status.code(), Some(1));
    assert_eq!(get(&format!("{queries}/users/1")).0, 404);
    assert_eq!(dev.signal("TERM").code(), Some(0));
}

#[test]
fn encrypted_deliveries_with_passwords_are_read_and_no_password_is_written() {
    let broker = testkit::broker::start(3);
    let bootstrap = broker.bootstrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ingest.toml");
    // The second of two live keys: both are tried.
    let keys = "[[security.body_keys]]\ncipher = 'aes-128-cbc'\nkey = 'the old key'\n\
                [[security.body_keys]]\ncipher = 'aes-256-ctr'\nkey = 'the new key'\n";
    std::fs::write(&file, keys).unwrap();
    let expect = folder.path().join("expect.jsonl");

    let secret = [("ROLLCALL_SECURITY__SECRET_KEYS", "of-the-tests")];
    let ingest = Service::start(&["ingest", "--config", text(&file), "--bootstrap", &bootstrap], &secret);
    let address = ingest.listens["webhooks"].as_str().unwrap();
    let url = format!("http://{address}/webhooks/users?secret-key=of-the-tests");
    let args =
        ["simulate", &url, "--rate=400", "--users=20", "--events=300", "--encrypt=aes-256-ctr", "--key=the new key"];
    let simulated = run(&[&args[..], &["--expect", text(&expect)]].concat());
    assert_eq!(simulated.status.code(), Some(0), "{}{}", stdout(&simulated), stderr(&simulated));
    // Requests overtake each other, so some are superseded. None is refused.
    let answers: Vec<String> =
        stdout(&simulated).lines().filter(|line| line.starts_with("answer")).map(str::to_owned).collect();
    assert!(answers.iter().all(|answer| answer.contains("  200 ")), "{answers:?}");

    let projector = Service::start(&["projector", "--bootstrap", &bootstrap, "--set", &store_in(folder.path())], &[]);
    let queries = format!("http://{}", projector.listens["http"].as_str().unwrap());
    projector.until_ready();
    for service in [&ingest, &projector] {
        let healthy = run(&["health", "--admin", service.listens["admin"].as_str().unwrap()]);
        assert_eq!((healthy.status.code(), stdout(&healthy).as_str()), (Some(0), "ok\n"), "{}", stderr(&healthy));
    }
    let verified = run(&["verify", "--bootstrap", &bootstrap, "--expect", text(&expect), "--projector", &queries]);
    assert_eq!(verified.status.code(), Some(0), "{}{}", stdout(&verified), stderr(&verified));

    let (ingest_status, ingest_log) = ingest.stop();
    let (projector_status, projector_log) = projector.stop();
    assert_eq!((ingest_status.code(), projector_status.code()), (Some(0), Some(0)));
    assert!(!ingest_log.contains("Pw-simulated") && !projector_log.contains("Pw-simulated"));
    for entry in std::fs::read_dir(folder.path().join("store")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(12).any(|window| window == b"Pw-simulated"));
    }
}

fn store_in(folder: &std::path::Path) -> String {
    format!("store.dir={}", text(&folder.join("store")))
}

#[test]
fn a_closed_pipe_is_a_silent_failure() {
    let mut child =
        rollcall(&["config", "show", "projector"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Closed before the command can have written.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(stderr(&output), "");
}
