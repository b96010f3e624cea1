//! The service on real sockets with the embedded broker: the answer to each request, and its records in Kafka.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod support;

use domain::topics::Names;
use domain::wire;
use support::{PATH, Service, arrival};
use testkit::deliveries::{CHANGED, CREATED};
use testkit::eventually;
use testkit::http::request;
use testkit::wait::PATIENCE;
use tokio::io::AsyncReadExt as _;
use upkeep::letters::{self, Kept};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn traced(body: &str) -> String {
    request("POST", PATH, &[&format!("traceparent: {TRACEPARENT}")], body)
}

#[tokio::test]
async fn a_delivery_is_answered_with_the_position_of_its_record() {
    let service = Service::start("").await;
    let answer = service.post(PATH, CREATED).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.text("/status"), &answer.json()["userId"]),
        (200, "stored", &180.into())
    );
    let changed = service.http.exchange(&traced(CHANGED)).await;
    assert_eq!(changed.status, 200);

    let records = service.values("vcc.users").await;
    assert_eq!(records.len(), 2);
    for (record, answer) in records.iter().zip([&answer, &changed]) {
        assert_eq!(record.key.as_deref(), Some(&b"180"[..]));
        assert_eq!(answer.text("/position"), service.log.named(record.position).await);
        let event = wire::decode(record.value.as_deref().unwrap()).unwrap();
        assert_eq!(answer.text("/eventId"), event.event_id.to_string());
        assert_eq!(record.timestamp, event.received_at, "Kafka's timestamp is the time of receipt");
        assert_eq!(event.received_at, arrival(), "the clock is the caller's");
        assert_eq!(record.header("ce_id").unwrap(), event.event_id.to_string().as_bytes());
    }
    assert_eq!(records[1].header("traceparent"), Some(TRACEPARENT.as_bytes()));
    let summary = service.stop().await;
    assert_eq!((summary.received, summary.accepted), (2, 2));
}

#[tokio::test]
async fn bad_input_gets_its_4xx_with_the_place_and_leaves_no_record() {
    let service = Service::start("").await;
    let huge = format!(r#"{{"new":"{}"}}"#, "x".repeat(10 * 1024 * 1024));
    let table: [(&str, &str, u16, &str); 9] = [
        (PATH, "hello", 422, ""),
        (PATH, "[]", 422, ""),
        (PATH, r#"{"timestamp":"2017-06-06T10:53:43Z"}"#, 422, "/new"),
        (PATH, r#"{"new":{},"timestamp":"2017-06-06T10:53:43Z"}"#, 422, "/new/userId"),
        (PATH, r#"{"new":{"userId":"x"},"timestamp":"2017-06-06T10:53:43Z"}"#, 422, "/new/userId"),
        (PATH, &huge, 413, ""),
        ("/webhooks/users?secret-key=wrong", CREATED, 401, ""),
        ("/webhooks/users", CREATED, 401, ""),
        ("/elsewhere?secret-key=a-secret-of-the-tests", CREATED, 404, ""),
    ];
    for (path, body, status, pointer) in table {
        let answer = service.post(path, body).await;
        let shown = body.get(..40).unwrap_or(body);
        assert_eq!(answer.status, status, "{path} {shown}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path} {shown}");
        if status == 422 {
            assert_eq!(answer.json()["pointer"], pointer, "{shown}");
            assert!(!answer.text("/detail").is_empty());
        }
    }
    let get = service.http.get(PATH).await;
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, Some("POST")));
    let lengthless =
        service.http.exchange(&format!("POST {PATH} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")).await;
    assert_eq!(lengthless.status, 411);
    let chunk = "x".repeat(300 * 1024);
    let chunked = format!(
        "POST {PATH} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    assert_eq!(service.http.exchange(&chunked).await.status, 413, "also without a declared length");

    assert!(service.values("vcc.users").await.is_empty());
    let letters = service.values("vcc.users.dead-letter").await;
    assert_eq!(letters.len(), 5, "the five 422 are kept");
    let summary = service.stop().await;
    assert_eq!((summary.received, summary.rejected), (12, 12));
    assert!(summary.adds_up());
}

#[tokio::test]
async fn a_head_that_hyper_lets_pass_is_judged() {
    let service = Service::start("[webhook]\nmethods = ['POST', 'PUT']\n[http]\nallowed_hosts = ['a']").await;
    let sent = |method: &str, fields: &str, coding: &str| {
        let length = CREATED.len();
        format!(
            "{method} {PATH} HTTP/1.1\r\n{fields}connection: close\r\n{coding}content-length: {length}\r\n\r\n{CREATED}"
        )
    };
    let table = [
        (sent("POST", "", ""), 400),
        (sent("POST", "host: a\r\nhost: b\r\n", ""), 400),
        (sent("POST", "host: a b/c\r\n", ""), 400),
        (sent("POST", "host: a\r\n", "content-encoding: deflate\r\n"), 415),
        (sent("POST", "host: a\r\n", "content-encoding: gzip, identity\r\n"), 415),
        (sent("POST", "host: a\r\n", "content-encoding: identity\r\n"), 200),
        (sent("PUT", "host: a:443\r\n", ""), 200),
        (sent("POST", "host: b\r\n", ""), 421),
        (sent("DELETE", "host: a\r\n", ""), 405),
    ];
    for (request, status) in table {
        let answer = service.http.exchange(&request).await;
        assert_eq!(answer.status, status, "{request}");
    }
    let coded = format!(
        "POST {PATH} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
    );
    assert_eq!(service.http.exchange(&coded).await.status, 501);
    let summary = service.stop().await;
    assert_eq!((summary.received, summary.accepted, summary.unavailable), (10, 2, 1));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let service = Service::start("[webhook]\nbody_read_ms = 50").await;
    let slow = service.http.exchange(&format!("POST {PATH} HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n{{")).await;
    assert_eq!(slow.status, 408);
    service.stop().await;
}

async fn letters_of(service: &Service) -> Vec<Kept> {
    let (kafka, topics) = (service.log.options(), Names::default());
    tokio::task::spawn_blocking(move || letters::list(&kafka, &topics.dead_letter).unwrap()).await.unwrap()
}

#[tokio::test]
async fn one_dead_letter_is_left_by_many_attempts_and_a_setting_ends_them() {
    let service = Service::start("[webhook]\nrefused_is_ok = true").await;
    for _ in 0..3 {
        let answer = service.post(PATH, r#"{"new":{"password":"hunter2"}}"#).await;
        assert_eq!((answer.status.as_u16(), &*answer.text("/status")), (200, "dead-letter"));
    }
    let letters = service.values("vcc.users.dead-letter").await;
    assert_eq!(letters.len(), 3);
    let keys: std::collections::BTreeSet<_> = letters.iter().map(|letter| letter.key.clone().unwrap()).collect();
    assert_eq!(keys.len(), 1, "compaction leaves one");
    assert_eq!(letters[0].value.as_deref(), Some(&br#"{"new":{"password":"[redacted]"}}"#[..]));
    assert_eq!(letters[0].header("rollcall-pointer"), Some(&b"/new/userId"[..]));
    assert_eq!(letters_of(&service).await.len(), 1);
    service.stop().await;
}

/// A name that the sender has chosen is in pointer and reason; whatever its length, the letter is kept.
#[tokio::test]
async fn a_long_name_makes_no_letter_that_cannot_be_kept() {
    let service = Service::start("[webhook]\nbody_bytes_max = 990000\npublish_deadline_ms = 5000").await;
    let name = "n".repeat(400_000);
    let body = format!(r#"{{"new":{{"userId":1,"{name}":1,"{name}":2}},"timestamp":"2017-06-06T10:53:43Z"}}"#);
    let small = r#"{"new":{"userId":1,"USERid":7,"state":{"a":1}},"timestamp":"2017-06-06T10:53:43Z"}"#;
    for body in [body.as_str(), small] {
        let answer = service.post(PATH, body).await;
        assert_eq!(answer.status, 422, "{answer:?}");
    }
    let letters = service.values("vcc.users.dead-letter").await;
    assert_eq!(letters.len(), 2);
    for letter in &letters {
        for header in ["rollcall-reason", "rollcall-pointer"] {
            assert!(letter.header(header).unwrap().len() <= domain::letter::TEXT_BYTES_MAX, "{header}");
        }
    }
    service.stop().await;
}

#[tokio::test]
async fn without_kafka_the_sender_gets_503_and_later_succeeds() {
    let service = Service::start("[webhook]\npublish_deadline_ms = 1000").await;
    assert_eq!(service.post(PATH, CREATED).await.status, 200);
    service.log.broker.go_down().unwrap();
    let away = service.post(PATH, CHANGED).await;
    assert_eq!(away.status, 503);
    assert_eq!(away.header("retry-after"), Some("5"));
    service.log.broker.come_back().unwrap();
    eventually("the same delivery succeeds without a restart", PATIENCE, async || {
        (service.post(PATH, CHANGED).await.status == 200).then_some(())
    })
    .await;
    service.stop().await;
}

#[tokio::test]
async fn past_the_limit_of_requests_in_hand_the_answer_is_immediate() {
    let service = Service::start("[webhook]\nrequests_max = 1").await;
    let holder = service.http.open(&format!("POST {PATH} HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n{{")).await;
    let answered = async |status: u16| (service.post(PATH, CREATED).await.status.as_u16() == status).then_some(());
    // The holder's request is in progress once the server has read its head.
    eventually("503 while the place is taken", PATIENCE, async || answered(503).await).await;
    drop(holder);
    eventually("200 once it is free", PATIENCE, async || answered(200).await).await;
    let summary = service.stop().await;
    assert_eq!(summary.abandoned + summary.rejected, 1, "the holder's request is accounted for: {summary:?}");
    assert!(summary.adds_up());
}

#[tokio::test]
async fn unauthenticated_peers_are_refused_before_their_body_and_take_no_permit() {
    let service = Service::start("[webhook]\nrequests_max = 1").await;
    let head = "POST /webhooks/users?secret-key=wrong HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\n\
                content-length: 10\r\n\r\n";
    let mut stranger = service.http.open(head).await;
    // The first line arrives once the request is in progress, whatever it contains.
    let mut status = [0; 12];
    tokio::time::timeout(PATIENCE, stranger.read_exact(&mut status)).await.expect("an answer").unwrap();
    assert_eq!(service.post(PATH, CREATED).await.status, 200, "the vendor has its place");
    assert_eq!(std::str::from_utf8(&status).unwrap(), "HTTP/1.1 401");
    let summary = service.stop().await;
    assert_eq!((summary.received, summary.accepted, summary.rejected), (2, 1, 1));
}

/// Returns the head of the answer to a request, in small letters. More of the request may be still to come.
async fn head_of_answer(service: &Service, request: &str) -> String {
    let (mut connection, mut answer) = (service.http.open(request).await, Vec::new());
    let read_head = async {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(connection.read_u8().await.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, read_head).await.expect("an answer");
    String::from_utf8(answer).unwrap().to_ascii_lowercase()
}

/// A sender that has many connections would have to open each anew when it is needed least.
#[tokio::test]
async fn a_refusal_for_overload_leaves_the_connection_open_if_the_body_was_there() {
    let service = Service::start("[webhook]\nrequests_max = 1").await;
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n", CREATED.len());
    let _holder = service.http.open(&format!("{head}\r\n{{")).await;
    let (whole, part) = (format!("{head}\r\n{CREATED}"), format!("{head}\r\n{{"));
    let asks_first = format!("{head}expect: 100-continue\r\n\r\n");
    let is_refused = async || head_of_answer(&service, &whole).await.starts_with("http/1.1 503").then_some(());
    eventually("503 while the place is taken", PATIENCE, is_refused).await;
    for (request, ends) in [(&whole, false), (&part, true), (&asks_first, true)] {
        let answer = head_of_answer(&service, request).await;
        assert!(answer.starts_with("http/1.1 503"), "{answer}");
        assert_eq!(answer.contains("\r\nconnection: close\r\n"), ends, "{answer}");
    }
    service.stop().await;
}

/// hyper ends the connection after an answer that came before the body, and a proxy must know it.
#[tokio::test]
async fn an_answer_before_the_body_says_that_the_connection_ends() {
    let service = Service::start("").await;
    for (path, status, ends) in
        [("/webhooks/users?secret-key=wrong", 401, true), ("/elsewhere", 404, true), (PATH, 200, false)]
    {
        let head = format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n", CREATED.len());
        let request = if ends { head } else { head + CREATED };
        let answer = head_of_answer(&service, &request).await;
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
        assert_eq!(answer.contains("\r\nconnection: close\r\n"), ends, "{answer}");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_late_delivery_keeps_its_trace() {
    let service = Service::start("").await;
    assert_eq!(service.post(PATH, CHANGED).await.status, 200);
    // Late only after the gate has read the newer record.
    eventually("the gate knows the newer one", PATIENCE, async || {
        (service.http.exchange(&traced(CREATED)).await.text("/status") == "superseded").then_some(())
    })
    .await;
    let late = service.values("vcc.users.late").await.remove(0);
    assert_eq!(late.header("traceparent"), Some(TRACEPARENT.as_bytes()));
    assert!(late.header("rollcall-superseded-by").is_some());
    service.stop().await;
}

#[tokio::test]
async fn the_admin_routes_report_readiness_and_metrics() {
    let service = Service::start("").await;
    eventually("ready", PATIENCE, async || (service.admin.get("/readyz").await.status == 200).then_some(())).await;
    let before = service.admin.get("/metrics").await.body_text().to_owned();
    for rejection in ingest::Rejection::LABELS.into_iter().chain(["abandoned"]) {
        let zero = format!(r#"rollcall_ingest_rejected_total{{rejection="{rejection}"}} 0"#);
        assert!(before.contains(&zero), "{rejection} is missing before it happens:\n{before}");
    }
    for outcome in ["stored", "superseded", "duplicate"] {
        assert!(before.contains(&format!(r#"rollcall_ingest_accepted_total{{outcome="{outcome}"}} 0"#)), "{before}");
    }
    service.post(PATH, CREATED).await;
    service.post("/webhooks/users?secret-key=hunter2", CREATED).await;
    let metrics = service.admin.get("/metrics").await.body_text().to_owned();
    assert!(metrics.contains(r#"rollcall_ingest_accepted_total{outcome="stored"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"rollcall_ingest_rejected_total{rejection="unauthenticated"} 1"#), "{metrics}");
    assert!(metrics.contains("rollcall_ingest_last_event_timestamp_seconds 1600000000"), "{metrics}");
    testkit::promtool::check(&metrics);
    service.post(PATH, "{}").await;
    service.measures("rollcall_ingest_dead_letters_kept 1").await;
    assert!(metrics.contains(r#"http_route="/webhooks/users""#) && !metrics.contains("hunter2"), "{metrics}");
    service.stop().await;
}
