//! How much the store writes for an event. The users of a large call centre change at random places of the table, so
//! that each event writes a page of its user; what else it writes is to be shared with others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;

use domain::{Position, User, UserEvent, wire};
use kafka::Record;
use projector::store::{LogBatch, StoreMeta, Writer};
use tempfile::TempDir;
use testkit::event::{at, log_id, user};

const USERS: i64 = 8_000;
/// Spreads neighbours: a prime.
const SCATTER: i64 = 2_654_435_761;
const PARTITIONS: i64 = 12;
/// How many events share a commit at some 700 a second.
const PER_COMMIT: i64 = 10;
const COMMITS: i64 = 300;
/// The most bytes in the write-ahead log for each event: the page of its user, and about as much for all the rest.
const BYTES_PER_EVENT_MAX: u64 = 9 * 1024;

struct Table {
    dir: TempDir,
    writer: Writer,
    next: BTreeMap<i64, i64>,
    events: i64,
}

impl Table {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::create(&dir.path().join("users.1.db"), &StoreMeta::new("t", &log_id(), at(1))).unwrap();
        Self { dir, writer, next: BTreeMap::new(), events: 0 }
    }

    /// Commits the next events, each of another user.
    fn commit(&mut self, count: i64) {
        let events = self.events..self.events + count;
        let records = events.map(|nth| self.record(&event(nth))).collect();
        self.writer.commit(&LogBatch { records, ..LogBatch::default() }, at(2)).unwrap();
        self.events += count;
    }

    fn record(&mut self, event: &UserEvent) -> Record {
        let id = event.user_id.get();
        let partition = id % PARTITIONS;
        let next = self.next.entry(partition).or_default();
        let position = Position { partition: i32::try_from(partition).unwrap(), offset: *next };
        *next += 1;
        let (key, value) = (Some(id.to_string().into_bytes()), Some(wire::encode(event)));
        Record { position, leader_epoch: Some(1), timestamp: at(2), key, value, headers: Vec::new() }
    }

    /// Returns how many bytes there are in the write-ahead log.
    fn log_bytes(&self) -> u64 {
        fs::metadata(self.dir.path().join("users.1.db-wal")).unwrap().len()
    }
}

/// Returns the event of a number: each time round the next one of each user, in a field by which nobody is searched.
fn event(nth: i64) -> UserEvent {
    let (id, round) = (nth % USERS * SCATTER % USERS, nth / USERS);
    let state = |round: i64| User { hourly: Some(round), ..user(id, "Somebody") };
    testkit::event::event((round > 0).then(|| state(round - 1)), state(round), 10 + round)
}

#[test]
fn an_event_writes_the_page_of_its_user_and_little_else() {
    let mut table = Table::new();
    (0..USERS).step_by(1_000).for_each(|_| table.commit(1_000));
    let before = table.log_bytes();
    (0..COMMITS).for_each(|_| table.commit(PER_COMMIT));
    let written = (table.log_bytes() - before) / (COMMITS * PER_COMMIT).unsigned_abs();
    assert!(written <= BYTES_PER_EVENT_MAX, "{written} bytes for an event");
}
