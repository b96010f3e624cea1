//! Removes the late deliveries of a forgotten user.
//!
//! Their topic has deletion by age only, and Kafka deletes a record only together with everything before it. So the
//! records of other users are first appended again, unchanged and with their time of receipt. Then everything up to the
//! user's last record is deleted. A crash in between leaves duplicates of other users' late deliveries. Duplicates are
//! harmless: they close no gap twice. Running it again completes the deletion.
//!
//! Forget users one after the other. With two at the same time, one run may append the other user's records again; a
//! further run then finds them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use domain::{Position, UnixMillis, UserId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kafka::publish::{Outgoing, Publisher};
use kafka::scan::{self, Range};
use kafka::topics::delete_before;
use kafka::{ClientOptions, Record};
use service::telemetry::chain;
use tokio::sync::mpsc;

use super::Error;
use crate::SILENCE_MAX;

/// The late deliveries of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Late {
    pub records: usize,
    /// The time of receipt of the newest one.
    pub newest: Option<UnixMillis>,
    /// The cluster's reason for refusing the deletion, if it refused.
    pub stay_because: Option<String>,
    /// The number of late deliveries of other users that were appended again.
    pub others_kept: usize,
}

/// The most records of other users that wait to be appended, and that wait for their acknowledgement.
const COPIES_WAITING: usize = 256;

/// Removes the late deliveries of the user, where the cluster permits it.
pub(super) async fn remove(
    kafka: &ClientOptions,
    topic: &str,
    publisher: &Publisher,
    user_id: UserId,
) -> Result<Late, Error> {
    let (options, name) = (kafka.clone(), topic.to_owned());
    let found = tokio::task::spawn_blocking(move || find(&options, &name, user_id));
    let (mut late, ranges) = found.await.expect("reading late deliveries does not panic").map_err(Error::Late)?;
    let delete = async |offset: fn(&Range) -> i64| {
        let positions: Vec<Position> =
            ranges.iter().map(|range| Position { partition: range.partition, offset: offset(range) }).collect();
        delete_before(kafka, topic, &positions, SILENCE_MAX).await
    };
    if ranges.is_empty() {
        return Ok(late);
    }
    // Records are appended again only after the cluster has shown that it permits deletion.
    if let Err(refused) = delete(|range| range.start).await {
        late.stay_because = Some(chain(&refused));
        return Ok(late);
    }
    late.others_kept = append_others_again(kafka, topic, publisher, user_id, ranges.clone()).await?;
    delete(|range| range.end).await.map_err(Error::LateNotDeleted)?;
    Ok(late)
}

/// Counts the user's records and returns the ranges to delete: in each partition all offsets up to the user's last
/// record.
pub(super) fn find(kafka: &ClientOptions, topic: &str, user_id: UserId) -> Result<(Late, Vec<Range>), scan::Error> {
    let (mut late, key) = (Late::default(), user_id.to_string());
    let ranges = scan::ranges(kafka, topic, SILENCE_MAX)?;
    let mut ends = BTreeMap::new();
    scan::scan(kafka, topic, &ranges, SILENCE_MAX, |record| {
        // A record without a value holds no data of the user.
        if record.key() == Some(key.as_bytes()) && record.value().is_some() {
            late.records += 1;
            late.newest = late.newest.max(Some(record.timestamp()));
            ends.insert(record.position().partition, record.position().offset + 1);
        }
        ControlFlow::Continue(())
    })?;
    let going = ranges.into_iter().filter_map(|range| Some(Range { end: *ends.get(&range.partition)?, ..range }));
    Ok((late, going.collect()))
}

/// Returns their number, once all are acknowledged.
async fn append_others_again(
    kafka: &ClientOptions,
    topic: &str,
    publisher: &Publisher,
    user_id: UserId,
    ranges: Vec<Range>,
) -> Result<usize, Error> {
    let (sender, receiver) = mpsc::channel::<Record>(COPIES_WAITING);
    let (options, name, key) = (kafka.clone(), topic.to_owned(), user_id.to_string());
    let reading = tokio::task::spawn_blocking(move || {
        scan::scan(&options, &name, &ranges, SILENCE_MAX, |record| {
            let is_others = record.key() != Some(key.as_bytes());
            if is_others && sender.blocking_send(record.to_record()).is_err() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
    });
    let records =
        stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|record| (record, receiver)) });
    let appended = records.map(|record| publisher.publish(Outgoing::again(topic, record))).buffered(COPIES_WAITING);
    let count = appended.try_fold(0, async |count, _| Ok(count + 1)).await;
    let count = count.map_err(|error| Error::LateNotKept(Box::new(error)))?;
    reading.await.expect("reading late deliveries does not panic").map_err(Error::Late)?;
    Ok(count)
}
