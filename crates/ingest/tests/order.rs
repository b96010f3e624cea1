//! Late and repeated deliveries through the whole service: what the gate keeps off the topic, and what the keeper mends on it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod support;

use std::collections::BTreeMap;

use domain::headers::REASSERTED;
use kafka::publish::{Limits, Outgoing, Publisher};
use support::{CHANGED, CREATED, PATH, PATIENCE, Service, exchange};

async fn fence_in_force(service: &Service) {
    let metrics = "GET /metrics HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
    let in_force = async { while !exchange(service.admin, metrics).await.text.contains("rollcall_gate_in_force 1") {} };
    tokio::time::timeout(PATIENCE, in_force).await.expect("the gate comes into force");
}

/// Waits until the answer to `body` has `status`.
async fn answered(service: &Service, body: &str, status: &str) -> support::Answer {
    let asked = async {
        loop {
            let answer = service.post(PATH, body).await;
            if answer.json["status"] == status {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("the gate knows the record")
}

#[tokio::test]
async fn the_fence_puts_late_deliveries_aside_and_knows_repeated_ones() {
    let service = Service::start("[keeper]\nenabled = false").await;
    fence_in_force(&service).await;
    let stored = service.post(PATH, CHANGED).await;
    assert_eq!(stored.json["status"], "stored");

    // The creation is older than the change, whatever its timestamp says.
    let late = answered(&service, CREATED, "superseded").await;
    assert_eq!(late.json["position"], stored.json["position"], "what superseded it");
    let repeated = answered(&service, CHANGED, "duplicate").await;
    assert_eq!(repeated.json["position"], stored.json["position"], "where it is stored");

    let late_records = service.values("vcc.users.late");
    assert_eq!(late_records.last().unwrap().key.as_deref(), Some(&b"180"[..]));
    let superseded_by = late_records[0].header("rollcall-superseded-by").unwrap();
    assert_eq!(stored.json["position"].as_str().unwrap().as_bytes(), superseded_by);
    service.stop().await;
}

#[tokio::test]
async fn a_late_delivery_about_a_forgotten_user_leaves_nothing_of_the_user() {
    let service = Service::start("[keeper]\nenabled = false").await;
    fence_in_force(&service).await;
    let publisher = Publisher::open(&service.broker.client_options(), Limits::default()).unwrap();
    let id = domain::UserId::new(180).unwrap();
    let at = domain::UnixMillis::parse_iso8601("2018-01-01T00:00:00Z").unwrap();
    let headers = domain::headers::for_forgotten(id, at);
    let tombstone = Outgoing {
        topic: "vcc.users".to_owned(),
        key: b"180".to_vec(),
        value: None,
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
        timestamp: at,
        partition: None,
    };
    let marker = publisher.publish(tombstone).await.unwrap();
    let late = answered(&service, CHANGED, "superseded").await;
    assert_eq!(late.json["position"], marker.to_string());
    let late_records = service.values("vcc.users.late");
    assert!(late_records.iter().all(|record| record.value.is_none() && record.header("ce_id").is_some()));
    service.stop().await;
}

#[tokio::test]
async fn the_keeper_appends_the_newest_record_again_and_then_rests() {
    let service = Service::start("[gate]\nenabled = false").await;
    let changed = service.post(PATH, CHANGED).await;
    let created = service.post(PATH, CREATED).await;
    assert_eq!((&changed.json["status"], &created.json["status"]), (&"stored".into(), &"stored".into()));

    let mended = async {
        loop {
            let records = service.values("vcc.users");
            if let Some(last) = records.last().filter(|record| record.header(REASSERTED).is_some()) {
                assert_eq!(records.len(), 3, "one late delivery, one repair");
                assert_eq!(last.value, records[0].value, "the newest event, byte for byte");
                assert_eq!(last.key, records[0].key);
                assert_eq!(last.header("ce_id"), records[0].header("ce_id"));
                assert_eq!(last.position.partition, records[0].position.partition);
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE * 2, mended).await.expect("the keeper mends the key");
    // A second late delivery gets a second repair, and no more: the records are counted once the second repair is there.
    service.post(PATH, CREATED).await;
    let again = async {
        while service.values("vcc.users").iter().filter(|record| record.header(REASSERTED).is_some()).count() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE * 2, again).await.expect("the keeper mends it again");
    let mut by_kind: BTreeMap<bool, usize> = BTreeMap::new();
    for record in service.values("vcc.users") {
        *by_kind.entry(record.header(REASSERTED).is_some()).or_default() += 1;
    }
    assert_eq!(by_kind, BTreeMap::from([(false, 3), (true, 2)]));
    service.stop().await;
}
