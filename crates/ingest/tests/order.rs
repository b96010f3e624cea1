//! Late and repeated deliveries through the whole service: the gate keeps them off the topic, and the keeper repairs
//! the topic.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

mod support;

use std::collections::BTreeMap;

use domain::UnixMillis;
use domain::headers::REASSERTED;
use ingest::pipeline;
use ingest::transport::{BodyPolicy, RawRequest, SenderPolicy, authenticate};
use support::{PATH, Service, arrival};
use testkit::deliveries::{CHANGED, CREATED};
use testkit::wait::PATIENCE;
use testkit::{event, eventually};

const IN_FORCE: &str = "rollcall_gate_in_force 1";

#[tokio::test]
async fn the_gate_puts_late_deliveries_aside_and_knows_repeated_ones() {
    let service = Service::start("[keeper]\nenabled = false").await;
    service.measures(IN_FORCE).await;
    let stored = service.post(PATH, CHANGED).await;
    assert_eq!(stored.text("/status"), "stored");

    // The creation is older than the change, whatever its timestamp.
    let late = service.answered(CREATED, "superseded").await;
    assert_eq!(late.text("/position"), stored.text("/position"), "what superseded it");
    let repeated = service.answered(CHANGED, "duplicate").await;
    assert_eq!(repeated.text("/position"), stored.text("/position"), "where it is stored");

    let late_records = service.values("vcc.users.late").await;
    assert_eq!(late_records.last().unwrap().key.as_deref(), Some(&b"180"[..]));
    let superseded_by = late_records[0].header("rollcall-superseded-by").unwrap();
    assert_eq!(stored.text("/position").as_bytes(), superseded_by);
    service.stop().await;
}

#[tokio::test]
async fn a_late_delivery_about_a_forgotten_user_leaves_nothing_of_the_user() {
    let service = Service::start("[keeper]\nenabled = false").await;
    service.measures(IN_FORCE).await;
    let at = UnixMillis::parse_iso8601("2018-01-01T00:00:00Z").unwrap();
    let marker = service.log.forget(event::user_id(180), at).await;
    let late = service.answered(CHANGED, "superseded").await;
    let marker = service.log.named(marker).await;
    assert_eq!(late.text("/position"), marker);
    let late_records = service.values("vcc.users.late").await;
    assert!(late_records.iter().all(|record| record.value.is_none() && record.header("ce_id").is_some()));

    // A creation ranks below every marker, whatever its time; a later change brings the user back.
    let later = "2019-01-01T00:00:00Z";
    let created = service.post(PATH, &CREATED.replace("2017-06-06T10:53:43+02:00", later)).await;
    assert_eq!((&*created.text("/status"), created.text("/position")), ("superseded", marker));
    let changed = service.post(PATH, &CHANGED.replace("2017-06-06T10:44:18+02:00", later)).await;
    assert_eq!(changed.text("/status"), "stored");
    service.stop().await;
}

/// Appends the event of a delivery to the topic of users, like a replica whose gate is not in force yet.
async fn append(service: &Service, body: &str) {
    let (query, peer) = (String::new(), [127, 0, 0, 1].into());
    let request = RawRequest { query, peer, forwarded_for: Vec::new() };
    let sent = authenticate(&request, &SenderPolicy::default()).unwrap().sent(body.to_owned().into());
    service.log.event(&pipeline::accept(&sent, &BodyPolicy::default(), arrival()).unwrap()).await;
}

#[tokio::test]
async fn the_keeper_appends_the_newest_record_again_and_then_rests() {
    let service = Service::start("").await;
    append(&service, CHANGED).await;
    append(&service, CREATED).await;

    let records = eventually("the keeper repairs the key", PATIENCE, async || {
        let records = service.values("vcc.users").await;
        records.last()?.header(REASSERTED).is_some().then_some(records)
    })
    .await;
    let last = records.last().unwrap();
    assert_eq!(records.len(), 3, "one late delivery, one repair");
    assert_eq!(last.value, records[0].value, "the newest event, byte for byte");
    assert_eq!(last.key, records[0].key);
    assert_eq!(last.header("ce_id"), records[0].header("ce_id"));
    assert_eq!(last.position.partition, records[0].position.partition);

    // A second late delivery gets a second repair, and no more. The records are counted after the second repair has
    // appeared.
    append(&service, CREATED).await;
    let by_kind = eventually("the keeper repairs it again", PATIENCE, async || {
        let mut by_kind: BTreeMap<bool, usize> = BTreeMap::new();
        for record in service.values("vcc.users").await {
            *by_kind.entry(record.header(REASSERTED).is_some()).or_default() += 1;
        }
        (by_kind.get(&true) >= Some(&2)).then_some(by_kind)
    })
    .await;
    assert_eq!(by_kind, BTreeMap::from([(false, 3), (true, 2)]));
    service.stop().await;
}
