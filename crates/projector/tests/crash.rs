//! The store under crashes: whatever the moment, what is there afterwards is the fold of the log up to its checkpoint.
//!
//! A crash is a copy of the files as they are between two steps, the write-ahead log cut at any byte, as a machine that
//! loses its power leaves it. The seed is in every message: `CRASH_SEED=17 cargo test -p rollcall-projector --test
//! crash`.
#![expect(clippy::disallowed_methods, reason = "a seed to replay is given in the environment")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod history;

use std::fs;
use std::path::{Path, PathBuf};

use domain::UnixMillis;
use history::{assert_is_fold, records};
use kafka::Record;
use projector::store::{LogBatch, StoreMeta, StoreReader, Writer};
use testkit::random::Random;

const SEEDS: u64 = 24;
const RECORDS: usize = 250;

#[test]
fn after_a_crash_at_any_moment_the_table_is_the_fold_of_its_log() {
    let seeds = match std::env::var("CRASH_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..SEEDS).collect::<Vec<u64>>(),
    };
    for seed in seeds {
        survive(seed);
    }
}

fn survive(seed: u64) {
    let mut random = Random(seed);
    let log = records(&mut random, RECORDS);
    let dir = tempfile::tempdir().unwrap();
    let (mut path, mut crashes) = (dir.path().join("0.db"), 0);
    let mut writer =
        Writer::create(&path, &StoreMeta::new("t", &testkit::event::log_id(), UnixMillis::from_millis(0))).unwrap();
    loop {
        let why = format!("seed {seed}, crash {crashes}");
        assert_is_fold(&StoreReader::open(&path).unwrap(), &log, &why);
        let Some(batch) = next_batch(&log, &writer, &mut random) else { break };
        writer.commit(&batch, UnixMillis::from_millis(0)).unwrap();
        match random.below(4) {
            0 => {
                crashes += 1;
                let next = dir.path().join(format!("{crashes}.db"));
                crash(&path, &next, &mut random);
                drop(writer);
                (writer, path) = (Writer::open(&next).unwrap(), next);
            }
            1 => {
                // An orderly stop.
                drop(writer);
                writer = Writer::open(&path).unwrap();
            }
            _ => {}
        }
    }
    let end = writer.checkpoint().clone();
    assert!(log.iter().all(|record| end.covers(record.position)), "seed {seed}: {end}");
    assert_is_fold(&StoreReader::open(&path).unwrap(), &log, &format!("seed {seed}, at the end"));
}

/// The records after the writer's own checkpoint, as many as come at once; some that it has seen before them.
fn next_batch(log: &[Record], writer: &Writer, random: &mut Random) -> Option<LogBatch> {
    let first = log.iter().position(|record| !writer.checkpoint().covers(record.position))?;
    let again = usize::try_from(random.below(3)).unwrap().min(first);
    let count = usize::try_from(1 + random.below(20)).unwrap();
    let records = log.iter().skip(first - again).take(again + count).cloned().collect();
    Some(LogBatch { records, ..LogBatch::default() })
}

/// Copies the files of a store that is in use, and cuts the write-ahead log somewhere.
fn crash(from: &Path, to: &Path, random: &mut Random) {
    let wal = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    fs::copy(from, to).unwrap();
    let mut log = fs::read(wal(from)).unwrap();
    let kept = random.below(log.len() as u64 + 1);
    log.truncate(usize::try_from(kept).unwrap());
    if random.below(2) == 0
        && let Some(byte) = log.last_mut()
    {
        // A page half written.
        *byte ^= 0x55;
    }
    fs::write(wal(to), log).unwrap();
}
