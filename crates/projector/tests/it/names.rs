//! Positions, cursors and tags of another topic of the same name: refused, or they do not match.

use domain::{LogId, Position, Positions, TopicPosition};
use testkit::broker::{Log, log_of};
use testkit::event::{created, event, user};

use crate::events::{Events, last_id};
use crate::support::{Service, get};

async fn log(kafka: &Log) -> LogId {
    log_of(&kafka.options(), &kafka.names.users).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_another_topic_is_refused_or_does_not_match() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    for id in 1..=3 {
        kafka.event(&created(id, "x", id)).await;
    }
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let first = service.get("/users/1").await;
    let tag = first.header("etag").unwrap().to_owned();
    let positions = first.header("rollcall-positions").unwrap().to_owned();
    let position = first.json()["_meta"]["position"].as_str().unwrap().to_owned();
    let next = service.get("/users?limit=1").await.json()["next"].as_str().unwrap().to_owned();
    let topic = log(&kafka).await.topic;
    assert!([&positions, &position].iter().all(|name| name.starts_with(&topic.to_string())), "{positions} {position}");
    for named in [&positions, &position] {
        assert_eq!(service.get(&format!("/users/1?at_least={named}")).await.status, 200, "{named}");
    }
    let next = format!("/{next}");
    assert_eq!(service.get(&next).await.json()["users"][0]["userId"], 2);
    assert_eq!(get(service.http, "/users/1", &[("if-none-match", &tag)]).await.status, 304);
    service.stop().await;

    // A topic of the same name and with the same records.
    let anew = Log::start(1);
    for id in 1..=3 {
        anew.event(&created(id, "x", id)).await;
    }
    let service = Service::start(&anew, &store).await;
    service.ready().await;
    let other = log(&anew).await.topic;
    for path in [format!("/users/1?at_least={positions}"), format!("/users/1?at_least={position}"), next] {
        let refused = service.get(&path).await;
        assert_eq!(refused.status, 409, "{path}");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&topic.to_string()) && detail.contains(&other.to_string()), "{detail}");
    }
    assert_eq!(get(service.http, "/users/1", &[("if-none-match", &tag)]).await.status, 200);
    assert_eq!(service.get("/users/1?at_least=0:2").await.status, 200, "for hands it means this topic");
    assert_eq!(service.get("/users?after=1").await.json()["users"][0]["userId"], 2);
    for bad in ["/users?after=x/1", "/users?after=/1", "/users/1?at_least=x/0:1"] {
        assert_eq!(service.get(bad).await.status, 400, "{bad}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_a_log_that_was_cut_is_refused() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    kafka.event(&created(1, "x", 1)).await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let named: TopicPosition =
        service.get("/users/1").await.json()["_meta"]["position"].as_str().unwrap().parse().unwrap();
    let epoch = named.epoch.expect("the embedded broker tells its epochs");
    assert_eq!(service.get(&format!("/users/1?at_least={named}")).await.status, 200);
    let other = TopicPosition { epoch: Some(epoch + 1), ..named };
    let refused = service.get(&format!("/users/1?at_least={other}")).await;
    assert_eq!(refused.status, 409);
    assert!(refused.json()["detail"].as_str().unwrap().contains(&other.to_string()));
    let list = Positions { topic: named.topic, checkpoint: format!("0:1@{}", epoch + 1).parse().unwrap() };
    assert_eq!(service.get(&format!("/users/1?at_least={list}")).await.status, 409);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_300_partitions_header_and_resume_id_stay_under_4_kib() {
    const PARTITIONS: i32 = domain::position::PARTITIONS_MAX;
    let (kafka, store) = (Log::start(PARTITIONS), tempfile::tempdir().unwrap());
    for partition in 0..PARTITIONS {
        let record = kafka::publish::Outgoing::event(&event(None, user(partition.into(), "x"), 1), "vcc.users", None);
        kafka.append(kafka::publish::Outgoing { partition: Some(partition), ..record }).await;
    }
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let answer = service.get("/users/1").await;
    let positions = answer.header("rollcall-positions").unwrap();
    let id = last_id(&Events::open(&service, "/changes", None).await.until("caught-up").await);
    for text in [positions, &id] {
        assert!(text.len() < 4 * 1024, "{} characters", text.len());
        let read: Positions = text.parse().unwrap();
        assert_eq!(read.checkpoint.entries().filter(|(_, _, epoch)| epoch.is_some()).count(), 300);
        assert!(read.checkpoint.covers(Position { partition: PARTITIONS - 1, offset: 0 }));
    }
    assert_eq!(service.get(&format!("/status?at_least={positions}")).await.status, 200);
    service.stop().await;
}
