//! Reads ranges of offsets as fast as librdkafka can, and stops at their ends.
//!
//! Synchronous and borrowed: a record lives for one call of the callback. To share the work, each thread scans its part
//! of the ranges ([`share`]) with a client of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use domain::roll::{self, Reading, Unread};
use domain::wire::{Ids, Translated};
use domain::{Position, UnixMillis};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{TracingContext, UNJOINED_GROUP};
use crate::native::{Intake, Message, Taken, authorize, topic_name};
use crate::tail::{Verdict, verdict};
use crate::topics::{self, Hold, Watermarks};
use crate::{ClientOptions, Fault, Record, Unavailable};

/// The longest single wait for records.
const POLL: Duration = Duration::from_millis(100);

/// Settings of a scan, unless the operator has set them. With librdkafka's defaults a scan that also processes records
/// stalls: once 100,000 records wait, librdkafka pauses the fetch of a partition for a second, and the scan uses up the
/// records in less time. A short queue also keeps the waiting records in the processor's cache.
const FETCHING: [(&str, &str); 2] = [("fetch.queue.backoff.ms", "1"), ("queued.min.messages", "20000")];

/// A part of a partition: offsets from `start` to `end`, excluding `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub partition: i32,
    pub start: i64,
    pub end: i64,
}

impl From<Watermarks> for Range {
    fn from(log: Watermarks) -> Self {
        Self { partition: log.partition, start: log.low, end: log.high }
    }
}

/// A record in librdkafka's memory.
#[derive(Clone, Copy)]
pub struct Scanned<'a>(Message<'a>);

impl<'a> Scanned<'a> {
    pub fn position(&self) -> Position {
        self.0.position()
    }

    /// Returns the epoch of the leader that appended the record; `None` where the broker does not tell.
    pub fn leader_epoch(&self) -> Option<i32> {
        self.0.leader_epoch()
    }

    pub fn timestamp(&self) -> UnixMillis {
        self.0.timestamp()
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        self.0.key()
    }

    /// Returns the value; `None` is a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.0.value()
    }

    /// Returns the value of the last header with that name: a later header overrides an earlier one.
    ///
    /// librdkafka copies all headers of a record on the first access: about 0.4 µs for the six headers of an event.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.0.header(name)
    }

    /// Reads the record as one of the topic of users, with the schemas of these ids. Passes on what it says and its
    /// value, both translated.
    ///
    /// # Errors
    /// As [`roll::read`].
    pub fn read_with<T>(&self, ids: &Ids, take: impl FnOnce(&Reading<'_>, Option<&[u8]>) -> T) -> Result<T, Unread> {
        let record = Translated::new(ids, self.value());
        let header = |name: &str| record.header(name, |name| self.header(name));
        let reading = roll::read(self.position(), self.key(), record.value(), header, self.timestamp())?;
        Ok(take(&reading, record.value()))
    }

    /// Returns an owned copy.
    pub fn to_record(&self) -> Record {
        Record::copy(self.0)
    }
}

impl fmt::Debug for Scanned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanned").field("position", &self.position()).finish_non_exhaustive()
    }
}

/// The extent of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// Every range was read to its end.
    Complete,
    /// One of the callbacks returned a break.
    Stopped,
}

/// The reason why a scan could not be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The log does not hold a range, or no longer holds the records read below `next_offset`: it was truncated, or
    /// shortened by retention. After a truncation reported by librdkafka, `high` is its offset, and `low` is unknown
    /// and 0.
    #[error("offset {next_offset} of partition {partition} is outside the log, which holds {low} up to {high}")]
    PositionOutsideLog { partition: i32, next_offset: i64, low: i64, high: i64 },
    /// A range could not be read to its end, because a transaction is open before it.
    #[error("the log cannot be read to its end: {0}")]
    HeldBack(Hold),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Error {
    /// Returns whether the same scan can succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::PositionOutsideLog { .. } => false,
            Self::HeldBack(_) => true,
            Self::Unavailable(unavailable) => unavailable.is_transient(),
        }
    }
}

/// Returns the whole log, as it is now, as ranges. They reach to its end, whether or not an open transaction holds back
/// readers.
///
/// # Errors
/// If the topic does not exist or the cluster does not answer in time.
pub fn ranges(options: &ClientOptions, topic: &str, deadline: Duration) -> Result<Vec<Range>, Error> {
    let log = topics::watermarks_of(options, topic, deadline).map_err(Unavailable::from)?;
    Ok(log.into_iter().map(Range::from).collect())
}

/// Distributes ranges among threads: the largest first, each to the thread with the least work.
pub fn share(mut ranges: Vec<Range>, threads: usize) -> Vec<Vec<Range>> {
    let mut shares: Vec<(i64, Vec<Range>)> = vec![(0, Vec::new()); threads.max(1)];
    ranges.sort_by_key(|range| std::cmp::Reverse(range.end - range.start));
    for range in ranges {
        let least = shares.iter_mut().min_by_key(|(load, _)| *load).expect("there is at least one share");
        least.0 += range.end - range.start;
        least.1.push(range);
    }
    shares.into_iter().map(|(_, share)| share).filter(|share| !share.is_empty()).collect()
}

/// Calls `each` for every record of the ranges. Records of one partition come in the order of their offsets.
///
/// # Errors
/// If the log no longer holds a range or does not reach its end, or if for longer than `silence_max` the cluster is
/// silent or an open transaction holds back readers. The callback may have seen some of the records.
pub fn scan(
    options: &ClientOptions,
    topic: &str,
    ranges: &[Range],
    silence_max: Duration,
    each: impl FnMut(&Scanned<'_>) -> ControlFlow<()>,
) -> Result<Coverage, Error> {
    scan_while(options, topic, ranges, silence_max, || true, each)
}

/// Like [`scan`], but stops soon after `goes_on` returns false, even while the cluster is silent.
///
/// # Errors
/// As [`scan`].
pub fn scan_while(
    options: &ClientOptions,
    topic: &str,
    ranges: &[Range],
    silence_max: Duration,
    goes_on: impl Fn() -> bool,
    mut each: impl FnMut(&Scanned<'_>) -> ControlFlow<()>,
) -> Result<Coverage, Error> {
    let mut intake = Intake::new(client(options)?);
    let mut open = Open::begin(&intake, topic, ranges).map_err(Unavailable::from)?;
    let mut silence = Duration::ZERO;
    while !open.ranges.is_empty() {
        if !goes_on() {
            return Ok(Coverage::Stopped);
        }
        let mut heard = false;
        let step = intake.take(POLL, |taken| {
            heard |= open.pass(taken, topic, &mut each)?;
            ControlFlow::Continue(())
        });
        match step {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(Halt::Stopped) => return Ok(Coverage::Stopped),
            ControlFlow::Break(Halt::Failed(error)) => return Err(error),
            ControlFlow::Break(Halt::Check) => {
                let otherwise = Code::OffsetOutOfRange;
                return Err(outside(options, topic, &open.ranges, silence_max, otherwise));
            }
        }
        open.release(intake.consumer(), topic);
        silence = if heard { Duration::ZERO } else { silence + POLL };
        if silence >= silence_max && open.ended_early {
            let otherwise = Code::OperationTimedOut;
            return Err(outside(options, topic, &open.ranges, silence_max, otherwise));
        }
        if silence >= silence_max {
            return Err(Unavailable::Unreachable(Code::OperationTimedOut.into()).into());
        }
    }
    Ok(Coverage::Complete)
}

/// The reason why a scan stops.
enum Halt {
    Stopped,
    /// A range may be outside the log.
    Check,
    Failed(Error),
}

/// The ranges that are still to be read.
struct Open {
    ranges: BTreeMap<i32, Range>,
    /// Partitions that are finished but may still be fetched.
    finished: Vec<i32>,
    /// Whether the log was reported to end before a range does.
    ended_early: bool,
}

impl Open {
    /// Starts fetching every range that is not empty.
    fn begin(intake: &Intake, topic: &str, ranges: &[Range]) -> Result<Self, Fault> {
        let name = topic_name(topic)?;
        let mut open = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        for range in ranges.iter().filter(|range| range.start < range.end) {
            open.insert(range.partition, *range);
            list.add_partition_offset(topic, range.partition, Offset::Offset(range.start))?;
            intake.follow(&name, range.partition);
        }
        intake.consumer().incremental_assign(&list)?;
        Ok(Self { ranges: open, finished: Vec::new(), ended_early: false })
    }

    /// Returns whether the scan made progress.
    fn pass(
        &mut self,
        taken: Taken<'_>,
        topic: &str,
        each: &mut impl FnMut(&Scanned<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<Halt, bool> {
        match taken {
            Taken::Record(message) => {
                let Position { partition, offset } = message.position();
                let Some(range) = self.ranges.get_mut(&partition) else {
                    return ControlFlow::Continue(true);
                };
                // A record beyond the end can arrive because compaction removed those before it.
                if offset < range.end && each(&Scanned(message)).is_break() {
                    return ControlFlow::Break(Halt::Stopped);
                }
                range.start = offset + 1;
                if range.start >= range.end {
                    self.finish(partition);
                }
            }
            // Compaction may have removed the last records of a range, but the end of the log does not move. An end
            // below that of the range comes from an open transaction, from a replica that lags, or from one that has
            // lost records which it had confirmed.
            Taken::End { partition, offset } => match self.ranges.get(&partition) {
                Some(range) if offset < range.end => {
                    self.ended_early = true;
                    return ControlFlow::Continue(false);
                }
                _ => self.finish(partition),
            },
            // Records that the callback has seen may be lost.
            Taken::Cut { partition, end } => {
                let Some(range) = self.ranges.get(&partition) else {
                    return ControlFlow::Continue(false);
                };
                if range.start <= end {
                    return ControlFlow::Break(Halt::Check);
                }
                let error = Error::PositionOutsideLog { partition, next_offset: range.start, low: 0, high: end };
                return ControlFlow::Break(Halt::Failed(error));
            }
            Taken::Fault(fault) => match verdict(fault, topic) {
                Verdict::Wait => return ControlFlow::Continue(false),
                Verdict::Check => return ControlFlow::Break(Halt::Check),
                Verdict::End(error) => return ControlFlow::Break(Halt::Failed(error.into())),
            },
        }
        ControlFlow::Continue(true)
    }

    fn finish(&mut self, partition: i32) {
        if self.ranges.remove(&partition).is_some() {
            self.finished.push(partition);
        }
    }

    /// Stops fetching finished partitions, so that a live topic is not read beyond the ranges.
    fn release(&mut self, consumer: &BaseConsumer<TracingContext>, topic: &str) {
        if self.finished.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for partition in self.finished.drain(..) {
            list.add_partition(topic, partition);
        }
        if let Err(error) = consumer.incremental_unassign(&list) {
            tracing::debug!(error = %Fault::from(error), "a finished partition is still fetched");
        }
    }
}

fn client(options: &ClientOptions) -> Result<BaseConsumer<TracingContext>, Unavailable> {
    let mut config = options.consumer(UNJOINED_GROUP);
    for (name, value) in FETCHING {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    }
    let client: BaseConsumer<_> = config.create_with_context(options.context()).map_err(Fault::from)?;
    authorize(client.client())?;
    Ok(client)
}

/// Returns the error for the range that the log no longer holds, or that an open transaction holds back. If there is
/// none, the cluster counts as unreachable.
fn outside(
    options: &ClientOptions,
    topic: &str,
    open: &BTreeMap<i32, Range>,
    deadline: Duration,
    otherwise: Code,
) -> Error {
    let log = match topics::watermarks_of(options, topic, deadline) {
        Ok(log) => log,
        Err(error) => return Unavailable::from(error).into(),
    };
    for found in log {
        let Watermarks { partition, low, high, stable } = found;
        let Some(range) = open.get(&partition) else { continue };
        if let Some(next_offset) = [range.start, range.end].into_iter().find(|offset| !(low..=high).contains(offset)) {
            return Error::PositionOutsideLog { partition, next_offset, low, high };
        }
        if stable < range.end
            && let Some(hold) = topics::hold_of(options, topic, found)
        {
            return Error::HeldBack(hold);
        }
    }
    Unavailable::Unreachable(otherwise.into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(partition: i32, records: i64) -> Range {
        Range { partition, start: 100, end: 100 + records }
    }

    #[test]
    fn the_work_is_shared_by_size() {
        let shares = share(vec![range(0, 1), range(1, 10), range(2, 5), range(3, 4)], 2);
        let partitions: Vec<Vec<i32>> =
            shares.iter().map(|share| share.iter().map(|range| range.partition).collect()).collect();
        assert_eq!(partitions, [vec![1], vec![2, 3, 0]]);
    }

    #[test]
    fn no_share_is_empty() {
        assert_eq!(share(vec![range(0, 1)], 4).len(), 1);
        assert_eq!(share(vec![], 4).len(), 0);
    }
}
