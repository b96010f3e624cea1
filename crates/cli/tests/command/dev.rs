//! `rollcall dev` as it is configured: by a file, variables and flags for both services.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod};
use serde_json::Value;
use testkit::Http;
use testkit::deliveries::CREATED;

use crate::support::{Dev, on_runtime, post, rollcall, run, signal, stderr, text};

const SECRET: &str = "a fixed secret & more";

#[test]
fn secret_keys_of_bodies_topics_and_origins_apply_to_both_services() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("both.toml");
    std::fs::write(
        &file,
        format!(
            "[security]\nsecret_keys = ['{SECRET}']\n\
             body_keys = [{{ cipher = 'aes-256-ctr', key = 'the key of bodies' }}]\n\
             [topics]\nusers = 'north.users'\n[cors]\norigins = ['https://desk.example']\n"
        ),
    )
    .unwrap();
    let mut command = rollcall(&Dev::arguments(&["--config", text(&file), "--set", "webhook.path=/hook"]));
    command.env("ROLLCALL_TOPICS__PARTITIONS", "2");
    let dev = Dev::of(command);
    let webhooks = dev.address("webhooks");
    assert!(webhooks.ends_with("/hook?secret-key=a+fixed+secret+%26+more"), "{webhooks}");
    assert!(dev.welcome.contains("-t north.users"), "{}", dev.welcome);

    // The lines to paste have the body as the services expect it.
    let answers = dev.follow_curls();
    let [(200, _), (200, user)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(serde_json::from_str::<Value>(user).unwrap()["name"], "Rachel Smith");
    assert_eq!(post(webhooks, CREATED).0, 400, "clear text is refused");

    let queries =
        Http::to(dev.address("queries").trim_start_matches("http://").trim_end_matches("/users").parse().unwrap());
    let asked = testkit::http::request("GET", "/status", &["origin: https://desk.example"], "");
    let status = on_runtime(queries.exchange(&asked));
    assert_eq!(status.header("access-control-allow-origin"), Some("https://desk.example"));
    assert_eq!(
        (&status.json()["topic"], status.json()["partitions"].as_array().unwrap().len()),
        (&"north.users".into(), 2)
    );
    assert_eq!(dev.signal("TERM").code(), Some(0));
}

#[test]
fn a_pipe_is_a_configuration_file_too() {
    let mut command = rollcall(&Dev::arguments(&["--config", "/dev/stdin"]));
    let (read, mut write) = std::io::pipe().unwrap();
    write.write_all(format!("[security]\nsecret_keys = ['{SECRET}']\n[topics]\nusers = 'piped'\n").as_bytes()).unwrap();
    drop(write);
    command.stdin(read);
    let dev = Dev::of(command);
    assert!(dev.welcome.contains("-t piped"), "{}", dev.welcome);
    assert!(dev.follow_curls().iter().all(|(status, _)| *status == 200), "the secret is that of the file");
}

#[test]
fn faults_of_both_services_are_told_at_once() {
    let output = run(&Dev::arguments(&[
        "--set",
        "webhook.requests_max=0",
        "--set",
        "changes.subscribers_max=0",
        "--set",
        "typo.x=1",
    ]));
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for key in ["typo", "webhook.requests_max", "changes.subscribers_max"] {
        let of_key = said.lines().filter(|line| line.trim_start_matches("rollcall: ").starts_with(key));
        assert_eq!(of_key.count(), 1, "{key}: {said}");
    }
    assert!(!said.contains("security.secret_keys"), "dev makes up a secret: {said}");
    // Form faults of both: neither of these values is a number.
    let forms = ["--set", "webhook.requests_max=many", "--set", "changes.subscribers_max=many"];
    let said = stderr(&run(&Dev::arguments(&forms)));
    assert!(said.contains("webhook.requests_max (flag)") && said.contains("changes.subscribers_max (flag)"), "{said}");
    let output = run(&Dev::arguments(&["--set", "webhook.requests_max=0", "--set", "changes.subscribers_max=0"]));
    let said = stderr(&output);
    assert!(said.contains("webhook.requests_max") && said.contains("changes.subscribers_max"), "{said}");
}

#[test]
fn an_address_is_refused_with_the_flags_of_the_ports() {
    for (key, flag) in [("http.listen", "--port-webhooks"), ("admin.listen", "--port-ingest-admin")] {
        let output = run(&Dev::arguments(&["--set", &format!("{key}=127.0.0.1:0")]));
        let said = stderr(&output);
        assert!(output.status.code() == Some(1) && said.contains(key) && said.contains(flag), "{said}");
    }
}

#[test]
fn both_ports_speak_tls_with_the_files_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let server = testkit::tls::self_signed("localhost");
    let [certificate, key] = testkit::tls::write(folder.path(), &server);
    let settings =
        [format!("http.tls_certificate_file={}", text(&certificate)), format!("http.tls_key_file={}", text(&key))];
    let dev = Dev::start(&["--set", &settings[0], "--set", &settings[1]]);
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_ca_file(&certificate).unwrap();
    let connector = connector.build();
    for (name, path, answered) in [("webhooks", "webhooks/users", "HTTP/1.1 405"), ("queries", "docs/", "HTTP/1.1 200")]
    {
        let url = dev.address(name);
        let (host, _path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
        let (name, port) = host.split_once(':').unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
        let mut stream = connector.connect(name, stream).unwrap();
        let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(answered), "{url}: {answer}");
    }
    assert!(dev.welcome.contains(&format!("--cacert '{}'", text(&certificate))), "{}", dev.welcome);
    assert_eq!(dev.signal("TERM").code(), Some(0));
}

#[test]
fn the_security_of_the_connection_to_kafka_applies() {
    let broker = testkit::broker::start(1);
    let output =
        run(&Dev::arguments(&["--bootstrap", &broker.bootstrap(), "--set", "kafka.properties.security.protocol=SSL"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("does not speak TLS"), "{}", stderr(&output));
}

#[test]
fn each_arrival_is_one_line() {
    let mut command = rollcall(&Dev::arguments(&[]));
    command.stderr(Stdio::piped());
    let mut dev = Dev::of(command);
    let mut log = dev.take_stderr();
    let webhooks = dev.address("webhooks").to_owned();
    for (body, status) in [(CREATED, 200), (CREATED, 200), ("{}", 422)] {
        assert_eq!(post(&webhooks, body).0, status);
    }
    assert_eq!(dev.signal("TERM").code(), Some(0));
    let mut said = String::new();
    log.read_to_string(&mut said).unwrap();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("ingest::http")).collect();
    let [stored, _again, refused] = lines.as_slice() else { panic!("{said}") };
    assert!(stored.contains("status=\"stored\"") && refused.contains("rejection=\"not_an_event\""), "{said}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let patient = ["--set", "http.drain_ms=600000", "--set", "webhook.body_read_ms=600000"];
    let mut dev = Dev::start(&patient);
    // A request whose body does not come holds up the end. It is in progress once its body is asked for.
    let (host, path) = dev.address("webhooks").strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut held = TcpStream::connect(host).unwrap();
    let head = format!("POST /{path} HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n");
    held.write_all(head.as_bytes()).unwrap();
    let mut status = [0; 12];
    held.read_exact(&mut status).unwrap();
    assert_eq!(std::str::from_utf8(&status).unwrap(), "HTTP/1.1 100");
    // Two that come before the first is taken are one.
    let ended = loop {
        signal(dev.child(), "INT");
        match dev.child().try_wait().unwrap() {
            Some(ended) => break ended,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert_eq!(ended.code(), Some(130));
}
