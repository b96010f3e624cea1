//! Finds the records of a user, before anything is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use domain::roll::Roll;
use domain::topics::Names;
use domain::{EventId, Letter, UserId, wire};
use kafka::placement::partition_for;
use kafka::scan::{self, Scanned};
use kafka::{ClientOptions, Unavailable};

use super::{Error, Mention, Sorted, late, sort};
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
    /// record will be.
    pub(super) fn marked(&self) -> BTreeSet<i32> {
        self.partitions.iter().copied().chain([self.home]).collect()
    }
}

/// Returns the records of `user_id`. `mentions` returns whether a dead letter is about the user.
///
/// # Errors
/// [`Error::Users`], [`Error::Late`] or [`Error::DeadLetters`] when a topic cannot be read.
pub async fn look(
    kafka: &ClientOptions,
    topics: &Names,
    mentions: impl Fn(&Letter) -> Mention + Send + 'static,
    user_id: UserId,
) -> Result<Held, Error> {
    let (kafka, topics) = (kafka.clone(), topics.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let held = on_users(&kafka, &topics.users, user_id).map_err(Error::Users)?;
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
fn on_users(kafka: &ClientOptions, topic: &str, user_id: UserId) -> Result<Held, scan::Error> {
    let key = user_id.to_string();
    let ranges = scan::ranges(kafka, topic, SILENCE_MAX)?;
    let partitions = i32::try_from(ranges.len()).unwrap_or(i32::MAX);
    let missing = || Unavailable::Missing { topic: topic.to_owned() };
    let home = (partitions > 0).then(|| partition_for(key.as_bytes(), partitions)).ok_or_else(missing)?;
    let mut held = Held { home, ..Held::default() };
    let mut names = BTreeMap::new();
    scan::scan(kafka, topic, &ranges, SILENCE_MAX, |record| {
        if record.key() == Some(key.as_bytes()) {
            held.partitions.insert(record.position().partition);
            take(&mut held.state, &mut names, record);
        }
        ControlFlow::Continue(())
    })?;
    let winner = held.state.as_ref().and_then(Roll::winner);
    held.name = winner.and_then(|winner| names.remove(&winner.event_id));
    Ok(held)
}

/// Applies a record to the state, and notes the names in its events: in a tied second any of them can win later.
fn take(state: &mut Option<Roll>, names: &mut BTreeMap<EventId, String>, record: &Scanned<'_>) {
    let Ok(reading) = record.read() else { return };
    for member in reading.says().members() {
        let event = reading.payload(member).and_then(|value| wire::decode(value).ok());
        names.extend(event.and_then(|event| Some((event.event_id, event.new.name?))));
    }
    match state {
        Some(state) => drop(state.apply(&reading)),
        None => *state = Some(Roll::begin(&reading).0),
    }
}
