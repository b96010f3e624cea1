//! Verifies a log: reads all of it and tells where it is not what Rollcall promises.
//!
//! | finding | what it means |
//! | --- | --- |
//! | dirty | the last record of a key is not its newest: compaction would bring back an older state, or one that nobody can read |
//! | gap | an event was built on a state that no event gave: a delivery was missed |
//! | unreadable | a record is no user event |
//! | misplaced | a key is on another partition than its murmur2 says: consumers that join by key will not find it |
//! | setting | a topic is not set as the contract says |
//!
//! Safe on a live system: nothing is written, and the ends of the partitions are fixed when it begins. A key that is dirty then
//! may be in the keeper's hands at that moment, so it is looked at again until it is clean or the time to settle is over.
//!
//! Everything here blocks; call it off the runtime.

mod gaps;

mod partition;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::fold::RecordHead;
use domain::topics::{Names, Spec};
use domain::{Position, UserId};
use kafka::ClientOptions;
use kafka::scan::{self, Range};
use kafka::topics::Finding as Setting;

use gaps::{Late, Suspect};
use partition::Partition;

/// What to verify, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub kafka: ClientOptions,
    pub topics: Names,
    /// Threads that read; each has a connection of its own.
    pub threads: usize,
    /// How long a dirty key may take to become clean.
    pub settle: Duration,
    /// Keep the value of every winning record, to compare it with what is expected.
    pub keep_winners: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub records: u64,
    /// Users that are there.
    pub users: u64,
    /// Users whose newest record is a tombstone.
    pub forgotten: u64,
    /// Records that the keeper appended.
    pub reasserted: u64,
    pub dirty: Found<Dirty>,
    pub gaps: Found<Gap>,
    pub unreadable: Found<Unreadable>,
    pub misplaced: Found<Misplaced>,
    pub settings: Vec<Setting>,
    /// The newest record of each user, where they were to be kept.
    pub winners: BTreeMap<UserId, Winner>,
}

/// How many there are, and the first of them.
#[derive(Clone, Debug)]
pub struct Found<T> {
    pub count: u64,
    pub examples: Vec<T>,
}

/// So many of each kind are told one by one; of the rest, the number.
pub const EXAMPLES_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirty {
    pub user_id: UserId,
    pub newest: Position,
    pub last: Position,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub user_id: UserId,
    /// The event whose predecessor is missing.
    pub position: Position,
    /// Fields that the missing events changed.
    pub fields: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub position: Position,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    pub user_id: UserId,
    pub position: Position,
    pub partition: i32,
}

/// The newest record of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct Winner {
    pub head: RecordHead,
    pub position: Position,
    /// The Avro value; empty for a tombstone.
    pub value: Vec<u8>,
}

/// How long the cluster may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often a dirty key is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Reads the log and returns what was found; `progress` is told the offsets passed and their number, again and again.
///
/// # Errors
/// When the log cannot be read; a log that can be read and is wrong is a report.
pub fn verify(options: &Options, progress: impl Fn(u64, u64) + Sync) -> Result<Report, scan::Error> {
    let Options { kafka, topics, .. } = options;
    let ranges = scan::ranges(kafka, &topics.users, SILENCE_MAX)?;
    let count = i32::try_from(ranges.len()).unwrap_or(i32::MAX);
    let mut partitions: BTreeMap<i32, Partition> = ranges
        .iter()
        .map(|range| (range.partition, Partition::new(range.partition, count, options.keep_winners)))
        .collect();
    read(options, &ranges, &mut partitions, &progress)?;
    settle(options, &mut partitions)?;

    let mut report = Report::default();
    let (mut suspects, mut late): (Vec<Suspect>, Late) = Default::default();
    for partition in partitions.into_values() {
        partition.report(&mut report, &mut suspects, &mut late);
    }
    report.gaps = gaps::confirm(options, suspects, late)?;
    Ok(report)
}

/// Returns where the topics are not set as the contract says, and as a [`Severity::Note`](kafka::topics::Severity::Note) where
/// the broker does not tell.
///
/// # Errors
/// As [`kafka::topics::check`].
pub async fn check_settings(kafka: &ClientOptions, topics: &Names) -> Result<Vec<Setting>, kafka::topics::Error> {
    let specs = Spec::contract(topics, 1, 1);
    kafka::topics::check(kafka, &specs, SILENCE_MAX).await
}

impl Report {
    /// Returns whether there is nothing to complain of.
    pub fn is_clean(&self) -> bool {
        let counts = [self.dirty.count, self.gaps.count, self.unreadable.count, self.misplaced.count];
        counts.iter().all(|count| *count == 0) && self.settings.is_empty()
    }
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { count: 0, examples: Vec::new() }
    }
}

impl<T> Found<T> {
    fn push(&mut self, example: T) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }
}

/// Reads `ranges` into their partitions, the work shared between threads.
fn read(
    options: &Options,
    ranges: &[Range],
    partitions: &mut BTreeMap<i32, Partition>,
    progress: &(impl Fn(u64, u64) + Sync),
) -> Result<(), scan::Error> {
    let length = |range: &Range| u64::try_from(range.end - range.start).unwrap_or_default();
    let (done, total) = (AtomicU64::new(0), ranges.iter().map(length).sum());
    let mut shares: Vec<(Vec<Range>, BTreeMap<i32, Partition>)> = scan::share(ranges.to_vec(), options.threads)
        .into_iter()
        .map(|share| {
            let own = share.iter().filter_map(|range| partitions.remove_entry(&range.partition)).collect();
            (share, own)
        })
        .collect();
    let results: Vec<Result<(), scan::Error>> = std::thread::scope(|scope| {
        let readers: Vec<_> = shares
            .iter_mut()
            .map(|(share, own)| {
                let done = &done;
                scope.spawn(move || {
                    let scanned = scan::scan(&options.kafka, &options.topics.users, share, SILENCE_MAX, |record| {
                        if let Some(partition) = own.get_mut(&record.position().partition) {
                            partition.read(record);
                        }
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                        ControlFlow::Continue(())
                    });
                    scanned.map(drop)
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader does not panic")).collect()
    });
    partitions.extend(shares.into_iter().flat_map(|(_, own)| own));
    results.into_iter().collect()
}

/// Reads on until no key is dirty, or the time is over.
fn settle(options: &Options, partitions: &mut BTreeMap<i32, Partition>) -> Result<(), scan::Error> {
    let mut waited = Duration::ZERO;
    while waited < options.settle && partitions.values().any(Partition::is_dirty) {
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
