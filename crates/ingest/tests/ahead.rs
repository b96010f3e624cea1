//! Events that are ahead of their receipt: refused by the service, harmless on the log, and healed by a later delivery.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod support;

use std::time::Duration;

use domain::topics::Names;
use domain::{UnixMillis, User, UserEvent, wire};
use support::{PATH, Service};
use testkit::event;
use upkeep::verify::{Options, Report, verify};

const FIRST: &str = include_str!("cases/future-1-created.json");
const AHEAD: &str = include_str!("cases/future-2-changed-2099.json");
const GENUINE: &str = include_str!("cases/future-3-changed-now.json");
const LAST_YEAR: &str = include_str!("cases/ts-y9999.json");

/// After the genuine events of the cases.
fn arrival() -> UnixMillis {
    UnixMillis::parse_iso8601("2026-11-26T04:00:01Z").unwrap()
}

async fn verified(service: &Service) -> Report {
    let (kafka, topics, schemas) = (service.log.options(), Names::default(), Default::default());
    let (settle, now, since) = (Duration::ZERO, arrival(), Duration::MAX);
    let retention = Default::default();
    let options = Options { kafka, topics, schemas, threads: 1, settle, now, since, retention, keep_winners: false };
    tokio::task::spawn_blocking(move || verify(&options, |_, _| ()).unwrap()).await.unwrap()
}

async fn last_state(service: &Service) -> Option<String> {
    let records = service.values("vcc.users").await;
    wire::decode(records.last()?.value.as_deref()?).unwrap().new.state
}

#[tokio::test]
async fn an_event_ahead_is_refused_with_the_reason_and_freezes_nobody() {
    let service = Service::start_at("", arrival).await;
    assert_eq!(service.post(PATH, FIRST).await.status, 200);
    let refused = service.post(PATH, AHEAD).await;
    assert_eq!((refused.status.as_u16(), &*refused.text("/pointer")), (422, "/timestamp"));
    let detail = refused.text("/detail");
    assert!(detail.starts_with("the event occurred 26490 d 4 h 59 min 59 s after its receipt"), "{detail}");
    assert!(detail.contains("check both clocks"), "{detail}");
    assert_eq!(service.post(PATH, LAST_YEAR).await.status, 422);

    let stored = service.post(PATH, GENUINE).await;
    assert_eq!((stored.status.as_u16(), &*stored.text("/status")), (200, "stored"));
    assert_eq!(last_state(&service).await.as_deref(), Some("inactive"));
    service.measures(r#"rollcall_ingest_rejected_total{rejection="ahead"} 2"#).await;
    let letters = service.values("vcc.users.dead-letter").await;
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].value.as_deref(), Some(AHEAD.as_bytes()));
    assert_eq!(letters[0].header("rollcall-rejection"), Some(&b"ahead"[..]));
    service.stop().await;
}

#[tokio::test]
async fn with_body_keys_an_event_ahead_gets_the_answer_of_every_refused_body() {
    let keys = "body_keys = [{ cipher = 'aes-256-ctr', key = 'a key of the tests' }]\nclear_text_too = true";
    let service = Service::start_at(keys, arrival).await;
    let bodies = [AHEAD, r#"{"new":{}}"#, "no cipher text"];
    let mut answers = Vec::new();
    for body in bodies {
        let answer = service.post(PATH, body).await;
        answers.push((answer.status.as_u16(), answer.body_text().to_owned()));
    }
    assert_eq!(answers[0].0, 400);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let letters = service.values("vcc.users.dead-letter").await;
    let rejections: Vec<_> = letters.iter().map(|letter| letter.header("rollcall-rejection").unwrap()).collect();
    assert_eq!(rejections, [&b"ahead"[..], b"not_an_event", b"undecryptable"]);
    service.stop().await;
}

/// However it got there, from an older release or another writer.
#[tokio::test]
async fn an_event_ahead_on_the_log_is_named_by_verify_and_replaced_by_a_genuine_one() {
    let service = Service::start_at("", arrival).await;
    let old = User { state: Some("active".to_owned()), ..User::new(event::user_id(50_001)) };
    let new = User { name: Some("F".to_owned()), ..old.clone() };
    let ahead = event::event(Some(old), new, 32_503_680_000);
    assert_eq!(ahead.occurred_at.to_string(), "3000-01-01T00:00:00Z");
    service.log.event(&UserEvent { received_at: arrival(), ..ahead }).await;
    let report = verified(&service).await;
    assert!(!report.is_clean());
    assert_eq!((report.ahead.count, report.ahead.examples[0].user_id.get()), (1, 50_001));

    service.measures("rollcall_gate_keys 1").await;
    let stored = service.post(PATH, GENUINE).await;
    assert_eq!(&*stored.text("/status"), "stored");
    let report = verified(&service).await;
    assert!(report.is_clean(), "{report:?}");
    service.stop().await;
}
