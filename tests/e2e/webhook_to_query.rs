//! The main job: a webhook in, the current user out; whatever the order in which deliveries come.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::broker::read_all;
use testkit::deliveries::{CHANGED, CREATED};

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::system::{Ingest, System, WEBHOOK};

on_both_brokers!(
    created_then_changed,
    changed_then_created,
    changed_then_created_with_a_registry_and_the_state_topic,
    a_record_is_what_other_clients_expect,
    a_repeated_delivery_changes_nothing,
    what_is_refused_leaves_no_record,
    what_is_no_whole_request_is_refused,
);

async fn created_then_changed(broker: &Broker) {
    let system = System::start(broker, 3).await;
    system.ingest.post(CREATED).await;
    let delivered = system.ingest.post(CHANGED).await;
    assert_user_180_as_changed(&system.user_after(180, &delivered).await.json());
    system.stop().await;
}

async fn changed_then_created(broker: &Broker) {
    let system = System::start(broker, 3).await;
    check_changed_then_created(system).await;
}

async fn changed_then_created_with_a_registry_and_the_state_topic(broker: &Broker) {
    check_changed_then_created(System::start_with_registry_and_state_topic(broker, 3).await).await;
}

async fn check_changed_then_created(system: System) {
    system.ingest.post(CHANGED).await;
    let delivered = system.ingest.post(CREATED).await;
    assert_eq!(delivered.status, StatusCode::OK, "{delivered:?}");
    assert_user_180_as_changed(&system.user_after(180, &delivered).await.json());
    system.stop().await;
}

/// The vendor's sample of a change sets `redistribution` and clears `contactPhone`; all else is as it was created.
fn assert_user_180_as_changed(user: &Value) {
    let changed: Value = serde_json::from_str(CHANGED).expect("the sample is JSON");
    let expected = changed["new"].as_object().expect("the sample has a user");
    for (field, value) in expected {
        assert_eq!(&user[field], value, "{field} of {user}");
    }
    assert_eq!(user["redistribution"], 1);
    assert_eq!(user["contactPhone"], "");
}

async fn a_record_is_what_other_clients_expect(broker: &Broker) {
    let system = System::start(broker, 3).await;
    let delivered = system.ingest.post(CREATED).await;
    let records = read_all(&broker.client_options(), &system.names.users).await;

    let [record] = records.as_slice() else { panic!("one delivery, one record: {records:?}") };
    assert_eq!(record.position, delivered.place("/position"));
    assert_eq!(record.key.as_deref(), Some(b"180".as_slice()));
    let header = |name| record.header(name).map(String::from_utf8_lossy).map(std::borrow::Cow::into_owned);
    assert_eq!(header("ce_specversion").as_deref(), Some("1.0"));
    assert_eq!(header("ce_type").as_deref(), Some("live.vcc.user.created"));
    assert_eq!(header("ce_id"), Some(delivered.text("/eventId")));
    assert_eq!(header("ce_time").as_deref(), Some("2017-06-06T08:53:43Z"));
    assert!(header("ce_source").is_some() && header("content-type").is_some(), "{record:?}");
    // Avro single-object encoding: the marker, then the fingerprint of the schema.
    let value = record.value.as_deref().expect("an event has a value");
    assert_eq!(value[..2], [0xC3, 0x01]);
    let event = domain::wire::decode(value).expect("our own value can be decoded");
    assert_eq!(event.new.name.as_deref(), Some("Rachel Smith"));
    system.stop().await;
}

async fn a_repeated_delivery_changes_nothing(broker: &Broker) {
    let system = System::start(broker, 1).await;
    let first = system.ingest.post(CREATED).await;
    let before = system.user_after(180, &first).await.json();
    let second = system.ingest.post(CREATED).await;
    let after = system.user_after(180, &second).await.json();

    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    assert_eq!(first.text("/eventId"), second.text("/eventId"));
    // Where the newest copy lies, when it came, and the time of the answer is all that may differ.
    let essence = |mut user: Value| {
        let meta = user["_meta"].as_object_mut().expect("every user has it");
        for own in ["position", "receivedAt", "asOf"] {
            assert!(meta.remove(own).is_some(), "{own}");
        }
        user
    };
    assert_eq!(essence(before), essence(after));
    system.stop().await;
}

async fn what_is_refused_leaves_no_record(broker: &Broker) {
    let system = System::start(broker, 1).await;
    let with =
        |old: Value, new: Value, timestamp: &str| json!({"old": old, "new": new, "timestamp": timestamp}).to_string();
    let good_time = "2017-06-06T10:53:43+02:00";
    // Body, status, and what the answer must name.
    let refused = [
        ("not JSON".to_owned(), 422, ""),
        ("[1, 2]".to_owned(), 422, ""),
        ("{}".to_owned(), 422, "/new"),
        (with(Value::Null, json!({}), good_time), 422, "/new/userId"),
        (with(Value::Null, json!({"userId": "x"}), good_time), 422, "/new/userId"),
        (with(json!({"userId": 1}), json!({"userId": 2}), good_time), 422, "userId"),
        (with(Value::Null, json!({"userId": 1}), "yesterday"), 422, "/timestamp"),
    ];

    for (body, status, named) in refused {
        let start: String = body.trim_start().chars().take(60).collect();
        let answer = system.ingest.post(body).await;
        assert_eq!(answer.status.as_u16(), status, "{start}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{start}");
        assert!(answer.json().to_string().contains(named), "{start}: {answer:?} names {named}");
    }
    let wrong_secret = system.ingest.http.post("/webhooks/users?secret-key=wrong", CREATED).await;
    let no_secret = system.ingest.http.post("/webhooks/users", CREATED).await;
    let elsewhere = system.ingest.http.post("/nowhere", CREATED).await;
    let got = system.ingest.http.send(Method::GET, "/webhooks/users", "").await.expect("the server answers");
    assert_eq!(
        [wrong_secret.status, no_secret.status, elsewhere.status, got.status].map(|status| status.as_u16()),
        [401, 401, 404, 405]
    );

    assert_eq!(read_all(&broker.client_options(), &system.names.users).await, Vec::new());
    let nobody = system.projector.http.get("/users/180").await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    system.stop().await;
}

async fn what_is_no_whole_request_is_refused(broker: &Broker) {
    let names = broker.make_topics(1).await;
    // A body is waited for only this long, so that the test has not to wait longer.
    let ingest = Ingest::start(&broker.client_options(), &names, |raw| raw.webhook.body_read_ms = 300).await;
    let head = format!("POST {WEBHOOK} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    let status = async |rest: &str| {
        let answer = ingest.http.raw(&format!("{head}{rest}")).await;
        answer.split_whitespace().nth(1).unwrap_or("none").to_owned()
    };

    assert_eq!(status("content-length: 10485760\r\n\r\n{").await, "413", "10 MB, announced");
    let chunk = "x".repeat(0x8_0000);
    let chunked = format!("transfer-encoding: chunked\r\n\r\n80000\r\n{chunk}\r\n");
    assert_eq!(status(&chunked).await, "413", "512 KiB and no end, not announced");
    assert_eq!(status("content-length: 100\r\n\r\n{").await, "408", "a body that does not come");
    assert_eq!(status("\r\n").await, "411", "no length");
    assert_eq!(status("content-length: many\r\n\r\n").await, "400", "a length that is none");

    assert_eq!(read_all(&broker.client_options(), &names.users).await, Vec::new());
    ingest.stop().await.expect("ingest ends well");
}
