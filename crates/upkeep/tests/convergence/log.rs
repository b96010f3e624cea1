//! An in-memory topic: partitions of real records, compacted as Kafka's cleaner does.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Facts, Position, UnixMillis, User, UserEvent, UserId};
use kafka::Record;
use kafka::placement::partition_for;
use kafka::publish::Outgoing;
use upkeep::Table;

/// An event in the life of a user.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    /// A change from one state to another at that second. A creation has no earlier state.
    Changed {
        user: i64,
        from: Option<char>,
        to: char,
        second: i64,
    },
    Forgotten {
        user: i64,
        second: i64,
    },
}

impl Happened {
    /// Returns the event as received at `now`. `None` for forgetting a user, which `forget` writes.
    pub(crate) fn received(&self, now: i64) -> Option<UserEvent> {
        let Self::Changed { user, from, to, second } = *self else { return None };
        let state = |name: char| User { name: Some(name.into()), ..User::new(UserId::new(user).unwrap()) };
        let event = UserEvent::new(Facts {
            old: from.map(state),
            new: state(to),
            timestamp: UnixMillis::from_millis(second * 1_000).to_string(),
            received_at: UnixMillis::from_millis(100_000 + now),
            password_changed: now % 2 == 0,
            extra: BTreeMap::new(),
            omitted: Vec::new(),
        });
        Some(event.unwrap())
    }
}

/// The topic. `None` marks a record that the cleaner has removed.
#[derive(Clone)]
pub(crate) struct Topic {
    partitions: Vec<Vec<Option<Record>>>,
    /// The order of appends over all partitions.
    appended: Vec<Position>,
}

impl Topic {
    pub(crate) fn new() -> Self {
        Self { partitions: vec![Vec::new()], appended: Vec::new() }
    }

    pub(crate) fn count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap()
    }

    /// Adds a partition, which operators are advised not to do.
    pub(crate) fn widen(&mut self) {
        self.partitions.push(Vec::new());
    }

    /// Appends a record and returns its position.
    pub(crate) fn append(&mut self, record: Outgoing) -> Position {
        let Outgoing { key, value, headers, timestamp, .. } = record;
        let partition = record.partition.unwrap_or_else(|| partition_for(&key, self.count()));
        let records = &mut self.partitions[usize::try_from(partition).unwrap()];
        let position = Position { partition, offset: i64::try_from(records.len()).unwrap() };
        records.push(Some(Record { position, leader_epoch: None, timestamp, key: Some(key), value, headers }));
        self.appended.push(position);
        position
    }

    pub(crate) fn end(&self) -> usize {
        self.appended.len()
    }

    pub(crate) fn at(&self, position: Position) -> Option<&Record> {
        let records = &self.partitions[usize::try_from(position.partition).unwrap()];
        records[usize::try_from(position.offset).unwrap()].as_ref()
    }

    /// Returns the existing records between the n-th and the m-th append.
    pub(crate) fn read(&self, from: usize, to: usize) -> impl Iterator<Item = &Record> {
        self.appended[from..to].iter().filter_map(|position| self.at(*position))
    }

    /// Returns the table of a reader that starts now and reads partition by partition.
    pub(crate) fn rebuild(&self) -> Table {
        let mut table = Table::default();
        for record in self.partitions.iter().flatten().flatten() {
            // The table counts a record that cannot be read.
            let _read = table.take(record).is_ok();
        }
        table
    }

    /// Returns how many records the cleaner may consider. `min.compaction.lag.ms` gives the keeper days, so every key
    /// in that range was clean at some later time, and the records to be copied are copied.
    pub(crate) fn cleanable(&self, keys: &BTreeSet<UserId>, uncopied: &BTreeSet<Position>) -> usize {
        let (mut table, mut cleanable) = (Table::default(), 0);
        for (index, position) in self.appended.iter().enumerate() {
            if let Some(record) = self.at(*position) {
                let _read = table.take(record).is_ok();
            }
            if uncopied.contains(position) {
                return cleanable;
            }
            if keys.iter().all(|key| table.key(*key).is_none_or(|key| key.is_clean())) {
                cleanable = index + 1;
            }
        }
        cleanable
    }

    /// Compacts the first `end` records: removes each one that has a later record of its key and partition among them.
    pub(crate) fn clean(&mut self, end: usize) {
        let mut seen = BTreeSet::new();
        for position in self.appended[..end].iter().rev() {
            let slot = &mut self.partitions[usize::try_from(position.partition).unwrap()];
            let slot = &mut slot[usize::try_from(position.offset).unwrap()];
            if let Some(record) = slot
                && !seen.insert((position.partition, record.key.clone()))
            {
                *slot = None;
            }
        }
    }

    /// Removes every tombstone that was appended before `before`, as the cleaner does after `delete.retention.ms`.
    pub(crate) fn expire(&mut self, before: UnixMillis) {
        for slot in self.partitions.iter_mut().flatten() {
            slot.take_if(|record| record.value.is_none() && record.timestamp < before);
        }
    }

    /// Returns the partitions that hold a value of the user.
    pub(crate) fn values_of(&self, user_id: UserId) -> Vec<i32> {
        let key = Some(user_id.to_string().into_bytes());
        let values = self.partitions.iter().flatten().flatten().filter(|record| record.value.is_some());
        values.filter(|record| record.key == key).map(|record| record.position.partition).collect()
    }
}
