//! A table that is damaged, removed or replaced is made again from the log, whoever meets it. Nothing partial is
//! answered as if it were whole, and no answer names a path.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use projector::{Options, Projection};
use tempfile::TempDir;
use testkit::broker::Log;
use testkit::event::{event, user};
use testkit::wait::PATIENCE;
use testkit::{Http, eventually};

use crate::support::{Service, get};

const USERS: usize = 2_000;
const NAME: &str = "a name";

/// A broker with users, and the store of a service that has read them and stopped: a table that was loaded, so that all
/// of it is in its file.
async fn table_of_users() -> (Log, TempDir) {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let users = i64::try_from(USERS).unwrap();
    let events: Vec<_> = (0..users).map(|id| event(None, user(id, NAME), id)).collect();
    futures_util::future::join_all(events.iter().map(|event| kafka.event(event))).await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    service.stop().await;
    (kafka, store)
}

/// Returns the file of the table.
fn table(store: &TempDir) -> PathBuf {
    store.path().join(fs::read_link(store.path().join("users.db")).unwrap())
}

/// Overwrites the middle half of a file, in place.
fn scribble(path: &Path) {
    let mut file = File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(length / 4)).unwrap();
    file.write_all(&vec![0xA5; usize::try_from(length / 2).unwrap()]).unwrap();
}

/// Writes another name in the place of that of each user, in place.
fn falsify(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let places: Vec<usize> =
        bytes.windows(NAME.len()).enumerate().filter(|(_, text)| *text == NAME.as_bytes()).map(|(at, _)| at).collect();
    assert!(places.len() > USERS);
    for at in places {
        bytes[at] = b'b';
    }
    File::options().write(true).open(path).unwrap().write_all(&bytes).unwrap();
}

/// Reads all users until the answer is whole. What is answered before is a refusal, or ends in the middle.
async fn reads_whole(service: &Service, store: &TempDir) {
    let folder = store.path().to_str().unwrap();
    let http = Http::to(service.http);
    eventually("all users are answered", PATIENCE, async || {
        let listed = get(service.http, "/users", &[("accept", "application/json")]).await;
        assert!([200, 503].contains(&listed.status.as_u16()), "{listed:?}");
        let one = service.get("/users/1000").await;
        assert!([200, 503].contains(&one.status.as_u16()), "{one:?}");
        if one.status == 200 {
            assert_eq!(one.json()["name"], NAME);
        }
        let status = service.get("/status").await;
        for answer in [&listed, &one, &status] {
            assert!(!answer.body_text().contains(folder), "a path: {answer:?}");
        }
        // An answer that is cut short is an error of the exchange.
        let all = http.get_as("/users", "application/x-ndjson").await.ok()?;
        if all.status == 200 {
            assert_eq!(all.body_text().lines().count(), USERS, "partial, as if it were whole");
            return Some(());
        }
        None
    })
    .await;
}

async fn rebuilds(service: &Service, reason: &str) -> i64 {
    let name = format!("rollcall_projector_rebuilds_total{{reason=\"{reason}\"}}");
    service.metric(&name).await.expect("each reason is there from zero")
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_reader_meets_leads_to_a_rebuild() {
    let (kafka, store) = table_of_users().await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let mut events = crate::events::Events::open(&service, "/changes", None).await;
    let first = events.next().await.unwrap();
    assert_eq!(first.name.as_deref(), Some("user"));
    scribble(&table(&store));
    reads_whole(&service, &store).await;
    service.ready().await;
    assert_eq!(rebuilds(&service, "damaged").await, 1);
    // The stream of before has an end that says no path.
    while let Some(event) = events.next().await {
        let text = format!("{event:?}");
        assert!(!text.contains(store.path().to_str().unwrap()), "{text}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_is_there_at_a_start_leads_to_a_rebuild() {
    for damage in [scribble, falsify] {
        let (kafka, store) = table_of_users().await;
        damage(&table(&store));
        let service = Service::start(&kafka, &store).await;
        reads_whole(&service, &store).await;
        assert_eq!(rebuilds(&service, "damaged").await, 1);
        service.stop().await;
    }
}

/// Returns a copy of the folder.
fn copied(store: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(store.path()).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), copy.path().join(entry.unwrap().file_name()));
        match fs::read_link(&from) {
            Ok(target) => std::os::unix::fs::symlink(target, to).unwrap(),
            Err(_) => drop(fs::copy(from, to).unwrap()),
        }
    }
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_process_was_killed_is_checked_before_it_answers() {
    let (kafka, store) = table_of_users().await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    // What a killed process leaves: its files as they are.
    let (left, whole) = (copied(&store), copied(&store));
    service.stop().await;

    scribble(&table(&left));
    let service = Service::start(&kafka, &left).await;
    service.ready().await;
    assert_eq!(rebuilds(&service, "damaged").await, 1, "nobody has read anything");
    reads_whole(&service, &left).await;
    service.stop().await;

    let service = Service::start(&kafka, &whole).await;
    service.ready().await;
    assert_eq!(rebuilds(&service, "damaged").await, 0, "it is whole, and goes on");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_removed_or_replaced_is_made_again() {
    let (kafka, store) = table_of_users().await;
    let service = Service::start(&kafka, &store).await;
    service.ready().await;
    let made = async |times: i64| {
        let made = async || (rebuilds(&service, "removed").await == times).then_some(());
        eventually("it is made again", PATIENCE, made).await;
        service.ready().await;
        reads_whole(&service, &store).await;
    };
    fs::remove_file(table(&store)).unwrap();
    made(1).await;
    // A replacement, which is a table of its own, older than the log.
    let (path, aside) = (table(&store), store.path().join("aside"));
    fs::copy(&path, &aside).unwrap();
    fs::rename(&aside, &path).unwrap();
    made(2).await;
    fs::remove_file(store.path().join("users.db")).unwrap();
    made(3).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_is_refused_at_once() {
    let kafka = Log::start(1);
    // Nobody may make a folder there, not even root.
    let options = Options { kafka: kafka.options(), ..Options::new("", "vcc.users", "/proc/rollcall") };
    let error = Projection::open(options).unwrap_err();
    assert!(error.to_string().contains("the folder of the store, /proc/rollcall, cannot be used"), "{error}");
}
