//! A password goes in, by every way that there is, and comes out nowhere: not in a topic, not in a file, not in a log
//! line of the most talkative level, not in an answer.

mod search;

use domain::topics::Names;
use hyper::{Method, StatusCode};
use kafka::ClientOptions;
use serde_json::json;
use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::wait::PATIENCE;
use testkit::{Http, eventually};

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::process::{Ports, Process};
use crate::support::system::{SECRET, WEBHOOK};
use search::{Written, contains, forms};

on_both_brokers!(a_password_is_in_no_byte_that_was_written);

/// Letters that each encoding writes differently, and others that none does.
const PASSWORD: &str = "c0rrect/h0rse+b@ttery=st&ple?";
/// The vendor's key of the body encryption, and another.
const KEY: &[u8; 32] = b"the key of the tests is 32 bytes";
const OTHER_KEY: &[u8; 32] = b"another key of the tests, for it";
const IV: [u8; 16] = [0x5A; 16];
const IV_HEX: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
/// Over the limit of a body.
const OVERSIZED: usize = 300 * 1024;

async fn a_password_is_in_no_byte_that_was_written(broker: &Broker) {
    let names = broker.make_topics(1).await;
    let options = broker.client_options();
    let store = TempDir::new().expect("a folder can be made");
    let key = std::str::from_utf8(KEY).expect("the key is text");
    let ingest = Talkative::start(
        "ingest",
        &options,
        &names,
        &[
            format!("security.secret_keys=['{SECRET}']"),
            format!("security.body_keys=[{{cipher='aes-256-ctr',key='{key}'}}]"),
            "security.clear_text_too=true".to_owned(),
            format!("security.undecryptable_per_minute={}", u32::MAX),
        ],
    );
    let projector =
        Talkative::start("projector", &options, &names, &[format!("store.dir='{}'", store.path().display())]);
    for service in [&ingest, &projector] {
        let answers = async || service.http().send(Method::GET, "/", "").await.ok();
        eventually("the service answers", PATIENCE, answers).await;
    }

    let mut written = Written::default();
    let last = deliver_all(&ingest, &mut written).await;
    let user = projector.http().get(&format!("/users/180?at_least={last}&wait_ms=30000")).await;
    assert_eq!((user.status, user.text("/name")), (StatusCode::OK, "Rachel Smith".to_owned()));
    written.answer("the user", &user);
    for (name, service) in [("ingest", ingest), ("projector", projector)] {
        service.process.terminate();
        let finished = service.process.finished().await;
        assert!(finished.status.success(), "{name}");
        assert!(finished.stderr.contains("TRACE"), "{name} told everything that it has to tell");
        written.pieces.push((format!("log of {name}"), (finished.stdout + &finished.stderr).into_bytes()));
    }
    let mut records = 0;
    for topic in [&names.users, &names.late, &names.dead_letter] {
        let found = read_all(&options, topic).await;
        records += found.len();
        found.iter().for_each(|record| written.record(topic, record));
    }
    written.folder(store.path());

    let forms = forms(PASSWORD.as_bytes());
    // The search finds what it is to find.
    assert!(forms.iter().all(|form| !form.is_empty()), "{forms:?}");
    let control = [PASSWORD.as_bytes(), openssl::base64::encode_block(created().as_bytes()).as_bytes()].map(|bytes| {
        let bytes = bytes.to_vec();
        forms.iter().any(|form| contains(&bytes, form))
    });
    assert_eq!(control, [true, true]);
    let bytes: usize = written.pieces.iter().map(|(_, piece)| piece.len()).sum();
    let leaks = written.leaks(&forms);
    println!(
        "{records} records, {} pieces, {bytes} bytes searched for {} forms: {} found",
        written.pieces.len(),
        forms.len(),
        leaks.len()
    );
    assert_eq!(leaks, Vec::<String>::new());
}

/// A service as a process that logs everything.
struct Talkative {
    process: Process,
    ports: Ports,
}

impl Talkative {
    fn start(command: &str, options: &ClientOptions, names: &Names, more: &[String]) -> Self {
        let ports = Ports::free();
        let settings = [&["log.filter=trace".to_owned()], more].concat();
        Self { process: Process::service(command, options, names, ports, &settings), ports }
    }

    /// Returns a client with connections of its own: a body over the limit may be refused before it is read, which ends
    /// the connection.
    fn http(&self) -> Http {
        self.ports.http()
    }
}

/// Sends every delivery in every way, and returns the position of the last that was accepted.
async fn deliver_all(ingest: &Talkative, written: &mut Written) -> String {
    let mut last = String::new();
    for delivery in deliveries() {
        for (encrypted, path, body) in delivery.ways() {
            let answer = ingest.http().send(delivery.method.clone(), &path, body).await;
            let Ok(answer) = answer else {
                assert_eq!(delivery.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", delivery.name);
                continue;
            };
            assert_eq!(answer.status, delivery.status, "{}, encrypted: {encrypted}: {answer:?}", delivery.name);
            if answer.status == StatusCode::OK {
                last = answer.text("/position");
            }
            written.answer(delivery.name, &answer);
        }
    }
    let undecryptable = ingest.http().post(&format!("{WEBHOOK}&iv={IV_HEX}"), encrypt(OTHER_KEY, &created())).await;
    assert_eq!(undecryptable.status, StatusCode::BAD_REQUEST, "{undecryptable:?}");
    written.answer("undecryptable", &undecryptable);
    last
}

/// A request that carries the password.
struct Delivery {
    name: &'static str,
    method: Method,
    path: String,
    body: String,
    status: StatusCode,
}

impl Delivery {
    /// Returns the path and the body of the delivery in clear text and encrypted.
    fn ways(&self) -> [(bool, String, Vec<u8>); 2] {
        let encrypted = format!("{}{}iv={IV_HEX}", self.path, if self.path.contains('?') { '&' } else { '?' });
        [(false, self.path.clone(), self.body.clone().into_bytes()), (true, encrypted, encrypt(KEY, &self.body))]
    }
}

fn created() -> String {
    let new = json!({"userId": 180, "name": "Rachel Smith", "password": PASSWORD});
    json!({"old": null, "new": new, "timestamp": "2024-02-01T00:00:00Z"}).to_string()
}

fn deliveries() -> Vec<Delivery> {
    let changed = json!({
        "old": {"userId": 180, "name": "Rachel", "password": PASSWORD},
        "new": {"userId": 180, "name": "Rachel Smith", "password": PASSWORD, "unknown": {"Password": [PASSWORD]}},
        "timestamp": "2024-02-02T00:00:00Z",
    });
    let within = json!({"new": {"userId": 181}, "source": changed.to_string(), "timestamp": "2024-02-03T00:00:00Z"});
    let with = |status, cases: Vec<(&'static str, String)>| {
        let delivery =
            move |(name, body)| Delivery { name, method: Method::POST, path: WEBHOOK.to_owned(), body, status };
        cases.into_iter().map(delivery).collect::<Vec<_>>()
    };
    let accepted = with(
        StatusCode::OK,
        vec![
            ("created", created()),
            ("changed", changed.to_string()),
            ("repeated", changed.to_string()),
            ("late", created()),
            ("as JSON within JSON", within.to_string()),
        ],
    );
    let no_user = json!({"new": {"password": PASSWORD}, "timestamp": "2024-02-03T00:00:00Z"});
    let no_time = json!({"new": {"userId": 180, "password": PASSWORD}, "timestamp": "yesterday"});
    let in_place = json!({"new": {"userId": {"password": PASSWORD}}, "password": PASSWORD, "timestamp": 1});
    let mut twice = changed.to_string();
    twice.insert_str(1, &format!(r#""password":"{PASSWORD}","password":{{"{PASSWORD}":1}},"#));
    // Where there are body keys, every refused body gets the same answer.
    let refused = with(
        StatusCode::BAD_REQUEST,
        vec![
            ("without a user", no_user.to_string()),
            ("without a time", no_time.to_string()),
            ("in another place", in_place.to_string()),
            ("given twice", twice),
            ("as JSON within JSON without a user", json!({"new": changed["new"].to_string()}).to_string()),
        ],
    );
    let padding = "x".repeat(OVERSIZED);
    let oversized = json!({"a": 1, "new": {"userId": 180, "password": PASSWORD}, "z": padding}).to_string();
    let oversized = with(StatusCode::PAYLOAD_TOO_LARGE, vec![("oversized", oversized)]);
    let elsewhere = [
        ("with the wrong secret", Method::POST, "/webhooks/users?secret-key=wrong", StatusCode::UNAUTHORIZED),
        ("by another method", Method::PUT, WEBHOOK, StatusCode::METHOD_NOT_ALLOWED),
        ("to another place", Method::POST, "/elsewhere", StatusCode::NOT_FOUND),
    ];
    let elsewhere = elsewhere.map(|(name, method, path, status)| Delivery {
        name,
        method,
        path: path.to_owned(),
        body: created(),
        status,
    });
    accepted.into_iter().chain(refused).chain(oversized).chain(elsewhere).collect()
}

/// Encrypts as the vendor does.
fn encrypt(key: &[u8], clear: &str) -> Vec<u8> {
    let cipher = openssl::symm::Cipher::aes_256_ctr();
    let sealed = openssl::symm::encrypt(cipher, key, Some(&IV), clear.as_bytes()).expect("the cipher takes any text");
    openssl::base64::encode_block(&sealed).into_bytes()
}
