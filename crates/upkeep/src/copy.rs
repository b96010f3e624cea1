//! Copies the state of every key to another topic: the way to another number of partitions.
//!
//! Each key gets one record, placed by its key: the winner with the other events of its second, or the marker that
//! forgot the user, with the headers that it has. A record that this build does not know is copied as it is, after the
//! state that it follows. What the other topic has already is not appended again, so a copy that was interrupted is
//! continued by another one, and a later copy appends only what has come since. Ingest may write meanwhile.
//!
//! A copy ends when the other topic, read to its end, gives each key the state that the topic of users gives it.

mod side;

use std::collections::BTreeSet;

use crate::forget::Log;
use crate::keeper::refetch::refetch;
use crate::keeper::{Fetched, Originals, Repair};
use crate::reader;
use domain::headers::REASSERTED;
use domain::{Position, UnixMillis, UserId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kafka::publish::{self, Outgoing, Publisher};
use side::{Side, unequal};

/// The most keys whose records are in memory at a time.
const KEYS_PER_STEP: usize = 2_000;
/// The most records that wait for their acknowledgement.
const RECORDS_WAITING: usize = 256;
/// The most times that differing keys are appended, before the copy gives up.
const ROUNDS_MAX: usize = 5;

/// The result of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The keys of the topic of users, as far as it was read.
    pub users: usize,
    /// Those among them that are forgotten.
    pub forgotten: usize,
    /// The records that this copy has appended.
    pub appended: usize,
    /// The keys that end in a record which this build does not know; the record was copied as it is.
    pub unknown: usize,
    /// The records with broken bytes, which are not copied.
    pub unreadable: usize,
    /// The keys that only the other topic has.
    pub only_there: usize,
}

/// The reason why a copy is not complete. Running it again continues it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("topic {topic} cannot be read")]
    Read { topic: String, source: reader::Error },
    #[error("a record was not appended to the new topic")]
    Append(#[source] Box<publish::Error>),
    #[error(
        "{keys} keys still differ after {ROUNDS_MAX} rounds, user {first} among them: their records are replaced or \
         compacted away faster than they are copied"
    )]
    Unequal { keys: usize, first: UserId },
}

/// Appends to `to` the state of each key of the topic of users that `to` does not have. `step` is called with the
/// number of keys that are appended and their total.
///
/// # Errors
/// [`Error`]; the other topic then has a part of the keys.
pub async fn copy(
    log: &Log,
    to: &str,
    publisher: &Publisher,
    now: fn() -> UnixMillis,
    step: impl Fn(usize, usize),
) -> Result<Copied, Error> {
    let mut old = Side::new(&log.topics.users).read_on(log).await?;
    let mut new = Side::new(to);
    let mut appended = 0;
    for _ in 0..ROUNDS_MAX {
        new = new.read_on(log).await?;
        let (states, strangers) = unequal(&old, &new);
        if states.is_empty() && strangers.is_empty() {
            return Ok(Copied { appended, ..old.compared_with(&new) });
        }
        let (total, mut done, before) = (states.len(), 0, appended);
        for keys in states.chunks(KEYS_PER_STEP) {
            appended += append_states(log, &old, keys, publisher, to, now()).await?;
            done += keys.len();
            step(done, total);
        }
        // After the states, which they follow.
        for positions in strangers.chunks(KEYS_PER_STEP) {
            appended += append_as_they_are(log, positions, publisher, to, now()).await?;
        }
        // A record that compaction has removed meanwhile has a successor.
        if appended - before < total + strangers.len() {
            old = old.read_on(log).await?;
        }
    }
    new = new.read_on(log).await?;
    let (states, _) = unequal(&old, &new);
    match states.first() {
        Some(first) => Err(Error::Unequal { keys: states.len(), first: *first }),
        None => Ok(Copied { appended, ..old.compared_with(&new) }),
    }
}

/// Appends the states of these keys, and returns the number of records.
async fn append_states(
    log: &Log,
    old: &Side,
    keys: &[UserId],
    publisher: &Publisher,
    to: &str,
    now: UnixMillis,
) -> Result<usize, Error> {
    let repairs: Vec<Repair> =
        keys.iter().filter_map(|user_id| Some(Repair::of(*user_id, old.key(*user_id)?))).collect();
    let positions = repairs.iter().flat_map(Repair::needed).collect();
    let mut fetched = fetch(log, positions).await?;
    // The states come from records that were read, so their ids are known.
    let originals = Originals::translate(&mut fetched, &log.schemas.known());
    let records = repairs.iter().filter_map(|repair| {
        // A user who was forgotten on several partitions has one tombstone here.
        let mut record = repair.records(&fetched, to, now)?.into_iter().next()?;
        // The offset in it is one of the topic of users.
        record.headers.retain(|(name, _)| name != REASSERTED);
        Some(Outgoing { partition: None, ..originals.restore(record) })
    });
    append(publisher, records.collect()).await
}

/// Appends the records at these positions, and returns their number.
async fn append_as_they_are(
    log: &Log,
    positions: &[Position],
    publisher: &Publisher,
    to: &str,
    now: UnixMillis,
) -> Result<usize, Error> {
    let fetched = fetch(log, positions.iter().copied().collect()).await?;
    let records = fetched.into_values();
    let records = records.map(|record| Outgoing { partition: None, timestamp: now, ..Outgoing::again(to, record) });
    append(publisher, records.collect()).await
}

async fn append(publisher: &Publisher, records: Vec<Outgoing>) -> Result<usize, Error> {
    let appended = stream::iter(records).map(|record| publisher.publish(record)).buffered(RECORDS_WAITING);
    let count = appended.try_fold(0, async |count, _| Ok(count + 1)).await;
    count.map_err(|error| Error::Append(Box::new(error)))
}

/// Reads records of the topic of users again. Some may have been removed by compaction.
async fn fetch(log: &Log, positions: BTreeSet<Position>) -> Result<Fetched, Error> {
    let (kafka, topic) = (log.kafka.clone(), log.topics.users.clone());
    let fetched = tokio::task::spawn_blocking(move || {
        let fetched = refetch(&kafka, &topic, &positions, || true);
        fetched.map_err(|source| Error::Read { topic, source: source.into() })
    });
    let fetched = fetched.await.expect("reading does not panic")?;
    Ok(fetched.unwrap_or_default())
}
