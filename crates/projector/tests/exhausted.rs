//! What a process runs out of is waited out: files, and the disk. A binary of its own, since the limit of open files is
//! that of the process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use kafka::publish::Outgoing;
use projector::store::{Lookup, Resource, StoreReader, Writer};
use projector::{Options, Phase, Projection};
use rustix::process::{Resource as Limited, Rlimit, getrlimit, setrlimit};
use testkit::broker::{Log, publisher};
use testkit::event::{created, user_id};
use testkit::eventually;
use testkit::wait::PATIENCE;

/// So small that no file can be opened: those that are open stay.
const FILES: u64 = 3;
const DISK_BYTES: usize = 16 << 20;
/// Room for an empty table.
const ROOM_BYTES: usize = 3 << 19;
/// What the rest of the disk has no room for.
const USERS: i64 = 600;
const NAME_BYTES: usize = 2_000;

fn options(log: &Log, store: &Path) -> Options {
    Options { kafka: log.options(), ..Options::new("", &log.names.users, store) }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_files_and_without_room_the_table_waits_and_goes_on() {
    without_files().await;
    without_room().await;
}

async fn without_files() {
    let (log, store) = (Log::start(1), tempfile::tempdir().unwrap());
    log.event(&created(1, "Rachel", 1)).await;
    let table = Projection::open(options(&log, store.path())).unwrap();
    table.ready().await.unwrap();
    let before = getrlimit(Limited::Nofile);
    setrlimit(Limited::Nofile, Rlimit { current: Some(FILES), ..before }).unwrap();
    let path = store.path().join("users.db");
    let opened = [StoreReader::open(&path).map(drop), Writer::open(&path).map(drop)];
    let phase = table.phase().borrow().clone();
    setrlimit(Limited::Nofile, before).unwrap();

    for opened in opened {
        let error = opened.unwrap_err();
        assert_eq!(error.resource(), Some(Resource::Files), "{error:?}");
        assert!(error.is_transient());
    }
    assert!(!matches!(phase, Phase::Failed { .. } | Phase::Ended), "{phase}");
    // A client that could not connect meanwhile takes its time before it tries again: a new one does not.
    let event = Outgoing::event(&created(2, "Rachel", 2), &log.names.users, None);
    let published = publisher(&log.options()).publish(event).await.unwrap();
    table.wait_for(published, PATIENCE).await.unwrap();
    assert!(matches!(table.get(user_id(2)).unwrap(), Lookup::Found(_)));
    table.close().await.unwrap();
}

/// A small file system, for as long as this lives.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let size = format!("size={DISK_BYTES}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(disk.0.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _not_mounted = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

async fn without_room() {
    let Some(disk) = Disk::mount() else {
        eprintln!("left out: without_room: no file system can be mounted here");
        return;
    };
    let (log, folder) = (Log::start(1), disk.0.path().join("store"));
    for id in 0..USERS {
        log.event(&created(id, &"n".repeat(NAME_BYTES), 1)).await;
    }
    let filler = disk.0.path().join("filler");
    fs::write(&filler, vec![0; DISK_BYTES - ROOM_BYTES]).unwrap();
    let table = Projection::open(options(&log, &folder)).unwrap();
    eventually("the disk is full", PATIENCE, async || {
        let phase = table.phase().borrow().to_string();
        assert!(!phase.starts_with("failed"), "{phase}");
        phase.contains("full").then_some(())
    })
    .await;
    fs::remove_file(&filler).unwrap();
    tokio::time::timeout(2 * PATIENCE, table.ready()).await.unwrap().unwrap();
    assert!(matches!(table.get(user_id(USERS - 1)).unwrap(), Lookup::Found(_)));
    table.close().await.unwrap();
}
