//! A table that lived through everything equals one that is rebuilt, over random logs: no broker, a seed each.
//!
//! `AGREEMENT_CASES=10000 cargo test -p rollcall-projector agreement` tries more of them than the default.

use domain::{Checkpoint, LeaderEpochs, UnixMillis, UserId};
use kafka::Record;
use rusqlite::Connection;
use rusqlite::types::Value;
use testkit::event::log_id;
use testkit::random::Random;

use super::history::Log;
use super::load::Loader;
use super::progress::Meter;
use super::table::Table;
use crate::store::{LogBatch, StoreMeta, Writer};

const CASES: u64 = 60;
const STEPS: u64 = 120;
const NOW: UnixMillis = UnixMillis::from_millis(0);

/// All that a store says about users. What is told of the log that was read depends on it: `everything` adds that.
const USERS: [&str; 3] = [
    "SELECT user_id, event, username, name, email, extension, state, is_agent, priv_group FROM users ORDER BY 1",
    "SELECT user_id, event_id, event FROM seconds ORDER BY 1, 2",
    "SELECT user_id, forgotten_at FROM forgotten ORDER BY 1",
];
/// Of users who end in unknown records, however these are distributed over the partitions.
const UNKNOWN: &str = "SELECT * FROM unknown ORDER BY user_id, partition";
const LOG: [&str; 6] = [
    "SELECT user_id, partition, winner_offset, gaps FROM users ORDER BY 1",
    "SELECT user_id, event_id, partition, offset FROM seconds ORDER BY 1, 2",
    "SELECT user_id, partition, winner_offset FROM forgotten ORDER BY 1",
    "SELECT * FROM gaps ORDER BY 1, 2, 3",
    "SELECT * FROM late_events ORDER BY user_id, nth",
    "SELECT partition, next_offset FROM checkpoint ORDER BY 1",
];

type Rows = Vec<Vec<Value>>;

struct World {
    random: Random,
    dir: tempfile::TempDir,
    log: Log,
}

impl World {
    fn of(seed: u64, is_widened: bool) -> Self {
        let mut random = Random(seed);
        let mut log = Log { is_widened, ..Log::default() };
        let steps = random.below(STEPS);
        log.grow(&mut random, usize::try_from(steps).unwrap());
        Self { random, dir: tempfile::tempdir().unwrap(), log }
    }

    /// Returns the store of a life: commits of any size, and some restarts.
    fn live(&mut self) -> Connection {
        let path = self.dir.path().join("live.db");
        let mut writer = Writer::create(&path, &StoreMeta::new("t", &log_id(), NOW)).unwrap();
        let mut records = self.log.records.as_slice();
        while !records.is_empty() {
            let count = usize::try_from(1 + self.random.below(8)).unwrap().min(records.len());
            let (now, later) = records.split_at(count);
            writer.commit(&LogBatch { records: now.to_vec(), ..LogBatch::default() }, NOW).unwrap();
            records = later;
            if self.random.below(8) == 0 {
                drop(writer);
                writer = Writer::open(&path).unwrap();
            }
        }
        Connection::open(&path).unwrap()
    }

    /// Returns the store that some threads rebuild from these records.
    fn rebuilt(&mut self, records: &[Record]) -> Connection {
        let path = self.dir.path().join("rebuilt.db");
        let threads = 1 + self.random.below(3);
        let mut tables: Vec<Table> = (0..threads).map(|thread| share(records, thread, threads)).collect();
        let meter = Meter::new(0);
        let mut loader = Loader::create(&path).unwrap();
        loader.load(&mut tables, &meter).unwrap();
        let mut checkpoint = Checkpoint::default();
        records.iter().for_each(|record| checkpoint.advance(record.position, None).unwrap());
        loader.finish(&StoreMeta::new("t", &log_id(), NOW), &checkpoint, &LeaderEpochs::default(), &[]).unwrap();
        Connection::open(&path).unwrap()
    }
}

/// Returns the table of a thread that reads some of the partitions.
fn share(records: &[Record], thread: u64, threads: u64) -> Table {
    let mut table = Table::default();
    for record in records {
        if u64::try_from(record.position.partition).unwrap() % threads != thread {
            continue;
        }
        match record.read() {
            Ok(reading) => table.take(&reading, record.value.as_deref()),
            Err(fault) => table.pass_over(record.position, record.timestamp, &fault),
        }
    }
    table.flush();
    table
}

fn rows(store: &Connection, sql: &str, but: &[UserId]) -> Rows {
    let mut statement = store.prepare(sql).unwrap();
    let columns = statement.column_count();
    let read = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect::<Result<Vec<_>, _>>());
    let rows = read.unwrap().map(Result::unwrap);
    let is_left_out = |row: &Vec<Value>| but.iter().any(|user_id| row[0] == Value::Integer(user_id.get()));
    rows.filter(|row| !is_left_out(row)).collect()
}

fn assert_same(live: &Connection, rebuilt: &Connection, questions: &[&str], but: &[UserId], why: &str) {
    for sql in questions {
        assert_eq!(rows(live, sql, but), rows(rebuilt, sql, but), "{why}: {sql}");
    }
}

#[expect(clippy::disallowed_methods, reason = "how many cases are run is asked of whoever runs them")]
fn cases() -> u64 {
    std::env::var("AGREEMENT_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

#[test]
fn a_rebuilt_table_equals_one_that_lived() {
    let mut ties = 0;
    for seed in 0..cases() {
        let mut world = World::of(seed, false);
        let records = world.log.records.clone();
        let (live, rebuilt) = (world.live(), world.rebuilt(&records));
        assert_same(&live, &rebuilt, &[&USERS[..], &LOG[..], &[UNKNOWN]].concat(), &[], &format!("seed {seed}"));
        ties += rows(&live, USERS[1], &[]).len();
    }
    assert!(ties > 0, "these logs have ties");
}

#[test]
fn users_whose_records_are_on_several_partitions_are_the_same_however_they_are_read() {
    let mut unknown = 0;
    for seed in 0..cases() {
        let mut world = World::of(seed, true);
        let records = world.log.records.clone();
        let (live, rebuilt) = (world.live(), world.rebuilt(&records));
        assert_same(&live, &rebuilt, &[&USERS[..], &[UNKNOWN]].concat(), &[], &format!("seed {seed}"));
        unknown += rows(&live, UNKNOWN, &[]).len();
    }
    assert!(unknown > 0, "users of these logs end in unknown records");
}

#[test]
fn a_log_that_was_repaired_can_be_cut_anywhere() {
    let mut cut_away = 0;
    for seed in 0..cases() {
        let mut world = World::of(seed, seed % 2 == 1);
        let unknown = world.log.come_to_rest(&mut world.random);
        let cut = world.log.cut(&mut world.random);
        cut_away += world.log.records.len() - cut.len();
        let (live, rebuilt) = (world.live(), world.rebuilt(&cut));
        assert_same(&live, &rebuilt, &USERS, &unknown, &format!("seed {seed}"));
    }
    assert!(cut_away > 0, "something was cut away");
}
