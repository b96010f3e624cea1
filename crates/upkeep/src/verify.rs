//! Verifies a log: reads all of it and reports every deviation from Rollcall's guarantees.
//!
//! | finding | meaning |
//! | --- | --- |
//! | dirty | the last record of a key does not yield its state: compaction would keep another one |
//! | gap | an event was built on a state that no event gave: a delivery is missing. A fault for a while after it is lost |
//! | unreadable | a record has broken bytes |
//! | unknown | a record has a framing, a schema or a type of event that this build does not know |
//! | stateless | no record of a user can be read |
//! | outdated | a user ends in unknown records: a later build may know another state |
//! | overdue | a tombstone was not renewed for half of its time: once it expires, an older event brings the user back |
//! | ahead | all that is known of a user is an event that occurred after its own receipt: a clock is wrong |
//! | misplaced | a key is on another partition than its murmur2 says: consumers that join by key will not find it |
//! | behind | the last record of a user on the state topic is not the user's state |
//! | setting | a topic is not set as the contract says |
//!
//! Safe on a live system: it writes nothing, and it fixes the ends of the partitions when it starts. The keeper may be
//! about to repair a dirty key, so a dirty key is checked again until it is clean or the time to settle is over.
//!
//! Everything here blocks; call it off the runtime.

mod gaps;

mod partition;

mod report;

mod state;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::roll::Reading;
use domain::topics::{Names, Spec};
use domain::{Checkpoint, TopicId, UnixMillis};
use kafka::ClientOptions;
use kafka::scan::{self, Range};
use kafka::topics::Finding as Setting;

use service::registry::Schemas;

use crate::reader::{Error, Reader};
use crate::{Retention, SILENCE_MAX};
use gaps::Suspects;
use partition::Partition;
use report::Key;
pub use report::{
    Ahead, Behind, Dirty, EXAMPLES_MAX, Found, Gap, Gaps, Misplaced, Outdated, Overdue, Report, Stateless, Unreadable,
    Winner,
};

/// The cluster, the topics, and how to verify them.
#[derive(Clone, Debug)]
pub struct Options {
    pub kafka: ClientOptions,
    pub topics: Names,
    /// The schemas that records name by ids.
    pub schemas: Schemas,
    /// The number of threads that read. Each has its own connection.
    pub threads: usize,
    /// The time that a dirty key has to become clean.
    pub settle: Duration,
    /// The time at which the log is judged.
    pub now: UnixMillis,
    /// How long a lost gap is a fault, from the moment at which it became lost. An older one is counted.
    pub since: Duration,
    /// The times of the topic of users, by which a tombstone is overdue ([`topic`]).
    pub retention: Retention,
    /// Keep the value of every winning record, to compare it with an expected state.
    pub keep_winners: bool,
}

/// The interval of checks of a dirty key.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Reads the log and returns the findings. Calls `progress` repeatedly with the number of offsets passed and their
/// total.
///
/// # Errors
/// When the log cannot be read. A readable log with faults gives a report.
pub fn verify(options: &Options, progress: impl Fn(u64, u64) + Sync) -> Result<Report, Error> {
    let ranges = scan::ranges(&options.kafka, &options.topics.users, SILENCE_MAX)?;
    let count = i32::try_from(ranges.len()).unwrap_or(i32::MAX);
    let mut partitions: BTreeMap<i32, Partition> = ranges
        .iter()
        .map(|range| (range.partition, Partition::new(range.partition, count, options.keep_winners)))
        .collect();
    read(options, &ranges, &mut partitions, &progress)?;
    settle(options, &mut partitions)?;

    let mut report = Report::default();
    let mut suspects = Suspects::default();
    let mut keys = BTreeMap::new();
    let next_offsets = partitions.iter().map(|(number, partition)| (*number, partition.next_offset()));
    report.read = Checkpoint::from_next_offsets(next_offsets);
    for partition in partitions.into_values() {
        partition.report(&mut report, &mut suspects, &mut keys);
    }
    report.behind = state::behind(options, &keys, &report.read, count)?;
    for (user_id, key) in keys {
        report.note_key(user_id, &key, options);
        if let (Key::Known(key), Some(winner)) = (key, report.winners.get_mut(&user_id)) {
            winner.roll = key.roll;
        }
    }
    report.gaps = gaps::confirm(options, suspects)?;
    Ok(report)
}

/// Calls `each` for the readable records from `read` up to the present end of the log, and moves `read` there.
///
/// # Errors
/// When the log cannot be read.
pub fn read_on(options: &Options, read: &mut Checkpoint, mut each: impl FnMut(&Reading<'_>)) -> Result<(), Error> {
    let Options { kafka, topics, schemas, .. } = options;
    let ranges: Vec<Range> = scan::ranges(kafka, &topics.users, SILENCE_MAX)?
        .into_iter()
        .map(|range| Range { start: read.next(range.partition).unwrap_or(0).max(range.start), ..range })
        .collect();
    let mut reader = Reader::new(schemas);
    let scanned = scan::scan(kafka, &topics.users, &ranges, SILENCE_MAX, |record| {
        reader.take(|schemas, ids| {
            schemas.read(ids, || true, |ids| record.read_with(ids, |reading, _| each(reading))).map(drop)
        })
    });
    reader.end(scanned)?;
    ranges.iter().for_each(|range| read.reach(range.partition, range.end));
    Ok(())
}

/// Returns the deviations of the topics from the contract. Where the broker does not describe a setting, the finding is
/// a [`Severity::Note`](kafka::topics::Severity::Note).
///
/// # Errors
/// As [`kafka::topics::check`].
pub async fn check_settings(kafka: &ClientOptions, topics: &Names) -> Result<Vec<Setting>, kafka::topics::Error> {
    let specs = Spec::contract(topics, 1, 1);
    kafka::topics::check(kafka, &specs, SILENCE_MAX).await
}

/// Returns the topic of users as the cluster describes it: its id, and its times ([`Options::retention`]).
///
/// # Errors
/// As [`kafka::topics::describe`].
pub async fn topic(kafka: &ClientOptions, topics: &Names) -> Result<(TopicId, Retention), kafka::topics::Error> {
    let description = kafka::topics::describe(kafka, &topics.users, SILENCE_MAX).await?;
    Ok((description.log.topic, Retention::of(description.settings.as_ref())))
}

/// Reads `ranges` into their partitions, distributed among threads.
fn read(
    options: &Options,
    ranges: &[Range],
    partitions: &mut BTreeMap<i32, Partition>,
    progress: &(impl Fn(u64, u64) + Sync),
) -> Result<(), Error> {
    let length = |range: &Range| u64::try_from(range.end - range.start).unwrap_or_default();
    let (done, total) = (AtomicU64::new(0), ranges.iter().map(length).sum());
    let mut shares: Vec<(Vec<Range>, BTreeMap<i32, Partition>)> = scan::share(ranges.to_vec(), options.threads)
        .into_iter()
        .map(|share| {
            let own = share.iter().filter_map(|range| partitions.remove_entry(&range.partition)).collect();
            (share, own)
        })
        .collect();
    let results: Vec<Result<(), Error>> = std::thread::scope(|scope| {
        let readers: Vec<_> = shares
            .iter_mut()
            .map(|(share, own)| {
                let done = &done;
                scope.spawn(move || {
                    let mut reader = Reader::new(&options.schemas);
                    let scanned = scan::scan(&options.kafka, &options.topics.users, share, SILENCE_MAX, |record| {
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                        match own.get_mut(&record.position().partition) {
                            Some(partition) => reader.take(|schemas, ids| partition.read(record, schemas, ids)),
                            None => ControlFlow::Continue(()),
                        }
                    });
                    reader.end(scanned)
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader does not panic")).collect()
    });
    partitions.extend(shares.into_iter().flat_map(|(_, own)| own));
    results.into_iter().collect()
}

/// Returns whether a key is dirty: on one partition, and not clean by its records on another.
fn is_dirty(partitions: &BTreeMap<i32, Partition>) -> bool {
    partitions.values().flat_map(Partition::dirty).any(|user_id| {
        let whole = partitions.values().filter_map(|partition| partition.key(user_id)).reduce(Key::join);
        whole.is_some_and(|whole| whole.needs_repair())
    })
}

/// Reads on until no key is dirty, or the time is over.
fn settle(options: &Options, partitions: &mut BTreeMap<i32, Partition>) -> Result<(), Error> {
    let mut waited = Duration::ZERO;
    while waited < options.settle && is_dirty(partitions) {
        std::thread::sleep(LOOK_AGAIN);
        waited += LOOK_AGAIN;
        let more: Vec<Range> = scan::ranges(&options.kafka, &options.topics.users, SILENCE_MAX)?
            .into_iter()
            .filter_map(|range| {
                let start = partitions.get(&range.partition)?.next_offset().max(range.start);
                (start < range.end).then_some(Range { start, ..range })
            })
            .collect();
        read(options, &more, partitions, &|_, _| ())?;
    }
    Ok(())
}
