//! The history of a user in the store: its limits, and what is left of it when the user is forgotten.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use domain::{Position, UnixMillis, UserEvent, headers, wire};
use kafka::Record;
use projector::store::{Erased, HISTORY_MAX, LogBatch, PassedKind, StoreMeta, UserHistory, Writer};
use rusqlite::Connection;
use tempfile::TempDir;
use testkit::event::{at, changed, created, user_id};

/// The changes that are kept, and by how many there may be more.
const KEPT_MAX: i64 = 110_000;
/// What no other byte of a store has.
const MARK: &str = "zqMARKzq";

struct Table {
    dir: TempDir,
    writer: Writer,
    next: i64,
}

impl Table {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let meta = StoreMeta::new("t", &testkit::event::log_id(), at(1));
        Self { writer: Writer::create(&dir.path().join("users.1.db"), &meta).unwrap(), dir, next: 0 }
    }

    fn commit(&mut self, values: Vec<(i64, Option<Vec<u8>>)>, as_of: UnixMillis) {
        let records = values.into_iter().map(|(id, value)| {
            let position = Position { partition: 0, offset: self.next };
            self.next += 1;
            let headers = match &value {
                Some(_) => Vec::new(),
                None => headers::for_forgotten(user_id(id), as_of),
            };
            let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            let key = Some(id.to_string().into_bytes());
            Record { position, leader_epoch: None, timestamp: as_of, key, value, headers }
        });
        let records = records.collect();
        self.writer.commit(&LogBatch { records, ..LogBatch::default() }, as_of).unwrap();
    }

    fn events(&mut self, events: &[UserEvent], as_of: UnixMillis) {
        let value = |event: &UserEvent| (event.user_id.get(), Some(wire::encode(event)));
        self.commit(events.iter().map(value).collect(), as_of);
    }

    fn history(&self, id: i64) -> UserHistory {
        self.writer.readers().with(|reader| reader.history(user_id(id))).unwrap().1
    }
}

#[test]
fn the_newest_entries_are_told_and_the_state_before_them() {
    let mut table = Table::new();
    let all = i64::try_from(HISTORY_MAX).unwrap() + 20;
    let events: Vec<UserEvent> =
        (1..=all).map(|number| changed(1, &format!("n{}", number - 1), &format!("n{number}"), number)).collect();
    table.events(&events, at(200));
    let history = table.history(1);
    assert_eq!((history.rows.len(), history.has_more), (HISTORY_MAX, true));
    assert_eq!(history.rows[0].position.offset, all - 1);
    assert_eq!(history.held, Some(wire::encode(&events[19])), "what the oldest of them is compared with");
    assert_eq!((history.since, history.is_trimmed), (at(1), false));
}

#[test]
fn a_history_that_is_cut_says_since_when_it_is_whole() {
    let mut table = Table::new();
    table.events(&[created(1, "a", 10)], at(10));
    // Others change so often that the first change of the user is no longer kept.
    let others = Connection::open(table.writer.path()).unwrap();
    others
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
             INSERT INTO changes (partition, offset, user_id, kind, seen_at, before) \
             SELECT 1, i, 2, 0, ?2 + i, 0 FROM n",
            [KEPT_MAX, at(20).millis()],
        )
        .unwrap();
    drop(others);
    assert!(!table.history(1).is_trimmed);
    table.events(&[changed(1, "a", "b", 500)], at(500));
    let history = table.history(1);
    assert_eq!((history.rows.len(), history.held, history.is_trimmed), (1, None, true));
    // Of 110,002 the newest 100,000 are kept: the 10,002nd was the last to go, and the first was the user's.
    assert_eq!(history.since.millis(), at(20).millis() + 10_001);
}

#[test]
fn deliveries_that_changed_nothing_are_erased_with_the_user() {
    let mut table = Table::new();
    let name = |text: &str| format!("{text} {MARK}");
    let newest = changed(1, &name("b"), &name("c"), 30);
    table.events(&[created(2, "other", 10), changed(1, "x", &name("b"), 20), newest.clone()], at(30));
    table.events(&[newest.clone(), changed(1, &name("late"), &name("a"), 5)], at(40));
    let kinds: Vec<Option<PassedKind>> = table.history(1).rows.iter().map(|row| row.passed).collect();
    assert_eq!(kinds, [Some(PassedKind::Late), Some(PassedKind::Repeated), None, None]);
    // Within one commit too: what comes before the marker is written nowhere.
    let late = wire::encode(&changed(1, &name("later"), &name("a"), 6));
    table.commit(vec![(1, Some(late)), (1, None)], at(100));
    assert!(table.history(1).rows.iter().all(|row| row.event.is_none()));
    assert_eq!(table.writer.erase().unwrap(), Erased::Done);
    for file in fs::read_dir(table.dir.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes());
        assert!(!found, "{} has a former state", path.display());
    }
    assert_eq!(table.history(2).rows.len(), 1);
    // Nor does what comes late after it, or again.
    table.events(&[newest], at(110));
    assert!(table.history(1).rows.iter().all(|row| row.event.is_none()));
}

#[test]
fn a_history_is_whole_where_only_a_part_of_the_changes_is_indexed() {
    let mut table = Table::new();
    // Ten times as many changes as are left without an index at most, and some more.
    for round in 0..41 {
        table.events(&[changed(1, &format!("{round}"), &format!("{}", round + 1), 10 + round)], at(10 + round));
        let others: Vec<UserEvent> = (0..512).map(|nth| created(1_000 + round * 512 + nth, "other", 10)).collect();
        table.events(&others, at(10 + round));
    }
    let connection = Connection::open(table.writer.path()).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let changes = "SELECT count(*) FROM changes WHERE user_id = 1";
    let indexed = "SELECT count(*) FROM changes_of WHERE user_id = 1";
    assert_eq!((count(changes), count(indexed)), (41, 40));
    let seconds: Vec<i64> = table.history(1).rows.iter().map(|row| row.position.offset / 513).collect();
    assert_eq!(seconds, (0..41).rev().collect::<Vec<_>>());
    let of_two = table.writer.readers().with(|reader| reader.kept_of(&[user_id(1), user_id(1_600)], 0, 100)).unwrap();
    assert_eq!(of_two.changes.len(), 42);
    let plan = "EXPLAIN QUERY PLAN SELECT event FROM changes WHERE seq IN \
                (SELECT seq FROM user_changes WHERE user_id = 1)";
    let mut plan = connection.prepare(plan).unwrap();
    let steps: Vec<String> = plan.query_map([], |row| row.get(3)).unwrap().collect::<rusqlite::Result<_>>().unwrap();
    assert!(!steps.iter().any(|step| step.starts_with("SCAN changes")), "{steps:?}");

    table.commit(vec![(1, None)], at(100));
    assert_eq!((count(changes), count(indexed)), (1, 0), "the marker is left");
    assert_eq!(table.history(1).rows.len(), 1);
}
