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
