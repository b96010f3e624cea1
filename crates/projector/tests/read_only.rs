//! On a read-only root, without a folder for temporary files anywhere: the store's folder alone can be written. The
//! process in there is this test binary again, in a mount namespace of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "the environment tells the process what to follow")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use domain::{Position, User};
use futures_util::future::try_join_all;
use kafka::ClientOptions;
use kafka::publish::Outgoing;
use projector::{Options, Projection};
use testkit::broker::Log;
use testkit::event::{at, event, user, user_id};
use testkit::eventually;
use testkit::wait::PATIENCE;

const PARTITIONS: i32 = 6;
/// With names of such a length, an index is larger than what SQLite sorts in memory.
const USERS: i64 = 9_000;
const NAME_BYTES: usize = 1_000;
/// A transaction of so many changes touches thousands of pages.
const CHANGED: i64 = 4_000;
/// How long the process may wait for a record: it is a debug build.
const REACHED_MAX: Duration = Duration::from_secs(120);
/// Makes everything read-only but the folder, then is the process.
const NAMESPACE: &str = r#"
mount --bind "$STORE" "$STORE" && mount -o remount,bind,ro / || exit 1
for folder in /tmp /var/tmp /usr/tmp; do
  if mountpoint -q "$folder"; then mount -o remount,bind,ro "$folder" || exit 1; fi
done
cd / && exec "$@"
"#;

/// A process in the namespace.
struct InThere {
    child: Child,
    lines: BufReader<ChildStdout>,
    orders: ChildStdin,
}

fn in_there(store: &Path) -> Command {
    let mut command = Command::new("unshare");
    let mapped: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    command.args(mapped).args(["--mount", "--propagation", "private", "sh", "-c", NAMESPACE, "sh"]);
    command.env("STORE", store).env_remove("TMPDIR").env_remove("SQLITE_TMPDIR");
    command
}

impl InThere {
    fn start(log: &Log, store: &Path) -> Self {
        let mut command = in_there(store);
        command.arg(std::env::current_exe().unwrap()).args(["--exact", "the_process_in_there", "--nocapture"]);
        command.env("FOLLOW", &log.options().bootstrap);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (lines, orders) = (BufReader::new(child.stdout.take().unwrap()), child.stdin.take().unwrap());
        Self { child, lines, orders }
    }

    /// Waits for that line.
    fn says(&mut self, expected: &str) {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if line.trim() == expected {
                return;
            }
            line.clear();
        }
        panic!("the process ended before it said {expected:?}: {:?}", self.child.wait());
    }

    fn reaches(&mut self, position: Position) {
        writeln!(self.orders, "{} {}", position.partition, position.offset).unwrap();
        self.says("reached");
    }

    fn ends(mut self) {
        drop(self.orders);
        assert!(self.child.wait().unwrap().success());
    }
}

async fn publish(log: &Log, users: impl Iterator<Item = (Option<User>, User, i64)>) -> Position {
    let records = users.map(|(old, new, second)| Outgoing::event(&event(old, new, second), &log.names.users, None));
    let positions = try_join_all(records.map(|record| log.publisher.publish(record))).await.unwrap();
    *positions.last().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_outside_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    fs::create_dir(&store).unwrap();
    let probe = in_there(&store).args(["sh", "-c", "! touch /tmp/x /var/tmp/x 2>/dev/null"]).output();
    if !probe.as_ref().is_ok_and(|probe| probe.status.success()) {
        let reason = "a mount namespace of its own is not allowed here";
        writeln!(std::io::stderr(), "left out: nothing_is_written_outside_of_the_folder: {reason}").unwrap();
        return;
    }
    let log = Log::start(PARTITIONS);
    let person = |id, letter: &str| user(id, &letter.repeat(NAME_BYTES));
    publish(&log, (0..USERS).map(|id| (None, person(id, "a"), 1))).await;
    for round in 0..2 {
        let mut process = InThere::start(&log, &store);
        process.says("ready");
        for second in [2, 3] {
            let second = 10 * round + second;
            let changed = |id| (Some(person(id, "a")), person(id, "b"), second);
            process.reaches(publish(&log, (0..CHANGED).map(changed)).await);
        }
        process.reaches(log.forget(user_id(round), at(100)).await);
        eventually("the user is erased from the files", PATIENCE, async || {
            let reader = projector::store::StoreReader::open(&store.join("users.db")).ok()?;
            reader.erasures().ok()?.is_empty().then_some(())
        })
        .await;
        process.ends();
        only_the_owner_can_read(&store);
    }
}

fn only_the_owner_can_read(store: &Path) {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(store), 0o700, "the folder");
    for entry in fs::read_dir(store).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

/// Nothing, unless it is told what to follow: then it makes a table, waits for each record that it is asked for, and
/// ends in order.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_in_there() {
    let told = |name| std::env::var(name);
    let (Ok(bootstrap), Ok(store)) = (told("FOLLOW"), told("STORE")) else { return };
    let options = Options {
        kafka: ClientOptions::new(bootstrap),
        rebuild: true,
        ..Options::new("", &domain::topics::Names::default().users, store)
    };
    let table = Projection::open(options).unwrap();
    table.ready().await.unwrap();
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (partition, offset) = line.split_once(' ').unwrap();
        let position = Position { partition: partition.parse().unwrap(), offset: offset.parse().unwrap() };
        tokio::select! {
            reached = table.wait_for(position, REACHED_MAX) => reached.unwrap(),
            () = table.ended() => panic!("the projection has ended: {}", *table.phase().borrow()),
        }
        println!("reached");
    }
    table.close().await.unwrap();
}
