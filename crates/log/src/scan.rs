//! Reads ranges of offsets as fast as the client library can, and stops at their ends.
//!
//! Synchronous and borrowed: a record lives for one call of the callback. Threads share the work by taking a share of the
//! ranges each ([`share`]) and scanning it with a client of their own.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use domain::{Position, UnixMillis};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{TracingContext, UNJOINED_GROUP};
use crate::tail::{Error, Verdict, verdict};
use crate::topics::{self, Watermarks};
use crate::{ClientOptions, Fault, record};

/// How long one wait for records lasts.
const POLL: Duration = Duration::from_millis(100);

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
#[derive(Debug)]
pub struct Scanned<'a> {
    pub position: Position,
    pub timestamp: UnixMillis,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    message: &'a BorrowedMessage<'a>,
}

impl Scanned<'_> {
    /// Returns the value of the last header of that name: a later one overrides an earlier one.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let headers = self.message.headers()?;
        (0..headers.count())
            .rev()
            .map(|index| headers.get(index))
            .find(|header| header.key == name)
            .and_then(|header| header.value)
    }

    /// Returns all headers in their order.
    pub fn headers(&self) -> Vec<(&str, &[u8])> {
        self.message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key, header.value.unwrap_or_default())).collect()
        })
    }
}

/// How a scan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every range was read to its end.
    Complete,
    /// The callback had enough.
    Stopped,
}

/// Returns the whole log as it is now, as ranges.
///
/// # Errors
///
/// If the topic is missing or the cluster does not answer in time.
pub fn ranges(options: &ClientOptions, topic: &str, deadline: Duration) -> Result<Vec<Range>, Error> {
    let log = topics::watermarks_of(&client(options)?, topic, deadline)?;
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
/// If the log does not hold a range any more, or the cluster is silent for longer than `silence_max`. The callback has then
/// seen a part of the records.
pub fn scan(
    options: &ClientOptions,
    topic: &str,
    ranges: &[Range],
    silence_max: Duration,
    mut each: impl FnMut(&Scanned<'_>) -> ControlFlow<()>,
) -> Result<Outcome, Error> {
    let consumer = client(options)?;
    let mut open = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for range in ranges.iter().filter(|range| range.start < range.end) {
        open.insert(range.partition, *range);
        list.add_partition_offset(topic, range.partition, Offset::Offset(range.start))
            .map_err(|error| Error::from_fault(error.into()))?;
    }
    consumer.assign(&list).map_err(|error| Error::from_fault(error.into()))?;

    let mut silence = Duration::ZERO;
    while !open.is_empty() {
        let Some(polled) = consumer.poll(POLL) else {
            silence += POLL;
            if silence >= silence_max {
                let code = rdkafka::error::RDKafkaErrorCode::OperationTimedOut;
                return Err(Error::Unreachable(Fault::from(code)));
            }
            continue;
        };
        match polled {
            Ok(message) => {
                silence = Duration::ZERO;
                let partition = message.partition();
                let Some(range) = open.get(&partition).copied() else {
                    continue;
                };
                if message.offset() < range.end && each(&scanned(&message)).is_break() {
                    return Ok(Outcome::Stopped);
                }
                if message.offset() + 1 >= range.end {
                    finish(&consumer, topic, partition, &mut open);
                }
            }
            // Compaction may have removed the last records of a range, and then the end of the log is its end.
            Err(KafkaError::PartitionEOF(partition)) => {
                silence = Duration::ZERO;
                finish(&consumer, topic, partition, &mut open);
            }
            Err(error) => match verdict(error, topic) {
                Verdict::Wait => {}
                Verdict::Check => return Err(outside(&consumer, topic, &open, silence_max)),
                Verdict::End(error) => return Err(error),
            },
        }
    }
    Ok(Outcome::Complete)
}

fn client(options: &ClientOptions) -> Result<BaseConsumer<TracingContext>, Error> {
    options
        .consumer(UNJOINED_GROUP)
        .create_with_context(options.context())
        .map_err(|error| Error::from_fault(error.into()))
}

fn scanned<'a>(message: &'a BorrowedMessage<'a>) -> Scanned<'a> {
    Scanned {
        position: Position { partition: message.partition(), offset: message.offset() },
        timestamp: record::timestamp(message),
        key: message.key(),
        value: message.payload(),
        message,
    }
}

/// Stops fetching a partition, so that a live topic is not read beyond what was asked for.
fn finish(consumer: &BaseConsumer<TracingContext>, topic: &str, partition: i32, open: &mut BTreeMap<i32, Range>) {
    open.remove(&partition);
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    if let Err(error) = consumer.incremental_unassign(&list) {
        tracing::debug!(error = %Fault::from(error), "a finished partition is still fetched");
    }
}

/// Tells which range the log does not hold any more.
fn outside(
    consumer: &BaseConsumer<TracingContext>,
    topic: &str,
    open: &BTreeMap<i32, Range>,
    deadline: Duration,
) -> Error {
    let log = match topics::watermarks_of(consumer, topic, deadline) {
        Ok(log) => log,
        Err(error) => return error.into(),
    };
    for found in log {
        let Watermarks { partition, low, high } = found;
        if let Some(range) = open.get(&partition)
            && !(low..=high).contains(&range.start)
        {
            return Error::PositionOutsideLog { partition, next_offset: range.start, low, high };
        }
    }
    Error::Unreachable(Fault::from(rdkafka::error::RDKafkaErrorCode::OffsetOutOfRange))
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
