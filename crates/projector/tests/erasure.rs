//! What is left of a forgotten user in the bytes of the store, whoever reads meanwhile.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use domain::{Position, UnixMillis, User, headers, wire};
use kafka::Record;
use projector::store::{Erased, Erasures, HeldBy, LogBatch, StoreMeta, StoreReader, Writer};
use rusqlite::Connection;
use tempfile::TempDir;
use testkit::event::{at, event, user, user_id};
use testkit::random::Random;

const NOW: UnixMillis = UnixMillis::from_millis(0);
const USERS: i64 = 3_000;
const BATCH: usize = 100;
const ROUNDS: i64 = 2;
/// As many as the measurement that `VACUUM` is for.
const FORGOTTEN: usize = 300;

/// A store with the log that it is of.
struct Table {
    dir: TempDir,
    writer: Writer,
    next: i64,
}

fn mark(id: i64) -> String {
    format!("zq{id:05}zq")
}

fn person(id: i64, round: i64, random: &mut Random) -> User {
    let length = usize::try_from(random.below(300)).unwrap();
    let name = format!("{}{}", mark(id), "x".repeat(length));
    User { username: Some(format!("user-{}-{round}", mark(id))), ..user(id, &name) }
}

/// Returns the users whose marks are in these bytes.
fn marks(bytes: &[u8]) -> BTreeSet<i64> {
    let number = |mark: &[u8]| std::str::from_utf8(&mark[2..7]).ok()?.parse().ok();
    let marks = bytes.windows(9).filter(|window| window.starts_with(b"zq") && window.ends_with(b"zq"));
    marks.filter_map(number).collect()
}

impl Table {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let writer =
            Writer::create(&dir.path().join("users.1.db"), &StoreMeta::new("t", &testkit::event::log_id(), NOW))
                .unwrap();
        Self { dir, writer, next: 0 }
    }

    /// A table whose rows have been moved between its pages.
    fn grown(random: &mut Random) -> Self {
        let mut table = Self::new();
        for round in 0..ROUNDS {
            let mut ids: Vec<i64> = (0..USERS).collect();
            while !ids.is_empty() {
                let some = (0..BATCH.min(ids.len())).map(|_| {
                    let one = usize::try_from(random.below(ids.len() as u64)).unwrap();
                    ids.swap_remove(one)
                });
                let some: Vec<i64> = some.collect();
                table.put(&some, round, random);
            }
        }
        table
    }

    fn put(&mut self, ids: &[i64], round: i64, random: &mut Random) {
        let records = ids.iter().map(|id| {
            let (old, new) = (person(*id, round - 1, random), person(*id, round, random));
            let event = event(Some(old), new, round + 1);
            self.record(*id, Some(wire::encode(&event)), Vec::new())
        });
        let records = records.collect();
        self.commit(records);
    }

    fn forget(&mut self, ids: &[i64], second: i64) {
        let records = ids.iter().map(|id| {
            let headers = headers::for_forgotten(user_id(*id), at(second));
            self.record(*id, None, headers.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
        });
        let records = records.collect();
        self.commit(records);
    }

    fn record(&self, id: i64, value: Option<Vec<u8>>, headers: Vec<(String, Vec<u8>)>) -> Record {
        let position = Position { partition: 0, offset: 0 };
        Record { position, leader_epoch: None, timestamp: NOW, key: Some(id.to_string().into_bytes()), value, headers }
    }

    fn commit(&mut self, mut records: Vec<Record>) {
        for record in &mut records {
            record.position.offset = self.next;
            self.next += 1;
        }
        self.writer.commit(&LogBatch { records, ..LogBatch::default() }, NOW).unwrap();
    }

    /// Returns these users as far as they are in any file.
    fn left(&self, of: &[i64]) -> Vec<i64> {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let found: BTreeSet<i64> = files.flat_map(|path| marks(&fs::read(path).unwrap())).collect();
        of.iter().copied().filter(|id| found.contains(id)).collect()
    }

    fn erased_up_to(&self) -> i64 {
        let reader = StoreReader::open(self.writer.path()).unwrap();
        reader.erasures().unwrap().erased_up_to(0, reader.checkpoint().unwrap().next(0).unwrap())
    }
}

fn log_of(path: &Path) -> u64 {
    fs::metadata(format!("{}-wal", path.display())).map_or(0, |found| found.len())
}

#[test]
fn page_balancing_leaves_forgotten_users_and_an_erasure_leaves_none() {
    let mut left_before = 0;
    for seed in 0..2 {
        let mut random = Random(seed);
        let mut table = Table::grown(&mut random);
        let first = table.next;
        let forgotten: Vec<i64> = (0..USERS).filter(|_| random.below(10) == 0).take(FORGOTTEN).collect();
        table.forget(&forgotten, 100);
        assert_eq!((table.erased_up_to(), table.writer.erasures().tombstones()), (first, forgotten.len() as u64));
        // The log alone: what a checkpoint would leave in the file.
        let other = Connection::open(table.writer.path()).unwrap();
        other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(other);
        left_before += table.left(&forgotten).len();

        assert_eq!(table.writer.erase().unwrap(), Erased::Done);
        assert_eq!(table.left(&forgotten), [] as [i64; 0], "seed {seed}");
        let others: Vec<i64> = (0..USERS).filter(|id| !forgotten.contains(id)).collect();
        assert_eq!(table.left(&others), others, "seed {seed}");
        assert_eq!((table.erased_up_to(), table.writer.erasures()), (table.next, Erasures::default()));
        // Again, each by a tombstone that is repeated: there is nothing to erase.
        table.forget(&forgotten, 100);
        assert!(table.writer.erasures().is_empty());
    }
    println!("left by page balancing, of {} in all: {left_before}", 2 * FORGOTTEN);
    assert!(left_before > 0, "the log shows what VACUUM is for");
}

#[test]
fn a_reader_of_before_holds_an_erasure_back_and_those_forgotten_since_wait_for_the_next() {
    let mut random = Random(7);
    let mut table = Table::grown(&mut random);
    table.forget(&[1, 2], 100);
    // Begins to read after the log was emptied, so that the file is written anew beneath it.
    let foreign = Connection::open(table.writer.path()).unwrap();
    foreign.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    foreign.execute_batch("BEGIN; SELECT * FROM users LIMIT 1").unwrap();
    foreign.query_row("SELECT count(*) FROM users", [], |_| Ok(())).unwrap();
    let before = table.next - 2;
    assert_eq!(table.writer.erase().unwrap(), Erased::HeldBack(HeldBy::AnotherProcess));
    let log = log_of(table.writer.path());
    assert!(log > 0, "it was written anew");
    table.forget(&[3], 100);
    assert_eq!(table.writer.erase().unwrap(), Erased::HeldBack(HeldBy::AnotherProcess));
    assert!(log_of(table.writer.path()) < 2 * log, "and is not again while the log is held");
    assert_eq!((table.erased_up_to(), table.writer.erasures().tombstones()), (before, 3));

    foreign.execute_batch("COMMIT").unwrap();
    assert_eq!(table.writer.erase().unwrap(), Erased::InPart);
    assert_eq!((table.erased_up_to(), table.left(&[1, 2])), (table.next - 1, Vec::new()));
    assert_eq!(table.writer.erase().unwrap(), Erased::Done);
    assert_eq!((table.erased_up_to(), table.left(&[1, 2, 3])), (table.next, Vec::new()));
    drop(foreign);
}

#[test]
fn a_long_read_of_this_process_is_named() {
    let mut table = Table::new();
    table.put(&[1, 2, 3], 0, &mut Random(1));
    table.forget(&[1], 100);
    let readers = Arc::clone(table.writer.readers());
    let ((begun, begins), (end, ends)) = (channel(), channel());
    let reading = thread::spawn(move || {
        readers
            .with(|reader| {
                reader.checkpoint()?;
                begun.send(()).unwrap();
                ends.recv().unwrap();
                reader.counts()
            })
            .unwrap()
    });
    begins.recv().unwrap();
    assert!(matches!(table.writer.erase().unwrap(), Erased::HeldBack(HeldBy::OwnRead(_))));
    end.send(()).unwrap();
    assert_eq!(reading.join().unwrap().forgotten, 1);
    assert_eq!(table.writer.erase().unwrap(), Erased::Done);
}

#[test]
fn one_who_comes_and_is_forgotten_in_one_commit_is_written_nowhere() {
    let mut table = Table::new();
    table.put(&[1], 0, &mut Random(1));
    let value = wire::encode(&event(None, person(2, 0, &mut Random(1)), 1));
    let back = wire::encode(&event(Some(user(3, "a")), person(3, 0, &mut Random(1)), 200));
    let marker = |table: &Table, id: i64| {
        let headers = headers::for_forgotten(user_id(id), at(100)).into_iter();
        table.record(id, None, headers.map(|(name, value)| (name.to_owned(), value.into())).collect())
    };
    let records = vec![
        table.record(2, Some(value), Vec::new()),
        marker(&table, 2),
        marker(&table, 3),
        table.record(3, Some(back), Vec::new()),
    ];
    table.commit(records);
    assert_eq!((table.left(&[1, 2, 3]), table.erased_up_to()), (vec![1, 3], table.next));
}
