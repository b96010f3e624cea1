//! The service from outside: records in, answers out.

use domain::{Positions, UnixMillis, UserEvent};
use testkit::broker::{Log, log_of};
use testkit::event::{at, event, user, user_id};
use testkit::eventually;

use crate::events::{Events, positions};
use crate::support::{Service, get, place, request, timeless};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_answered_as_the_newest_event_says() {
    let (kafka, store) = (Log::start(3), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    let (first, second) = (user(180, "Rachel"), user(180, "Rachel Smith"));
    kafka.event(&event(None, first.clone(), 10)).await;
    let position = kafka.event(&event(Some(first), second, 20)).await;
    service.ready().await;

    let answer = service.get(&format!("/users/180?at_least={position}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    assert_eq!(json["name"], "Rachel Smith");
    assert_eq!(place(&json["_meta"]["position"]), position);
    assert_eq!(json["_meta"]["continuity"]["unbroken"], true);

    let etag = answer.header("etag").unwrap().to_owned();
    assert_eq!(get(service.http, "/users/180", &[("if-none-match", &etag)]).await.status, 304);
    let lines = [("if-none-match", "\"9-9\""), ("if-none-match", etag.as_str())];
    assert_eq!(get(service.http, "/users/180", &lines).await.status, 304, "several lines are one list");
    let head = request(service.http, "HEAD", "/users/180", &[]).await;
    assert_eq!((head.status.as_u16(), head.body_text(), head.header("etag")), (200, "", Some(etag.as_str())));
    assert_eq!(service.get("/users/181").await.status, 404);
    assert_eq!(service.get("/users/x").await.status, 400);
    assert_eq!(request(service.http, "POST", "/users/180", &[]).await.status, 405);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_user_is_gone_until_something_newer() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    kafka.event(&event(None, user(7, "A"), 10)).await;
    let at = kafka.forget(user_id(7), at(20)).await;
    service.ready().await;
    assert_eq!(service.get(&format!("/users/7?at_least={at}")).await.status, 410);
    let at = kafka.event(&event(Some(user(7, "A")), user(7, "late"), 15)).await;
    assert_eq!(
        service.get(&format!("/users/7?at_least={at}")).await.status,
        410,
        "an older event does not bring it back"
    );
    let at = kafka.event(&event(Some(user(7, "A")), user(7, "back"), 30)).await;
    let answer = service.get(&format!("/users/7?at_least={at}")).await;
    assert_eq!(answer.json()["name"], "back");
    assert_eq!(service.get("/status").await.json()["forgotten"], 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_does_not_come_is_503_after_the_wait() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let answer = service.get("/users/1?at_least=0:99&wait_ms=20").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
    assert!(answer.json()["detail"].as_str().unwrap().contains("0:99"));
    for path in [
        "/users?at_least=x",
        "/users?wait_ms=x",
        "/users?wait_ms=999999",
        "/users?limit=0",
        "/users?nonsense=1",
        "/users/1?atLeast=0:0",
        "/users/by-email/x?limit=1",
        "/users/by-username/x?q=1",
        "/users/by-extension/x?after=1",
        "/status?nonsense=1",
        "/changes?nonsense=1",
    ] {
        assert_eq!(service.get(path).await.status, 400, "{path}");
    }
    let unlimited = get(service.http, "/users?limit=0", &[("accept", "application/x-ndjson")]).await;
    assert_eq!(unlimited.status, 400);
    assert_eq!(service.get("/status?at_least=&wait_ms=1").await.status, 200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_on_no_partition_is_refused_at_once() {
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let refused = service.get("/users/1?at_least=2:0&wait_ms=30000").await;
    assert_eq!(refused.status, 409);
    assert!(refused.json()["detail"].as_str().unwrap().contains("no partition 2"), "{refused:?}");
    assert_eq!(service.get("/users/1?at_least=1:0&wait_ms=20").await.status, 503, "it may come");
    service.stop().await;
}

/// Returns the path that a relative reference in an answer for `path` means.
fn below(path: &str, reference: &str) -> String {
    assert!(!reference.starts_with('/') && !reference.contains("://"), "{reference} holds below no path of a proxy");
    let (path, _query) = path.split_once('?').unwrap_or((path, ""));
    let (folder, _last) = path.rsplit_once('/').unwrap();
    format!("{folder}/{reference}")
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_searched_and_paged() {
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    for id in 1..=20 {
        kafka.event(&event(None, user(id, &format!("Name {id}")), id)).await;
    }
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let ids = |answer: &testkit::Answer| -> Vec<i64> {
        answer.json()["users"].as_array().unwrap().iter().map(|user| user["userId"].as_i64().unwrap()).collect()
    };
    let mut found = Vec::new();
    let mut next = Some("/users?isAgent=true&limit=3".to_owned());
    while let Some(path) = next {
        let answer = service.get(&path).await;
        found.extend(ids(&answer));
        let relative = answer.json()["next"].as_str().map(str::to_owned);
        assert_eq!(
            answer.header("link").map(str::to_owned),
            relative.as_ref().map(|next| format!("<{next}>; rel=\"next\""))
        );
        next = relative.map(|next| below(&path, &next));
    }
    assert_eq!(found, (1..=10).map(|half| half * 2).collect::<Vec<i64>>());
    assert_eq!(ids(&service.get("/users?privGroup=3").await), [3, 8, 13, 18]);
    assert_eq!(ids(&service.get("/users?q=NAME%202").await), [2, 20]);
    assert_eq!(ids(&service.get("/users?q=user7@").await), [7]);
    assert_eq!(ids(&service.get("/users?state=inactive").await), Vec::<i64>::new());
    assert_eq!(ids(&service.get("/users/by-username/USER5").await), [5]);
    assert_eq!(ids(&service.get("/users/by-email/user6@example.com").await), [6]);
    assert_eq!(ids(&service.get("/users/by-extension/7").await), [7]);
    assert_eq!(service.get("/users/by-email/nobody").await.status, 404);

    let all = get(service.http, "/users", &[("accept", "application/x-ndjson")]).await;
    assert_eq!(all.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(all.body_text().lines().count(), 20);
    let vary = Some("authorization, accept-encoding, accept");
    assert_eq!(all.header("vary"), vary);
    let refused = [("accept", "application/x-ndjson;q=0, */*")];
    let page = get(service.http, "/users", &refused).await;
    assert_eq!((page.header("content-type"), page.header("vary")), (Some("application/json"), vary));
    let some = get(service.http, "/users?limit=4&after=5", &[("accept", "application/x-ndjson")]).await;
    assert_eq!(some.body_text().lines().count(), 4);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_there_after_a_restart() {
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    let mut summary = None;
    for round in 0..4_i64 {
        let service = Service::start(&kafka, &store).await;
        let position = kafka.event(&event(None, user(round, "x"), round)).await;
        service.ready().await;
        assert_eq!(service.get(&format!("/status?at_least={position}&wait_ms=20000")).await.status, 200);
        for known in 0..=round {
            assert_eq!(service.get(&format!("/users/{known}")).await.status, 200, "{known} in round {round}");
        }
        summary = Some(service.stop().await);
    }
    let covered: i64 = summary.unwrap().checkpoint.iter().map(|(_, next)| next).sum();
    assert_eq!(covered, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_page_are_there_without_any_other_network() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    let document = service.get("/openapi.json").await.json();
    assert!(document["paths"]["/users/{userId}"].is_object());
    // Relative to the document, so that it holds below the path of a proxy.
    assert_eq!(document["servers"], serde_json::json!([{ "url": "." }]));
    assert_eq!(
        service.get("/docs").await.header("location").map(|to| below("/x/docs", to)).as_deref(),
        Some("/x/docs/")
    );
    let page = service.get("/docs/").await;
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let sources: Vec<&str> =
        page.body_text().split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(!sources.is_empty());
    for source in sources {
        assert!(!source.contains("://") && !source.starts_with('/'), "{source}");
        assert_eq!(service.get(&format!("/docs/{}", source.trim_start_matches("./"))).await.status, 200, "{source}");
    }
    assert!(service.get("/docs/swagger-initializer.js").await.body_text().contains("/openapi.json"));
    assert_eq!(service.get("/docs/nothing.js").await.status, 404);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_read_answers_only_when_told_so() {
    let (kafka, store, other) = (Log::start(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let origin = [("origin", "https://desk.example")];
    let closed = Service::start(&kafka, &store).await;
    assert_eq!(get(closed.http, "/status", &origin).await.header("access-control-allow-origin"), None);
    closed.stop().await;
    let open = Service::start_with(&kafka, &other, |raw| raw.cors.origins = vec![origin[0].1.to_owned()]).await;
    let allowed = get(open.http, "/status", &origin).await;
    assert_eq!(allowed.header("access-control-allow-origin"), Some(origin[0].1));
    let stranger = get(open.http, "/status", &[("origin", "https://other.example")]).await;
    assert_eq!(stranger.header("access-control-allow-origin"), None);
    let preflight = [origin[0], ("access-control-request-method", "GET")];
    assert_eq!(request(open.http, "OPTIONS", "/users/1", &preflight).await.status, 200);
    open.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_positions_of_an_answer_are_what_another_replica_waits_for() {
    let (kafka, store, other) = (Log::start(3), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (Service::start(&kafka, &store).await, Service::start(&kafka, &other).await);
    first.ready().await;
    second.ready().await;
    assert_eq!(first.get("/users/1").await.header("rollcall-positions"), None, "nothing has been read");
    for id in 0..9 {
        kafka.event(&event(None, user(id, "x"), id)).await;
    }
    let last = kafka.event(&event(Some(user(8, "x")), user(8, "y"), 20)).await;
    let answer = first.get(&format!("/users/8?at_least={last}")).await;
    let positions = answer.header("rollcall-positions").unwrap();
    let read: Positions = positions.parse().unwrap();
    assert!(read.checkpoint.covers(last), "{positions}");
    let answer = second.get(&format!("/users/8?at_least={positions}")).await;
    assert_eq!(answer.json()["name"], "y");
    first.stop().await;
    second.stop().await;
}

/// Shows, with `--nocapture`, how long a reader waits for what was just written; asserts only that it is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_just_written_is_read_on_an_idle_topic() {
    let (kafka, store) = (Log::start(3), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let mut waits = Vec::new();
    for id in 0..20 {
        let position = kafka.event(&event(None, user(id, "x"), id)).await;
        let began = tokio::time::Instant::now();
        let answer = service.get(&format!("/users/{id}?at_least={position}")).await;
        waits.push(began.elapsed());
        assert_eq!(place(&answer.json()["_meta"]["position"]), position);
    }
    waits.sort();
    println!("from the acknowledgement to the answer: half within {:?}, all within {:?}", waits[10], waits[19]);
    service.stop().await;
}

/// A tied second: the answer is decided by its events, not by the order in which a table has read them, nor by what
/// compaction or a repair has left of them.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_tie_the_answer_and_its_tag_are_those_of_a_rebuilt_table() {
    let (kafka, store, other) = (Log::start(1), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let change = |from: &str, to: &str| event(Some(user(7, from)), user(7, to), 10);
    let (last, middle, first) = (change("C", "D"), change("B", "C"), change("A", "B"));
    let mut changes = Events::open(&service, "/changes", None).await;
    changes.until("caught-up").await;
    let mut tags = Vec::new();
    for tied in [&last, &middle, &first, &last] {
        let at = kafka.event(tied).await;
        let answer = service.get(&format!("/users/7?at_least={at}")).await;
        assert_eq!(answer.json()["name"], "D");
        tags.push(answer.header("etag").unwrap().to_owned());
    }
    let topic = log_of(&kafka.options(), &kafka.names.users).await.topic;
    let tag = format!("W/\"{topic}/{}\"", last.event_id);
    assert!(tags.iter().all(|found| *found == tag), "{tags:?}");
    let lived = service.get("/users/7").await;
    let rebuilt = Service::start(&kafka, &other).await;
    rebuilt.ready().await;
    let made = rebuilt.get("/users/7").await;
    assert_eq!(made.header("etag"), Some(tag.as_str()));
    assert_eq!(timeless(made.json()), timeless(lived.json()));
    rebuilt.stop().await;

    // An event that lost wins by one that it is built on, and is the change that is told, at the position of that one.
    kafka.event(&event(Some(user(8, "A")), user(8, "B"), 10)).await;
    kafka
        .event(&UserEvent {
            received_at: UnixMillis::from_millis(10_001),
            ..event(Some(user(8, "C")), user(8, "D"), 10)
        })
        .await;
    let at = kafka.event(&event(Some(user(8, "D")), user(8, "A"), 10)).await;
    assert_eq!(service.get(&format!("/users/8?at_least={at}")).await.json()["name"], "B");
    let told = changes.take(4).await;
    let names: Vec<_> = told.iter().map(|event| event.data.as_ref().unwrap()["name"].as_str().unwrap()).collect();
    assert_eq!((names, positions(&told)[3]), (vec!["D", "B", "D", "B"], at));
    service.stop().await;
    // Whoever had read up to the second of them hears of it from a table that has no history, too.
    let service = Service::start_with(&kafka, &other, |raw| raw.store.rebuild = true).await;
    service.ready().await;
    let mut again = Events::open(&service, "/changes", Some(told[2].id.as_deref().unwrap())).await;
    assert_eq!(positions(&again.until("caught-up").await), [at]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_have_what_people_alarm_on_and_are_clean() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    for id in 1..=3 {
        kafka.event(&event(None, user(id, "x"), id)).await;
    }
    kafka.forget(user_id(2), at(10)).await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    for (name, value) in [
        ("rollcall_projector_users", 2),
        ("rollcall_projector_forgotten_users", 1),
        ("rollcall_projector_unreadable_records", 0),
        ("rollcall_projector_gaps{state=\"awaited\"}", 0),
        ("rollcall_projector_unknown_users", 0),
    ] {
        let counted = async || (service.metric(name).await == Some(value)).then_some(());
        eventually(name, testkit::wait::PATIENCE, counted).await;
    }
    let metrics = get(service.admin, "/metrics", &[("accept", "text/plain;version=0.0.4")]).await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for name in ["process_start_time_seconds ", "process_cpu_seconds_total ", "rollcall_http_connections "] {
        assert!(metrics.body_text().contains(name), "{name}");
    }
    assert!(!metrics.body_text().contains("rollcall_projector_last_event_timestamp_seconds 0\n"));
    testkit::promtool::check(metrics.body_text());
    service.stop().await;
}
