//! A reader that is too slow: little waits for it outside the table, and it is told.

use testkit::broker::Log;
use testkit::event::{event, user};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::events::{Events, last_id, positions};
use crate::support::Service;

const CHANGES: i64 = 60;
/// Of each change: with all of them, several times what the two ends of a connection and the server may hold.
const NAME_BYTES: usize = 16 * 1024;
/// How much the reader's end of the connection takes in.
const READER_BYTES: u32 = 16 * 1024;
const WAITING_MAX: usize = 8;
const USERS: i64 = 200;
/// How many users of a snapshot may be on their way to a reader: by their size half a mebibyte. The stream takes 16 KiB
/// and one event at once, the server's buffers some tens of KiB, and the two ends of the connection as much.
const ON_THE_WAY_MAX: i64 = 32;

/// Subscribes over a connection whose near end takes in little.
async fn subscribe_slowly(service: &Service) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(READER_BYTES).unwrap();
    let mut stream = socket.connect(service.http).await.unwrap();
    let request = testkit::http::request("GET", "/changes", &[], "");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_sent_what_is_on_its_way_then_cut_off_and_goes_on_without_a_gap() {
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    let service = Service::start_waiting(&kafka, &store, WAITING_MAX).await;
    service.ready().await;
    let mut slow = Events::of(subscribe_slowly(&service).await);
    slow.until("caught-up").await;
    let mut published = Vec::new();
    for second in 0..CHANGES {
        let name = format!("{second}{}", "x".repeat(NAME_BYTES));
        published.push(kafka.event(&event(None, user(second, &name), second)).await);
    }
    let reached = published.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(service.get(&format!("/status?at_least={reached}")).await.status, 200);

    let events = slow.until("cut-off").await;
    let reason = events.last().unwrap().data.as_ref().unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("the reader is too slow"), "{reason}");
    assert!(slow.next().await.is_none(), "it is the last event");
    assert_eq!(service.metric("rollcall_projector_subscribers_cut_off_total").await, Some(1));
    let mut told = positions(&events);
    assert!(told.len() + WAITING_MAX < published.len(), "{} changes waited outside the table", told.len());
    let again = Events::open(&service, "/changes", Some(&last_id(&events))).await.until("caught-up").await;
    told.extend(positions(&again));
    told.sort();
    published.sort();
    assert_eq!(told, published);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_written_as_its_reader_takes_it() {
    let (kafka, store) = (Log::start(2), tempfile::tempdir().unwrap());
    for id in 0..USERS {
        kafka.event(&event(None, user(id, &"x".repeat(NAME_BYTES)), 1)).await;
    }
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let mut slow = Events::of(subscribe_slowly(&service).await);
    for taken in 1..=USERS {
        assert_eq!(slow.next().await.unwrap().name.as_deref(), Some("user"));
        if taken % 10 == 0 {
            let written = service.metric("rollcall_projector_changes_rendered_total").await.unwrap();
            assert!(written <= taken + ON_THE_WAY_MAX, "{written} were written when {taken} had been taken");
        }
    }
    assert_eq!(slow.next().await.unwrap().name.as_deref(), Some("caught-up"));
    service.stop().await;
}
