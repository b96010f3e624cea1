//! Compares the state topic with the states of the users.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use domain::wire::Flat;
use domain::{Checkpoint, UserId};
use kafka::placement::partition_for;
use kafka::scan::{self, Range};

use super::report::{Behind, Found, Key};
use super::{LOOK_AGAIN, Options, read_on};
use crate::SILENCE_MAX;
use crate::keeper::Event;
use crate::reader::Error;
use crate::state_topic::Mirror;

/// Returns the users whose last record on the state topic is not their state, once they had the time to settle. `keys`
/// are the states as of `read`, on a topic with these partitions. Finds nothing where there is no state topic.
pub(super) fn behind(
    options: &Options,
    keys: &BTreeMap<UserId, Key>,
    read: &Checkpoint,
    partitions: i32,
) -> Result<Found<Behind>, Error> {
    let mut found = Found::default();
    let Some(topic) = &options.topics.state else { return Ok(found) };
    let flat = if options.schemas.has_registry() { Flat::Registered(0) } else { Flat::Json };
    let (mut mirror, mut mirrored) = (Mirror::new(flat), Checkpoint::default());
    take(options, topic, &mut mirror, &mut mirrored)?;
    let is_behind = |mirror: &Mirror, user_id: UserId, key: Option<&Key>| {
        let key = key.and_then(Key::known);
        let home = partition_for(user_id.to_string().as_bytes(), partitions);
        matches!(mirror.event(user_id, key, home), Event::Dirty { .. })
    };
    let users: Vec<UserId> = keys.keys().copied().chain(mirror.user_ids()).collect();
    let of = |user_id: UserId| (user_id, keys.get(&user_id).cloned());
    let mut wrong: BTreeMap<UserId, Option<Key>> =
        users.into_iter().map(of).filter(|(user_id, key)| is_behind(&mirror, *user_id, key.as_ref())).collect();
    let (mut waited, mut read) = (Duration::ZERO, read.clone());
    while !wrong.is_empty() && waited < options.settle {
        std::thread::sleep(LOOK_AGAIN);
        waited += LOOK_AGAIN;
        // On a live system a state can have changed since the log was read.
        read_on(options, &mut read, |reading| {
            if let Some(key) = wrong.get_mut(&reading.user_id) {
                Key::read_on(key, reading);
            }
        })?;
        take(options, topic, &mut mirror, &mut mirrored)?;
        wrong.retain(|user_id, key| is_behind(&mirror, *user_id, key.as_ref()));
    }
    wrong.into_keys().for_each(|user_id| found.push(Behind { user_id }));
    Ok(found)
}

/// Reads the state topic on, up to its present end.
fn take(options: &Options, topic: &str, mirror: &mut Mirror, read: &mut Checkpoint) -> Result<(), Error> {
    let ranges: Vec<Range> = scan::ranges(&options.kafka, topic, SILENCE_MAX)?
        .into_iter()
        .map(|range| Range { start: read.next(range.partition).unwrap_or(0).max(range.start), ..range })
        .collect();
    scan::scan(&options.kafka, topic, &ranges, SILENCE_MAX, |record| {
        mirror.take(&record.to_record());
        ControlFlow::Continue(())
    })?;
    ranges.iter().for_each(|range| read.reach(range.partition, range.end));
    Ok(())
}
