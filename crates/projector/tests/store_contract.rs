//! What the store promises, whoever writes and whoever reads.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use domain::{UnixMillis, UserId, wire};
use history::{assert_is_fold, changed, records};
use projector::store::{
    Change, Commit, Effects, Error, HeldBy, LogBatch, Lookup, StoreMeta, StoreReader, UserFilter, Writer,
};
use rusqlite::Connection;
use tempfile::TempDir;
use testkit::random::Random;

fn meta() -> StoreMeta {
    StoreMeta::new("vcc.users", &testkit::event::log_id(), UnixMillis::from_millis(5))
}

fn store() -> (TempDir, Writer) {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::create(&dir.path().join("users.1.db"), &meta()).unwrap();
    (dir, writer)
}

fn batch(seed: u64, count: usize) -> LogBatch {
    LogBatch { records: records(&mut Random(seed), count), ..LogBatch::default() }
}

const LATER: UnixMillis = UnixMillis::from_millis(10);

#[test]
fn state_and_checkpoint_change_together() {
    let (_dir, mut writer) = store();
    let batch = batch(1, 100);
    let before = StoreReader::open(writer.path()).unwrap();
    let commit = writer.commit(&batch, LATER).unwrap();
    assert_eq!(&commit.checkpoint, writer.checkpoint());
    assert_eq!(before.checkpoint().unwrap(), commit.checkpoint);
    assert_is_fold(&before, &batch.records, "one commit");
    assert_eq!(before.meta().unwrap().committed_at, LATER);
}

#[test]
fn a_batch_again_changes_nothing() {
    let (_dir, mut writer) = store();
    let batch = batch(2, 100);
    let first = writer.commit(&batch, LATER).unwrap();
    let again = writer.commit(&batch, LATER).unwrap();
    assert!(!first.changes.is_empty() && again.changes.is_empty());
    assert_eq!(again.unreadable.len() + usize::try_from(again.effects.newer).unwrap(), 0);
    assert_is_fold(&StoreReader::open(writer.path()).unwrap(), &batch.records, "twice");
}

#[test]
fn the_size_of_batches_does_not_matter() {
    let (_dir, mut whole) = store();
    let (_other, mut single) = store();
    let batch = batch(3, 300);
    whole.commit(&batch, LATER).unwrap();
    for record in &batch.records {
        single.commit(&LogBatch { records: vec![record.clone()], ..LogBatch::default() }, LATER).unwrap();
    }
    let (whole, single) = (StoreReader::open(whole.path()).unwrap(), StoreReader::open(single.path()).unwrap());
    let all = |reader: &StoreReader| reader.find(&UserFilter::default(), None, 1_000).unwrap();
    assert_eq!(all(&whole), all(&single), "gaps included");
    assert!(!whole.gaps(100).unwrap().is_empty(), "this history has gaps");
    assert_eq!(whole.gaps(100).unwrap(), single.gaps(100).unwrap());
    assert_eq!(whole.unreadable(100).unwrap(), single.unreadable(100).unwrap());
}

#[test]
fn every_change_is_kept_in_order_under_a_number_of_its_own() {
    let (_dir, mut writer) = store();
    let batch = batch(4, 200);
    let mut kept: Vec<Change> = Vec::new();
    let mut numbers = BTreeMap::new();
    let reader = StoreReader::open(writer.path()).unwrap();
    for records in batch.records.chunks(7) {
        let commit = writer.commit(&LogBatch { records: records.to_vec(), ..LogBatch::default() }, LATER).unwrap();
        for change in commit.changes {
            if change.forgotten_at.is_some() {
                kept.retain(|former| former.user_id != change.user_id);
            }
            kept.push(change);
        }
        for (number, position) in reader.kept_places(0).unwrap().places {
            assert_eq!(*numbers.entry(number).or_insert(position), position, "a number is of one change for ever");
        }
    }
    let told = |changes: &[Change]| -> Vec<_> {
        changes.iter().map(|change| (change.position, change.event.clone(), change.before.clone())).collect()
    };
    let all = reader.kept(0, i64::MAX).unwrap().changes;
    assert_eq!(told(&all), told(&kept), "of those who were forgotten, nothing before");
    let (mut pieces, mut begin, mut end) = (Vec::new(), 0, None);
    while end.is_none() {
        let piece = reader.kept(begin, begin + 5).unwrap();
        pieces.extend(piece.changes);
        (begin, end) = (piece.next, piece.end);
    }
    assert_eq!((told(&pieces), end.as_ref()), (told(&kept), Some(writer.checkpoint())));
    for user in kept.iter().map(|change| change.user_id).collect::<BTreeSet<_>>() {
        let (mut of_user, mut begin) = (Vec::new(), 0);
        loop {
            let step = reader.kept_of(&[user], begin, 2).unwrap();
            of_user.extend(step.changes);
            begin = step.next;
            if step.end.is_some() {
                break;
            }
        }
        let expected: Vec<Change> = kept.iter().filter(|change| change.user_id == user).cloned().collect();
        assert_eq!(told(&of_user), told(&expected), "{user}");
    }
}

/// What the vendor's clock of one second is told by: each of these once ended elsewhere, for ever. In the last, an
/// event that lost wins by the one that comes after it.
#[test]
fn ties_of_one_second_end_where_the_sender_ended_wherever_the_store_is_opened_again() {
    for (deliveries, end) in [
        ("A>B B>C C>D A>B", "D"),
        ("A>B B>A", "A"),
        ("C>D B>C A>B", "D"),
        ("A>B B>A A>B", "A"),
        ("B>C A>B C>D B>C A>B", "D"),
        ("A>B C>D D>A", "B"),
    ] {
        let log = changed(deliveries);
        for opened in 0..log.len() {
            let (_dir, mut writer) = store();
            let mut winner = None;
            for (index, record) in log.iter().enumerate() {
                if index == opened {
                    let path = writer.path().to_owned();
                    drop(writer);
                    writer = Writer::open(&path).unwrap();
                }
                let why = format!("{deliveries}, opened again before {opened}, at {index}");
                let commit =
                    writer.commit(&LogBatch { records: vec![record.clone()], ..LogBatch::default() }, LATER).unwrap();
                let reader = StoreReader::open(writer.path()).unwrap();
                assert_is_fold(&reader, &log, &why);
                let Lookup::Found(user) = reader.get(UserId::new(1).unwrap()).unwrap() else { panic!("{why}") };
                let wins = wire::decode_head(&user.event).unwrap().event_id;
                let told: Vec<_> =
                    commit.changes.iter().map(|change| (change.position, change.event.as_deref())).collect();
                let expected = (winner != Some(wins)).then_some((record.position, Some(user.event.as_slice())));
                assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{why}");
                winner = Some(wins);
                if index + 1 == log.len() {
                    assert_eq!(wire::decode(&user.event).unwrap().new.name.as_deref(), Some(end), "{why}");
                }
            }
        }
    }
}

#[test]
fn every_effect_is_counted() {
    let (_dir, mut writer) = store();
    let Commit { effects, unreadable, .. } = writer.commit(&batch(12, 2_000), LATER).unwrap();
    let Effects { newer, tied, duplicate, stale, forgotten, unreadable: broken, unknown } = effects;
    let all = [newer, tied, duplicate, stale, forgotten, broken, unknown];
    assert!(all.iter().all(|count| *count > 0), "{effects:?}");
    assert_eq!(broken + unknown, unreadable.len() as u64);
}

#[test]
fn an_end_moves_the_checkpoint_over_what_compaction_removed() {
    let (_dir, mut writer) = store();
    writer.commit(&LogBatch { ends: vec![(0, 17), (1, 0)], ..LogBatch::default() }, LATER).unwrap();
    assert_eq!(StoreReader::open(writer.path()).unwrap().checkpoint().unwrap().to_string(), "0:17,1:0");
}

#[test]
fn a_reader_cannot_write_and_sees_one_moment() {
    let (_dir, mut writer) = store();
    let outside = Connection::open_with_flags(writer.path(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    assert!(outside.execute("DELETE FROM users", []).is_err());
    outside.execute_batch("BEGIN; SELECT count(*) FROM users").unwrap();
    writer.commit(&batch(5, 50), LATER).unwrap();
    let count = |connection: &Connection| -> i64 {
        connection.query_row("SELECT count(*) FROM users", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&outside), 0, "a snapshot stays what it was");
    outside.execute_batch("COMMIT").unwrap();
    assert!(count(&outside) > 0);
}

#[test]
fn a_kept_snapshot_ends_with_the_next_commit() {
    let (_dir, mut writer) = store();
    let readers = Arc::clone(writer.readers());
    let batch = batch(9, 100);
    let (first, second) = batch.records.split_at(50);
    let before = readers.with(StoreReader::checkpoint).unwrap();
    let commit = readers.with(|slow| {
        assert_eq!(slow.checkpoint()?, before);
        let commit = writer.commit(&LogBatch { records: first.to_vec(), ..LogBatch::default() }, LATER)?;
        assert_eq!(slow.checkpoint()?, before, "one read sees one moment");
        assert_eq!(readers.with(StoreReader::checkpoint)?, commit.checkpoint, "a read that begins later sees more");
        Ok(commit)
    });
    assert_eq!(readers.with(StoreReader::checkpoint).unwrap(), commit.unwrap().checkpoint, "with whichever connection");
    let commit = writer.commit(&LogBatch { records: second.to_vec(), ..LogBatch::default() }, LATER).unwrap();
    // Two at once, so that both connections are asked.
    let both = readers.with(|one| Ok((one.checkpoint()?, readers.with(StoreReader::checkpoint)?))).unwrap();
    assert_eq!(both, (commit.checkpoint.clone(), commit.checkpoint));
}

#[test]
fn readers_that_outlive_their_writer_keep_no_snapshot() {
    let (_dir, writer) = store();
    let readers = Arc::clone(writer.readers());
    assert!(readers.with(StoreReader::checkpoint).unwrap().is_empty());
    let path = writer.path().to_owned();
    drop(writer);
    assert!(readers.with(StoreReader::checkpoint).unwrap().is_empty());
    // Of what another writer does nobody tells them.
    let commit = Writer::open(&path).unwrap().commit(&batch(11, 50), LATER).unwrap();
    assert_eq!(readers.with(StoreReader::checkpoint).unwrap(), commit.checkpoint);
}

/// How large a log is let grow here.
const LOG_BYTES_MAX: u32 = 1 << 20;

#[test]
fn the_write_ahead_log_is_moved_beside_the_commits_whatever_snapshots_are_kept() {
    let (_dir, mut writer) = store();
    writer.limit_log(LOG_BYTES_MAX).unwrap();
    let readers = Arc::clone(writer.readers());
    let (mut largest, many) = (0, batch(10, 12_000));
    for records in many.records.chunks(50) {
        writer.commit(&LogBatch { records: records.to_vec(), ..LogBatch::default() }, LATER).unwrap();
        readers.with(|_| readers.with(StoreReader::checkpoint)).unwrap();
        largest = fs::metadata(writer.path().with_extension("db-wal")).unwrap().len().max(largest);
    }
    // These commits take more than ten times the limit; some of them are made while the log is moved.
    assert!(largest >= u64::from(LOG_BYTES_MAX) && largest < 8 * u64::from(LOG_BYTES_MAX), "{largest}");
    assert_is_fold(&StoreReader::open(writer.path()).unwrap(), &many.records, "moved meanwhile");
}

#[test]
fn a_write_ahead_log_that_another_process_holds_is_told_and_cut_once_it_is_let_go() {
    let (_dir, mut writer) = store();
    writer.limit_log(LOG_BYTES_MAX).unwrap();
    writer.commit(&batch(12, 50), LATER).unwrap();
    let log = writer.path().with_extension("db-wal");
    let log_bytes = || fs::metadata(&log).unwrap().len();
    let outside = Connection::open(writer.path()).unwrap();
    outside.execute_batch("BEGIN; SELECT count(*) FROM users").unwrap();
    let (many, too_large) = (batch(13, 20_000), 2 * u64::from(LOG_BYTES_MAX));
    for records in many.records.chunks(50) {
        assert_eq!(writer.trim_log().unwrap(), None, "{} bytes", log_bytes());
        writer.commit(&LogBatch { records: records.to_vec(), ..LogBatch::default() }, LATER).unwrap();
        if log_bytes() > too_large {
            break;
        }
    }
    let held = log_bytes();
    assert!(held > too_large, "{held} bytes: so many commits do not fill it");
    assert_eq!(writer.trim_log().unwrap(), Some((HeldBy::AnotherProcess, held)));
    outside.execute_batch("COMMIT").unwrap();
    assert_eq!(writer.trim_log().unwrap(), None);
    assert_eq!(log_bytes(), 0);
}

#[test]
fn a_locked_store_is_a_passing_error_and_nothing_is_half_done() {
    let (_dir, mut writer) = store();
    let outside = Connection::open(writer.path()).unwrap();
    outside.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batch = batch(6, 50);
    let error = writer.commit(&batch, LATER).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }) && error.is_transient(), "{error}");
    outside.execute_batch("ROLLBACK").unwrap();
    assert!(writer.checkpoint().is_empty());
    writer.commit(&batch, LATER).unwrap();
    assert_is_fold(&StoreReader::open(writer.path()).unwrap(), &batch.records, "after the lock was let go");
}

#[test]
fn a_full_disk_is_a_passing_error_and_nothing_is_half_done() {
    let (_dir, mut writer) = store();
    // SQLite's own limit of pages stands for the disk's end: it fails with the same code.
    writer.limit_pages(Some(writer.pages().unwrap() + 2)).unwrap();
    let batch = batch(7, 2_000);
    let error = writer.commit(&batch, LATER).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }) && error.is_transient(), "{error}");
    assert_is_fold(&StoreReader::open(writer.path()).unwrap(), &batch.records, "while it is full");
    writer.limit_pages(None).unwrap();
    writer.commit(&batch, LATER).unwrap();
    assert_is_fold(&StoreReader::open(writer.path()).unwrap(), &batch.records, "with room again");
}

#[test]
fn what_is_no_store_is_told_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.1.db");
    fs::write(&path, vec![7; 8192]).unwrap();
    let error = Writer::open(&path).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("--rebuild"), "{error}");
    assert!(StoreReader::open(&path).and_then(|reader| reader.get(UserId::new(1).unwrap())).is_err());
    assert!(StoreReader::open(&dir.path().join("missing.db")).is_err());
}

#[test]
fn a_damaged_page_is_an_error_and_never_an_answer() {
    let (_dir, mut writer) = store();
    let batch = batch(8, 3_000);
    writer.commit(&batch, LATER).unwrap();
    let path = writer.path().to_owned();
    drop(writer);
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(4096) {
        *byte = 0xff;
    }
    fs::write(&path, bytes).unwrap();
    let error = Writer::open(&path).and_then(|mut writer| writer.commit(&batch, LATER)).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn a_read_only_file_is_told_in_a_sentence() {
    let (_dir, writer) = store();
    let path = writer.path().to_owned();
    drop(writer);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    // The superuser may write all the same.
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        return;
    }
    let opened = Writer::open(&path).and_then(|mut writer| writer.commit(&batch(9, 10), LATER));
    assert!(matches!(opened, Err(Error::NotWritable { .. } | Error::NotOpened { .. })));
}
