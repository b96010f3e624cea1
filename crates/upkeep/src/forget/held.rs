//! Finds the records of a user, before anything is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use domain::roll::{Reading, Roll};
use domain::{EventId, Letter, UserId, wire};
use kafka::placement::partition_for;
use kafka::scan;
use kafka::{ClientOptions, Unavailable};

use service::registry::Schemas;

use super::{Error, Log, Mention, Sorted, late, sort};
use crate::reader::{self, Reader};
use crate::{SILENCE_MAX, letters};

/// The records of a user on the topics.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The user's name by the newest event. `None` where no event has a name, and for a forgotten user.
    pub name: Option<String>,
    /// The state on the topic of users, over all partitions.
    pub state: Option<Roll>,
    /// The partitions of the topic of users with a record of the user, readable or not. More than one only where
    /// partitions were added.
    pub partitions: BTreeSet<i32>,
    /// The partition of the user's key.
    pub home: i32,
    /// The number of late deliveries; counted only for a user without a record on the topic of users.
    pub late: usize,
    /// The number of dead letters about the user; counted likewise.
    pub dead_letters: usize,
    /// The number of dead letters that do not tell whose they are; counted likewise.
    pub dead_letters_perhaps: u64,
}

impl Held {
    /// Returns whether no topic has a record of the user.
    pub fn is_nothing(&self) -> bool {
        self.partitions.is_empty() && self.late == 0 && self.dead_letters == 0
    }

    /// Returns the partitions that get a tombstone: all with a record, and that of the key, where the user's next
    /// record will be. Called by [`super::forget`] and by the tests that model it.
    pub fn marked(&self) -> BTreeSet<i32> {
        self.partitions.iter().copied().chain([self.home]).collect()
    }
}

/// Returns the records of `user_id`. `mentions` returns whether a dead letter is about the user.
///
/// # Errors
/// [`Error::Users`], [`Error::Late`] or [`Error::DeadLetters`] when a topic cannot be read.
pub async fn look(
    log: &Log,
    mentions: impl Fn(&Letter) -> Mention + Send + 'static,
    user_id: UserId,
) -> Result<Held, Error> {
    let Log { kafka, topics, schemas } = log.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let held = on_users(&kafka, &topics.users, &schemas, user_id).map_err(Error::Users)?;
        if !held.partitions.is_empty() {
            return Ok(held);
        }
        let (late, _) = late::find(&kafka, &topics.late, user_id).map_err(Error::Late)?;
        let listed = letters::list(&kafka, &topics.dead_letter).map_err(Error::DeadLetters)?;
        let Sorted { about, perhaps } = sort(listed, mentions);
        Ok(Held { late: late.records, dead_letters: about.len(), dead_letters_perhaps: perhaps.count, ..held })
    });
    looked.await.expect("reading the topics does not panic")
}

/// Reads the user's records on the topic of users. Blocks.
fn on_users(kafka: &ClientOptions, topic: &str, schemas: &Schemas, user_id: UserId) -> Result<Held, reader::Error> {
    let key = user_id.to_string();
    let ranges = scan::ranges(kafka, topic, SILENCE_MAX)?;
    let partitions = i32::try_from(ranges.len()).unwrap_or(i32::MAX);
    let missing = || Unavailable::Missing { topic: topic.to_owned() };
    let home = (partitions > 0).then(|| partition_for(key.as_bytes(), partitions));
    let home = home.ok_or_else(|| scan::Error::from(missing()))?;
    let mut held = Held { home, ..Held::default() };
    let mut names = BTreeMap::new();
    let mut reader = Reader::new(schemas);
    let scanned = scan::scan(kafka, topic, &ranges, SILENCE_MAX, |record| {
        if record.key() != Some(key.as_bytes()) {
            return ControlFlow::Continue(());
        }
        held.partitions.insert(record.position().partition);
        reader.take(|schemas, ids| {
            let mut take = |reading: &Reading<'_>| take(&mut held.state, &mut names, reading);
            schemas.read(ids, || true, |ids| record.read_with(ids, |reading, _| take(reading))).map(drop)
        })
    });
    reader.end(scanned)?;
    let winner = held.state.as_ref().and_then(Roll::winner);
    held.name = winner.and_then(|winner| names.remove(&winner.event_id));
    Ok(held)
}

/// Applies a record to the state, and notes the names in its events: in a tied second any of them can win later.
fn take(state: &mut Option<Roll>, names: &mut BTreeMap<EventId, String>, reading: &Reading<'_>) {
    for member in reading.says().members() {
        let event = reading.payload(member).and_then(|value| wire::decode(value).ok());
        names.extend(event.and_then(|event| Some((event.event_id, event.new.name?))));
    }
    match state {
        Some(state) => drop(state.apply(reading)),
        None => *state = Some(Roll::begin(reading).0),
    }
}
