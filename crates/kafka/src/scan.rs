//! Reads ranges of offsets as fast as the client library can, and stops at their ends.
//!
//! Synchronous and borrowed: a record lives for one call of the callback. Threads share the work by taking a share of
//! the ranges each ([`share`]) and scanning it with a client of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use domain::{Position, UnixMillis};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{TracingContext, UNJOINED_GROUP};
use crate::native::{Intake, Message, Taken, topic_name};
use crate::tail::{Verdict, verdict};
use crate::topics::{self, Watermarks};
use crate::{ClientOptions, Fault, Record, Unavailable};

/// How long one wait for records lasts.
const POLL: Duration = Duration::from_millis(100);

/// Settings of a scan unless the operator has set them. With the library's own values a scan that does more than read
/// runs dry: once 100,000 records wait, a partition is not asked for more for a second, and they are gone long before.
/// The queue is kept short, because what waits in it leaves the processor's cache.
const FETCHING: [(&str, &str); 2] = [("fetch.queue.backoff.ms", "1"), ("queued.min.messages", "20000")];

/// A part of a partition: offsets from `start` up to, not including, `end`.
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

/// A record that lives in the client library's memory.
#[derive(Clone, Copy)]
pub struct Scanned<'a>(Message<'a>);

impl<'a> Scanned<'a> {
    pub fn position(&self) -> Position {
        self.0.position()
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

    /// Returns the value of the last header of that name: a later one overrides an earlier one.
    ///
    /// The library copies all headers of a record when one is first asked for: some 0.4 µs for the six of an event.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.0.header(name)
    }

    /// Returns a copy that outlives the call.
    pub fn to_record(&self) -> Record {
        Record::copy(self.0)
    }
}

impl fmt::Debug for Scanned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanned").field("position", &self.position()).finish_non_exhaustive()
    }
}

/// How far a scan came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// Every range was read to its end.
    Complete,
    /// One of the callbacks had enough.
    Stopped,
}

/// Why a scan could not be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The log does not hold a range, or not what was read below `next_offset`: it was cut, or shortened by retention.
    /// Of a cut that the library has found, `high` is where, and `low` is not known and 0.
    #[error("offset {next_offset} of partition {partition} is outside the log, which holds {low} up to {high}")]
    PositionOutsideLog { partition: i32, next_offset: i64, low: i64, high: i64 },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Error {
    /// Returns whether the same scan can succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::PositionOutsideLog { .. } => false,
            Self::Unavailable(unavailable) => unavailable.is_transient(),
        }
    }
}

/// Returns the whole log as it is now, as ranges.
///
/// # Errors
///
/// If the topic is missing or the cluster does not answer in time.
pub fn ranges(options: &ClientOptions, topic: &str, deadline: Duration) -> Result<Vec<Range>, Error> {
    let log = topics::watermarks_of(&client(options)?, topic, deadline).map_err(Unavailable::from)?;
    Ok(log.into_iter().map(Range::from).collect())
}

/// Divides ranges among so many threads, the largest first, each to the one with the least to do.
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

/// Calls `each` for every record of the ranges; those of one partition in the order of their offsets.
///
/// # Errors
///
/// If the log does not hold a range any more or does not reach its end, or the cluster is silent for longer than
/// `silence_max`. The callback has then seen a part of the records.
pub fn scan(
    options: &ClientOptions,
    topic: &str,
    ranges: &[Range],
    silence_max: Duration,
    each: impl FnMut(&Scanned<'_>) -> ControlFlow<()>,
) -> Result<Coverage, Error> {
    scan_while(options, topic, ranges, silence_max, || true, each)
}

/// The same, and stops soon after `goes_on` has returned false, also while the cluster is silent.
///
/// # Errors
///
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
                return Err(outside(intake.consumer(), topic, &open.ranges, silence_max, otherwise));
            }
        }
        open.release(intake.consumer(), topic);
        silence = if heard { Duration::ZERO } else { silence + POLL };
        if silence >= silence_max && open.ended_early {
            let otherwise = Code::OperationTimedOut;
            return Err(outside(intake.consumer(), topic, &open.ranges, silence_max, otherwise));
        }
        if silence >= silence_max {
            return Err(Unavailable::Unreachable(Code::OperationTimedOut.into()).into());
        }
    }
    Ok(Coverage::Complete)
}

/// Why a scan does not go on.
enum Halt {
    Stopped,
    /// A range may be outside the log.
    Check,
    Failed(Error),
}

/// The ranges that are still to be read.
struct Open {
    ranges: BTreeMap<i32, Range>,
    /// Partitions that are done but may still be fetched.
    finished: Vec<i32>,
    /// Whether the log was said to end before a range does.
    ended_early: bool,
}

impl Open {
    /// Makes the library fetch every range that is not empty.
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

    /// Returns whether the scan is further by it than before.
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
                // A record beyond the end may be there because compaction removed those before it.
                if offset < range.end && each(&Scanned(message)).is_break() {
                    return ControlFlow::Break(Halt::Stopped);
                }
                range.start = offset + 1;
                if range.start >= range.end {
                    self.finish(partition);
                }
            }
            // Compaction may have removed the last records of a range; the end of the log stays where it was. One that
            // is below the range's comes from a replica that does not know yet, or not any more, what it once had
            // confirmed.
            Taken::End { partition, offset } => match self.ranges.get(&partition) {
                Some(range) if offset < range.end => {
                    self.ended_early = true;
                    return ControlFlow::Continue(false);
                }
                _ => self.finish(partition),
            },
            // Records that the callback has seen may be gone.
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

    /// Stops fetching finished partitions, so that a live topic is not read beyond what was asked for.
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
    config.create_with_context(options.context()).map_err(|error| Fault::from(error).into())
}

/// Tells which range the log does not hold any more; if it holds them all, the cluster is as good as away.
fn outside(
    consumer: &BaseConsumer<TracingContext>,
    topic: &str,
    open: &BTreeMap<i32, Range>,
    deadline: Duration,
    otherwise: Code,
) -> Error {
    let log = match topics::watermarks_of(consumer, topic, deadline) {
        Ok(log) => log,
        Err(error) => return Unavailable::from(error).into(),
    };
    for found in log {
        let Watermarks { partition, low, high } = found;
        let Some(range) = open.get(&partition) else { continue };
        if let Some(next_offset) = [range.start, range.end].into_iter().find(|offset| !(low..=high).contains(offset)) {
            return Error::PositionOutsideLog { partition, next_offset, low, high };
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
