//! An open transaction, of any producer, at which readers of committed records wait.

use std::fmt;
use std::time::Duration;

use domain::UnixMillis;
use rdkafka::consumer::Consumer as _;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::Watermarks;
use crate::{ClientOptions, Fault};

/// How long the first record of a transaction is waited for.
const FIRST_RECORD_MAX: Duration = Duration::from_secs(5);
/// The longest single wait for it.
const POLL: Duration = Duration::from_millis(100);

/// The most partitions that one text names.
const NAMED_MAX: usize = 12;

/// A partition whose readers wait for the end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    pub partition: i32,
    /// The offset at which readers wait.
    pub stable: i64,
    /// The end of the log.
    pub high: i64,
    /// The time of the transaction's first record, where it could be read.
    pub since: Option<UnixMillis>,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, stable, since, .. } = self;
        f.write_str("held back by an open transaction")?;
        if let Some(since) = since {
            write!(f, " since {since}")?;
        }
        write!(f, " (partition {partition}, offset {stable})")
    }
}

impl Hold {
    /// Returns one text about several holds, with the earliest time. It names the first partitions.
    pub fn all(holds: &[Self]) -> String {
        if let [only] = holds {
            return only.to_string();
        }
        let since = holds.iter().filter_map(|hold| hold.since).min();
        let since = since.map_or_else(String::new, |since| format!(" since {since}"));
        let named: Vec<String> = holds.iter().take(NAMED_MAX).map(|hold| hold.partition.to_string()).collect();
        let more = match holds.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("held back by an open transaction{since} (partitions {}{more})", named.join(", "))
    }
}

/// Returns the hold of a partition, if an open transaction holds back its readers. Blocks.
pub(crate) fn hold_of(options: &ClientOptions, topic: &str, found: Watermarks) -> Option<Hold> {
    let Watermarks { partition, stable, high, .. } = found;
    found.is_held_back().then(|| {
        let since = first_record(options, topic, partition, stable).unwrap_or_else(|fault| {
            tracing::debug!(error = %fault, "the first record of an open transaction cannot be read");
            None
        });
        Hold { partition, stable, high, since }
    })
}

/// Returns the time of the record at the last stable offset: the first one of the oldest open transaction.
fn first_record(
    options: &ClientOptions,
    topic: &str,
    partition: i32,
    stable: i64,
) -> Result<Option<UnixMillis>, Fault> {
    let reader = options.uncommitted_reader()?;
    let mut at = TopicPartitionList::new();
    at.add_partition_offset(topic, partition, Offset::Offset(stable))?;
    reader.assign(&at)?;
    let until = Instant::now() + FIRST_RECORD_MAX;
    while Instant::now() < until {
        if let Some(Ok(record)) = reader.poll(POLL) {
            return Ok(record.timestamp().to_millis().map(UnixMillis::from_millis));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(partitions: i32) -> Vec<Hold> {
        let since = |partition| (partition > 0).then(|| UnixMillis::from_millis(i64::from(partition) * 1_000));
        (0..partitions).map(|partition| Hold { partition, stable: 5, high: 7, since: since(partition) }).collect()
    }

    #[test]
    fn one_text_names_the_partitions_up_to_a_limit() {
        assert_eq!(Hold::all(&holds(1)), "held back by an open transaction (partition 0, offset 5)");
        let since = "held back by an open transaction since 1970-01-01T00:00:01Z";
        assert_eq!(Hold::all(&holds(3)), format!("{since} (partitions 0, 1, 2)"));
        let (all, many) = (Hold::all(&holds(12)), Hold::all(&holds(300)));
        assert!(all.ends_with(", 10, 11)") && many.ends_with(", 10, 11 and 288 more)"), "{all} {many}");
    }
}
