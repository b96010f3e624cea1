//! The answers of a projector are compared with the log: under load there is no difference, and a planted one is found.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{Position, UnixMillis};
use hyper::StatusCode;
use kafka::publish::Outgoing;
use serde_json::{Value, json};
use testkit::broker::publisher;
use testkit::deliveries::delivery;
use testkit::event::user_id;

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::process::{Finished, Process, cluster_arguments};
use crate::support::system::{System, event_of, now};

on_both_brokers!(a_projector_under_load_has_no_differences_and_a_planted_one_is_found);

const PARTITIONS: i32 = 3;
/// As many as take several steps of the list.
const USERS: u64 = 1_200;
/// Users who change all the time.
const BUSY: u64 = 20;
const FORGOTTEN: u64 = 7;

async fn a_projector_under_load_has_no_differences_and_a_planted_one_is_found(broker: &Broker) {
    let system = System::start(broker, PARTITIONS).await;
    let publisher = publisher(&broker.client_options());
    let deliveries = (0..USERS).map(|user| {
        let event = event_of(&delivery(user, 0));
        publisher.publish(Outgoing::event(&event, &system.names.users, None))
    });
    futures_util::future::try_join_all(deliveries).await.expect("they are stored");
    let at = UnixMillis::from_millis(1_720_000_000_000);
    let tombstone = Outgoing::forgotten(user_id(FORGOTTEN as i64), &system.names.users, at, now());
    publisher.publish(tombstone).await.expect("it is stored");

    let is_over = AtomicBool::new(false);
    let changing = async {
        let (mut change, mut last) = (1, Vec::new());
        while !is_over.load(Ordering::Relaxed) {
            last.clear();
            for user in 100..100 + BUSY {
                last.push((user, system.ingest.post(delivery(user, change)).await));
            }
            change += 1;
        }
        (change, last)
    };
    let verifying = async {
        let verified = verify(broker, &system, &system.projector.url()).await;
        is_over.store(true, Ordering::Relaxed);
        verified
    };
    let (verified, (changes, last)) = tokio::join!(verifying, changing);
    println!("{changes} changes of {BUSY} users meanwhile:\n{}", verified.stdout);
    assert!(verified.status.success(), "{verified:?}");
    assert!(verified.stdout.contains("projector differences     0\n"), "{verified:?}");

    for (user, delivery) in last {
        assert_eq!(system.user_after(user, &delivery).await.status, StatusCode::OK);
    }
    let (planted, position) = planting(&system).await;
    let found = verify(broker, &system, &planted).await;
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    for difference in [
        "projector differences     5\n",
        "  user 1 differs in name\n",
        "  user 2 is missing in the list of users\n",
        &format!("  user {FORGOTTEN} is answered, and is forgotten\n"),
        &format!("  user 5 is at {position}, not "),
        "  user 6 is in the state of event \"other\", not ",
    ] {
        assert!(found.stdout.contains(difference), "{difference:?} is missing in {found:?}");
    }
    system.stop().await;
}

async fn verify(broker: &Broker, system: &System, projector: &str) -> Finished {
    let arguments = ["verify", "--projector", projector].map(str::to_owned);
    let cluster = cluster_arguments(&broker.client_options(), &system.names);
    Process::start(&arguments.into_iter().chain(cluster).collect::<Vec<_>>()).finished().await
}

/// Serves what the projector answers, but that five users are wrong. Returns the address, and the wrong position of
/// user 5.
async fn planting(system: &System) -> (String, Position) {
    let projector = &system.projector.http;
    let request = testkit::http::request("GET", "/users", &["accept: application/x-ndjson"], "");
    let list = projector.exchange(&request).await;
    let users = list.body_text().lines().map(|line| serde_json::from_str::<Value>(line).expect("a user"));
    let mut users: BTreeMap<u64, Value> =
        users.map(|user| (user["userId"].as_u64().expect("an identifier"), user)).collect();
    assert_eq!(users.len() as u64, USERS - 1);
    let user = |id: u64| users[&id].clone();
    let (mut renamed, mut moved, mut other, mut risen) = (user(1), user(5), user(6), user(8));
    renamed["name"] = json!("somebody else");
    let named = moved["_meta"]["position"].as_str().expect("a position").to_owned();
    let position = named.rsplit('/').next().and_then(|text| text.split('@').next()).expect("a position");
    let position = Position { offset: 999_999, ..position.parse().expect("a position") };
    moved["_meta"]["position"] = json!(position.to_string());
    other["_meta"]["eventId"] = json!("other");
    risen["userId"] = json!(FORGOTTEN);
    users.extend([(1, renamed), (5, moved), (6, other), (FORGOTTEN, risen)]);
    users.remove(&2);
    let status = projector.get("/status").await.body_text().to_owned();

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let head: Vec<String> =
                stream.by_ref().lines().map(|line| line.expect("text")).take_while(|line| !line.is_empty()).collect();
            let path = head[0].split(' ').nth(1).expect("a path").to_owned();
            let (code, body) = match path.strip_prefix("/users/").map(|id| id.parse::<u64>().expect("an identifier")) {
                None if path == "/status" => (200, status.clone()),
                None => (200, users.values().map(|user| format!("{user}\n")).collect()),
                Some(id) => users.get(&id).map_or((404, String::new()), |user| (200, user.to_string())),
            };
            let head = format!("HTTP/1.1 {code} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.get_mut().write_all((head + &body).as_bytes()).expect("the client reads");
        }
    });
    (format!("http://{address}"), position)
}
